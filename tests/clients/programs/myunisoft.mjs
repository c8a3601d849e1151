// Sends and reads with @myunisoft/loki, and prints what it got: `myunisoft.mjs URL APPLICATION`.
import { GrafanaApi } from "@myunisoft/loki";

const [url, application] = process.argv.slice(2);
const { Loki } = new GrafanaApi({ remoteApiURL: url });
const own = "myunisoft-loki";
const now = BigInt(Date.now()) * 1000000n;
await Loki.push([{ stream: { app: own }, values: [[`${now}`, "GET /a"], [`${now + 1000000n}`, "PUT /ü"]] }]);
const selector = `{app="${application}"}`;
const streams = await Loki.queryRangeStream(selector, { start: "1h", limit: 1000 });
const matrix = await Loki.queryRangeMatrix(`count_over_time(${selector}[5m])`, { start: "1h", limit: 1000 });
console.log(JSON.stringify({
  own: (await Loki.queryRange(`{app="${own}"}`, { start: "1h", pattern: "<verb> <path>" })).logs,
  lines: streams.streams.flatMap(({ values }) => values.map(([, line]) => line)).length,
  series: matrix.metrics.length,
  labels: await Loki.labels({ start: "1h" }),
  values: await Loki.labelValues("level", { start: "1h" }),
  matched: await Loki.series(selector),
}));
