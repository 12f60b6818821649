// Anthropic's official npm SDK, called as its users call it, and told what to call by a
// test (`serve.mjs` says how). BASE_URL and KEY come from the environment.

import Anthropic from '@anthropic-ai/sdk';
import { serve } from './serve.mjs';

/** By name: `(client, ask) => value`, where `ask` is what the SDK's method is given. */
const CALLS = {
  async create(client, ask) {
    const { data, response, request_id } = await client.messages.create(ask).withResponse();
    return { message: data, status: response.status, requestId: request_id };
  },

  // What came before an error counts too, so the error is part of the value.
  async events(client, ask) {
    const events = [];
    try {
      for await (const event of await client.messages.create({ ...ask, stream: true })) {
        events.push(event);
      }
    } catch (error) {
      if (events.length === 0) throw error;
      return { events, error: describe(error) };
    }
    return { events, error: null };
  },

  async accumulate(client, ask) {
    const stream = client.messages.stream(ask);
    const seen = { text: '', json: '' };
    stream.on('text', (delta) => (seen.text += delta));
    stream.on('inputJson', (delta) => (seen.json += delta));
    return { message: await stream.finalMessage(), seen };
  },

  // The helper runs the tools, sends their results back, and asks again.
  async runTools(client, ask) {
    const ran = [];
    const tools = ask.tools.map((tool) => ({
      ...tool,
      run: (input) => {
        ran.push([tool.name, input]);
        return `${tool.name} is fine`;
      },
    }));
    const message = await client.beta.messages.toolRunner({ ...ask, tools });
    return { message, ran };
  },

  async count(client, ask) {
    return client.messages.countTokens(ask);
  },

  async models(client) {
    const models = [];
    for await (const model of client.models.list()) models.push(model);
    return models;
  },

  async model(client, { id }) {
    return client.models.retrieve(id);
  },
};

/** Tell of an error what a program that catches it can see. */
function describe(error) {
  return {
    class: error.constructor.name,
    message: error.message,
    status: error.status,
    type: error.type,
    requestId: error.requestID,
    body: error.error,
    headers: Object.fromEntries(error.headers ?? []),
  };
}

await serve((call, ask, options) => {
  const client = new Anthropic({
    baseURL: process.env.BASE_URL,
    apiKey: process.env.KEY,
    maxRetries: 0,
    timeout: 20_000,
    ...options,
  });
  return CALLS[call](client, ask);
}, describe);
