// Sends the corpus with pino-loki: `pino.mjs CORPUS URL json|text`.
import { readFileSync } from "node:fs";
import pino from "pino";
import pinoLoki from "pino-loki";

const [corpus, url, format] = process.argv.slice(2);
const levels = { debug: "debug", info: "info", warning: "warn", error: "error", critical: "fatal" };
const options = {
  host: url,
  headers: { "X-Scope-OrgID": "pino" },
  labels: { application: `pino-${format}` },
  propsToLabels: ["part"],
  batching: { interval: 0.2 },
  ...(format === "text" ? { logFormat: "{msg}" } : {}),
};
// Text goes from a stream of this thread, JSON through a worker thread: both are ways to use it.
const stream = format === "text" ? pinoLoki(options) : pino.transport({ target: "pino-loki", options });
const logger = pino({ level: "trace" }, stream);
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
for (const { level, message, part, trace, number } of JSON.parse(readFileSync(corpus, "utf8"))) {
  logger[levels[level]]({ part, meta: { trace, number, nested: { part } } }, message);
  if (number % 250 === 249) await pause(250);
}
if (format === "text") {
  stream.end();
  await new Promise((resolve) => stream.once("close", resolve));
}
// The worker is flushed by pino when the process ends.
