import { createHash } from 'node:crypto';
import { text as textOf } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { type JsonObject, type StepContext, TaskFailure, type TaskHandlers } from '#handler/task-handler.js';
import { JsonText } from '../json/json-text.js';
import { exactTreeOf } from '../json/json-tree.js';

/** Task types to try the service with. Off in production-like environments. */
export const DEMO_HANDLERS: TaskHandlers = {
  'demo.greet': async (input, { progress, signal }) => {
    const name = text(input, 'name', 'world');
    const steps = count(input, 'steps', 3, 1_000);
    const stepMs = count(input, 'stepMs', 200, 60_000);
    for (let step = 1; step <= steps; step += 1) {
      await delay(stepMs, undefined, { signal });
      await progress(Math.round((1000 * step) / steps) / 10, { message: `step ${step} of ${steps}` });
    }
    return { greeting: `Hello, ${name}!` };
  },

  'demo.steps': async (input, { progress, step }) => {
    const steps = count(input, 'steps', 10, 1_000);
    const stepMs = count(input, 'stepMs', 200, 60_000);
    for (let index = 0; index < steps; index += 1) {
      const body = async ({ signal }: StepContext) => {
        await delay(stepMs, undefined, { signal });
        await progress(Math.round((1000 * (index + 1)) / steps) / 10, { message: `step ${index + 1} of ${steps}` });
      };
      await step('part', body, { index });
    }
    return { steps };
  },

  'demo.file': async (input, { attach, attachments, signal, step }) => {
    const lines = count(input, 'lines', 10_000, 100_000);
    const pauseMs = count(input, 'pauseMs', 200, 60_000);
    let made: string | undefined;
    const { attachmentId } = await step('lines', () => {
      made = Array.from({ length: lines }, (_, n) => `line ${n + 1}\n`).join('');
      return attach('lines.txt', made);
    });
    await delay(pauseMs, undefined, { signal });
    // A run after a crash did not make the text: it reads the file.
    const stored = attachments.find((file) => file.attachmentId === attachmentId);
    const known = made ?? (stored && (await textOf(await stored.open()))) ?? '';
    return { attachmentId, lines: known.split('\n').length - 1 };
  },

  'demo.echo': (input, { rawJson }) => exactTreeOf(new JsonText(rawJson(input))),

  'demo.fail': (input) => {
    throw new TaskFailure('DEMO_FAILURE', text(input, 'message', 'This task fails on purpose.'), {
      retryable: input['retryable'] === true,
    });
  },

  'demo.sleep': async (input, { signal }) => {
    const ms = count(input, 'ms', 1_000, 24 * 60 * 60 * 1000);
    await delay(ms, undefined, { signal });
    return { sleptMs: ms };
  },

  'demo.stream': async (input, { output, signal }) => {
    const chunks = count(input, 'chunks', 20, 10_000);
    const intervalMs = count(input, 'intervalMs', 50, 60_000);
    const words = 'the quick brown fox jumps over the lazy dog'.split(' ');
    let joined = '';
    for (let chunk = 0; chunk < chunks; chunk += 1) {
      await delay(intervalMs, undefined, { signal });
      const data = `${chunk === 0 ? '' : ' '}${words[chunk % words.length]}`;
      await output(data);
      joined += data;
    }
    return { text: joined };
  },

  'demo.approval': async (input, { suspend, rawJson }) => {
    const question = text(input, 'question', 'Shall it be done?');
    const expiresInMs = input['expiresInMs'] === undefined ? undefined : count(input, 'expiresInMs', 0, 86_400_000);
    const answer = await suspend({
      reasonCode: 'APPROVAL_REQUIRED',
      allowedActions: ['approve', 'reject'],
      interaction: { question },
      ...(expiresInMs !== undefined && { expiresAt: Date.now() + expiresInMs }),
    });
    return { decision: answer.actionType, payload: await exactTreeOf(new JsonText(rawJson(answer.payload))) };
  },

  'demo.attachments': async (_input, { attachments, signal }) => {
    const read = [];
    for (const { filename, contentType, open } of attachments) {
      const hash = createHash('sha256');
      let sizeBytes = 0;
      for await (const chunk of (await open()) as AsyncIterable<Buffer>) {
        signal.throwIfAborted();
        hash.update(chunk);
        sizeBytes += chunk.length;
      }
      read.push({ filename, contentType, sizeBytes, sha256: hash.digest('hex') });
    }
    return { attachments: read };
  },

  'demo.burst': async (input, { progress, signal }) => {
    const events = count(input, 'events', 100, 100_000);
    for (let sent = 0; sent < events; ) {
      // Many calls at a time, none awaited alone: as fast as the service stores them.
      const burst = Math.min(250, events - sent);
      await Promise.all(Array.from({ length: burst }, (_, i) => progress((100 * (sent + i + 1)) / events)));
      sent += burst;
      signal.throwIfAborted();
    }
    return { events };
  },
};

function text(input: JsonObject, name: string, standard: string): string {
  const value = input[name] ?? standard;
  if (typeof value !== 'string') throw new TaskFailure('INVALID_INPUT', `input.${name} must be a string.`);
  return value;
}

function count(input: JsonObject, name: string, standard: number, most: number): number {
  const value = input[name] ?? standard;
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value > most) {
    throw new TaskFailure('INVALID_INPUT', `input.${name} must be a whole number from 0 to ${most}.`);
  }
  return value;
}
