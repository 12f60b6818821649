// The Vercel AI SDK, called as its users call it, and told what to call by a test
// (`serve.mjs` says how). BASE_URL and KEY come from the environment.

import { createAnthropic } from '@ai-sdk/anthropic';
import { createOpenAI } from '@ai-sdk/openai';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { generateText, isStepCount, Output, stepCountIs, streamText, tool } from 'ai';
import { z } from 'zod';
import { serve } from './serve.mjs';

globalThis.AI_SDK_LOG_WARNINGS = false;

const url = process.env.BASE_URL;
const apiKey = process.env.KEY;
const openai = createOpenAI({ baseURL: `${url}/v1`, apiKey });
const anthropic = createAnthropic({ baseURL: `${url}/v1`, apiKey });
const compatible = createOpenAICompatible({
  name: 'gateway',
  baseURL: `${url}/v1`,
  apiKey,
  includeUsage: true,
  supportsStructuredOutputs: true,
});

/** By the API that is spoken; Responses is what `openai(…)` means. */
const MODELS = {
  responses: (model) => openai(model),
  chat: (model) => openai.chat(model),
  compatible: (model) => compatible(model),
  anthropic: (model) => anthropic(model),
};

const Person = z.object({ name: z.string(), age: z.number().int() });

function tools(ran) {
  const said = (name) => async (input) => {
    ran.push([name, input]);
    return `${name} is fine`;
  };
  return {
    get_weather: tool({
      description: 'Tells the weather',
      inputSchema: z.object({ city: z.string() }),
      execute: said('get_weather'),
    }),
    get_time: tool({
      description: 'Tells the time',
      inputSchema: z.object({}),
      execute: said('get_time'),
    }),
  };
}

const CALLS = {
  async generate({ api, model, prompt, ...options }) {
    const { text, usage, finishReason, reasoningText } = await generateText({
      model: MODELS[api](model),
      prompt,
      maxRetries: 0,
      ...options,
    });
    return { text, usage, finishReason, reasoningText };
  },

  async stream({ api, model, prompt, ...options }) {
    const problems = [];
    const result = streamText({
      model: MODELS[api](model),
      prompt,
      maxRetries: 0,
      onError: ({ error }) => problems.push(error),
      ...options,
    });
    const deltas = [];
    for await (const delta of result.textStream) deltas.push(delta);
    if (problems.length > 0) throw problems[0];
    return { deltas, usage: await result.usage, finishReason: await result.finishReason };
  },

  // Tools run and their results go back until there is an answer in words.
  async loop({ api, model, prompt, streamed, ...options }) {
    const ran = [];
    const asked = {
      model: MODELS[api](model),
      prompt,
      tools: tools(ran),
      stopWhen: (isStepCount ?? stepCountIs)(4),
      maxRetries: 0,
      ...options,
    };
    if (!streamed) {
      const { text, steps } = await generateText(asked);
      return { text, ran, steps: steps.length };
    }
    const problems = [];
    const result = streamText({ ...asked, onError: ({ error }) => problems.push(error) });
    await result.consumeStream();
    if (problems.length > 0) throw problems[0];
    return { text: await result.text, ran, steps: (await result.steps).length };
  },

  async structured({ api, model, prompt, streamed }) {
    const asked = {
      model: MODELS[api](model),
      prompt,
      output: Output.object({ schema: Person }),
      maxRetries: 0,
    };
    if (!streamed) return (await generateText(asked)).output;
    return streamText(asked).output;
  },
};

/** Tell of an error what a program that catches it can see. */
function describe(error) {
  const seen = error.lastError ?? error;
  return {
    class: seen.name ?? seen.constructor.name,
    message: seen.message ?? JSON.stringify(seen),
    status: seen.statusCode,
    retryable: seen.isRetryable,
    body: seen.responseBody,
  };
}

await serve((call, ask) => CALLS[call](ask), describe);
