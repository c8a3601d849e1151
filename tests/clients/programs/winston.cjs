// Sends the corpus with winston-loki: `winston.cjs CORPUS URL json|protobuf`.
const { readFileSync } = require("node:fs");
const winston = require("winston");
const LokiTransport = require("winston-loki");

const [corpus, url, format] = process.argv.slice(2);
const levels = { debug: "debug", info: "info", warning: "warn", error: "error", critical: "error" };
const transport = new LokiTransport({
  host: url,
  json: format === "json",
  labels: { application: `winston-${format}` },
  headers: { "X-Scope-OrgID": "winston" },
  interval: 0.2,
  replaceTimestamp: true,
  format: winston.format.printf(({ message }) => message),
  onConnectionError: (error) => {
    console.error(error);
    process.exitCode = 1;
  },
});
const logger = winston.createLogger({ level: "silly", transports: [transport] });
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
(async () => {
  for (const { level, message, part, trace, number } of JSON.parse(readFileSync(corpus, "utf8"))) {
    logger.log({ level: levels[level], message, trace, number, labels: { part } });
    if (number % 250 === 249) await pause(250);
  }
  await transport.flush();
  await transport.close();
})();
