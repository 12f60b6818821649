// Runs the calls of one SDK in a process of its own.
//
// A line of stdin is a JSON array of calls that are made at the same time:
//     [{"call": "create", "ask": {…}, "client": {"maxRetries": 2}}]
// and is answered by a line of stdout, an array with an outcome for each:
//     [{"value": …}] or [{"error": {…}}]
// The end of stdin is the end. Nothing but this machine can be reached: who tries to
// (telemetry, price lists) fails every call.

import net from 'node:net';
import { createInterface } from 'node:readline';

const strangers = [];
const connect = net.Socket.prototype.connect;

net.Socket.prototype.connect = function (...args) {
  const options = Array.isArray(args[0]) ? args[0][0] : args[0];
  const host = options?.host ?? 'localhost';
  if (!['localhost', '127.0.0.1', '::1'].includes(host)) {
    strangers.push(host);
    throw new Error(`${host} is not this machine`);
  }
  return connect.apply(this, args);
};

/** Answer lines until there are no more; `make(call, ask, client)` makes one call. */
export async function serve(make, describe) {
  const outcome = async ({ call, ask, client }) => {
    try {
      return { value: await make(call, ask, client) };
    } catch (error) {
      return { error: describe(error) };
    }
  };
  for await (const line of createInterface({ input: process.stdin })) {
    let outcomes = await Promise.all(JSON.parse(line).map(outcome));
    if (strangers.length > 0) {
      const error = { class: 'Stranger', message: `contacted ${strangers}` };
      outcomes = outcomes.map(() => ({ error }));
    }
    process.stdout.write(`${JSON.stringify(outcomes)}\n`);
  }
  process.exit(0);
}
