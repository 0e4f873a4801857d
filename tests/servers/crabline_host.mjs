// Crabline's servers, as many as are asked for, in one process: loading the program takes longer than most tests.
//
// node crabline_host.mjs MODULE: each line of standard input is a JSON object, and is answered with one.
// {"start": CHANNEL, "recorder": PATH} with the server's manifest, {"stop": PATH} with {}, a failure with {"error": TEXT}.
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const { startCrablineServer } = await import(pathToFileURL(process.argv[2]).href);
const servers = new Map();

async function start(channel, recorderPath) {
  const server = await startCrablineServer({ channel, host: "127.0.0.1", port: 0, recorderPath });
  servers.set(recorderPath, server);
  return server.manifest;
}

async function stop(recorderPath) {
  const server = servers.get(recorderPath);
  servers.delete(recorderPath);
  await server.close();
  return {};
}

for await (const line of createInterface({ input: process.stdin })) {
  const asked = JSON.parse(line);
  let answer;
  try {
    answer = await (asked.start ? start(asked.start, asked.recorder) : stop(asked.stop));
  } catch (error) {
    answer = { error: String(error.stack) };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
process.exit(0); // polls that are still open included
