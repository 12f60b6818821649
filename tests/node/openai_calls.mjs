// OpenAI's official npm SDK, called as its users call it, and told what to call by a test
// (`serve.mjs` says how). BASE_URL and KEY come from the environment.

import OpenAI from 'openai';
import { zodResponseFormat, zodTextFormat } from 'openai/helpers/zod';
import { z } from 'zod';
import { serve } from './serve.mjs';

const Person = z.object({ name: z.string(), age: z.number().int() });

/** By name: `(client, ask) => value`, where `ask` is what the SDK's method is given. */
const CALLS = {
  async create(client, ask) {
    const { data, response, request_id } = await client.chat.completions.create(ask).withResponse();
    return { completion: data, status: response.status, requestId: request_id };
  },

  // What came before an error counts too, so the error is part of the value.
  async chunks(client, ask) {
    const chunks = [];
    try {
      for await (const chunk of await client.chat.completions.create({ ...ask, stream: true })) {
        chunks.push(chunk);
      }
    } catch (error) {
      if (chunks.length === 0) throw error;
      return { chunks, error: describe(error) };
    }
    return { chunks, error: null };
  },

  // The helper refuses a stream without finish_reason, and a tool call without id or name.
  async accumulate(client, ask) {
    const stream = client.chat.completions.stream(ask);
    const events = { content: '', toolArguments: [] };
    stream.on('content.delta', ({ delta }) => (events.content += delta));
    stream.on('tool_calls.function.arguments.done', ({ name, arguments: text }) =>
      events.toolArguments.push([name, text]),
    );
    return { completion: await stream.finalChatCompletion(), events };
  },

  // The helper runs the functions, sends their results back, and asks again.
  async runTools(client, ask) {
    const ran = [];
    const tools = ask.tools.map(({ type, function: tool }) => ({
      type,
      function: {
        ...tool,
        parse: JSON.parse,
        function: (args) => {
          ran.push([tool.name, args]);
          return `${tool.name} is fine`;
        },
      },
    }));
    const runner = client.chat.completions.runTools({ ...ask, tools });
    const content = await runner.finalContent();
    return { content, ran, messages: runner.messages };
  },

  async parse(client, ask) {
    const response_format = zodResponseFormat(Person, 'person');
    const completion = await client.chat.completions.parse({ ...ask, response_format });
    return completion.choices[0].message.parsed;
  },

  async leave(client, ask) {
    for await (const chunk of await client.chat.completions.create({ ...ask, stream: true })) {
      return chunk;
    }
  },

  async respond(client, ask) {
    return client.responses.create(ask);
  },

  // What came before an error counts too, so the error is part of the value.
  async responseEvents(client, ask) {
    const events = [];
    try {
      for await (const event of await client.responses.create({ ...ask, stream: true })) {
        events.push(event);
      }
    } catch (error) {
      if (events.length === 0) throw error;
      return { events, error: describe(error) };
    }
    return { events, error: null };
  },

  async accumulateResponse(client, ask) {
    return client.responses.stream(ask).finalResponse();
  },

  async parseResponse(client, ask) {
    const text = { format: zodTextFormat(Person, 'person') };
    return (await client.responses.parse({ ...ask, text })).output_parsed;
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
    kinds: Object.keys(OpenAI).filter(
      (name) => OpenAI[name]?.prototype instanceof Error && error instanceof OpenAI[name],
    ),
    message: error.message,
    status: error.status,
    code: error.code,
    type: error.type,
    param: error.param,
    requestId: error.requestID,
    body: error.error,
    headers: Object.fromEntries(error.headers ?? []),
  };
}

await serve((call, ask, options) => {
  const client = new OpenAI({
    baseURL: process.env.BASE_URL,
    apiKey: process.env.KEY,
    maxRetries: 0,
    timeout: 20_000,
    ...options,
  });
  return CALLS[call](client, ask);
}, describe);
