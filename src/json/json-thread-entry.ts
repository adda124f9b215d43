import { parentPort } from 'node:worker_threads';
import { jsonTextOf } from './canonical-json.js';
import { MalformedJson } from '../errors.js';
import { membersOf } from './json-shape.js';
import type { JsonAnswer, JsonJob, JsonRequest } from './json-thread.js';
import { checkStrictJson, parseStrictJson } from './strict-json.js';

// The other side of json-thread.ts: work that is slow for some shapes of JSON runs here.

parentPort?.on('message', ({ id, bytes, job }: JsonRequest) => parentPort?.postMessage(answerTo(id, bytes, job)));

function answerTo(id: number, bytes: Uint8Array, job: JsonJob): JsonAnswer {
  try {
    return { id, value: done(bytes, job) };
  } catch (error) {
    if (error instanceof MalformedJson) return { id, problem: error.problem, offset: error.offset };
    return { id, fault: String(error) };
  }
}

function done(bytes: Uint8Array, job: JsonJob): unknown {
  if (job === 'check') return checkStrictJson(bytes);
  if (job === 'text') return jsonTextOf(parseStrictJson(bytes));
  return membersOf(JSON.parse(new TextDecoder().decode(bytes)) as object, job);
}
