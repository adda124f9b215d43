import { parentPort } from 'node:worker_threads';
import { marked } from '#protocol/exact-json.js';
import { jsonTextOf } from './canonical-json.js';
import { MalformedJson } from '../errors.js';
import { membersOf } from './json-shape.js';
import type { JsonAnswer, JsonJob, JsonRequest } from './json-thread.js';
import { checkedJson, exactTree } from './strict-json.js';

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
  if (job === 'check') return checkedJson(bytes).text.trimStart().startsWith('{');
  if (job === 'text') return jsonTextOf(exactTree(checkedJson(bytes)));
  return membersOf(JSON.parse(marked(new TextDecoder().decode(bytes))) as object, job);
}
