import { Worker } from 'node:worker_threads';
import { MalformedJson, ServiceUnavailable } from '../errors.js';
import type { Shape } from './json-shape.js';

/** `check`: whether it is an object, if it is JSON. `text`: a `JsonText`. A shape: the members of an object that was checked before. */
export type JsonJob = 'check' | 'text' | Shape;

export interface JsonRequest {
  readonly id: number;
  readonly bytes: Uint8Array;
  readonly job: JsonJob;
}

/** Class instances do not survive the way between threads: a `JsonText` comes as its two members. */
export type JsonAnswer =
  | { readonly id: number; readonly value: unknown }
  | { readonly id: number; readonly problem: string; readonly offset: number | undefined }
  | { readonly id: number; readonly fault: string };

interface Waiting {
  readonly bytes: number;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/** The most bytes of bodies that wait for the thread. More would be read too late for their clients. */
const MAX_WAITING_BYTES = 64 * 1024 * 1024;

/** One thread for the large JSON texts of this process. In the main thread they would block all other work. */
class JsonThread {
  readonly #waiting = new Map<number, Waiting>();
  #waitingBytes = 0;
  #lastId = 0;
  #worker: Worker | undefined;

  /** @throws MalformedJson; ServiceUnavailable when too much waits */
  run(bytes: Uint8Array, job: JsonJob): Promise<unknown> {
    if (this.#waiting.size > 0 && this.#waitingBytes + bytes.length > MAX_WAITING_BYTES) {
      return Promise.reject(new ServiceUnavailable(1, 'Too many large bodies wait to be read'));
    }
    const id = ++this.#lastId;
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    this.#waiting.set(id, { bytes: bytes.length, resolve, reject });
    this.#waitingBytes += bytes.length;
    this.#worker ??= this.started();
    this.#worker.postMessage({ id, bytes, job } satisfies JsonRequest);
    return promise;
  }

  private started(): Worker {
    // Without the arguments of this process: they begin its tracing.
    const worker = new Worker(new URL('./json-thread-entry.js', import.meta.url), { execArgv: [], name: 'json' });
    worker.unref();
    worker.on('message', (answer: JsonAnswer) => this.settle(answer));
    worker.on('error', (error) => this.lost(worker, error));
    worker.on('exit', () => this.lost(worker, new Error('the thread ended')));
    return worker;
  }

  private settle(answer: JsonAnswer): void {
    const waiting = this.#waiting.get(answer.id);
    if (!waiting) return;
    this.#waiting.delete(answer.id);
    this.#waitingBytes -= waiting.bytes;
    if ('value' in answer) waiting.resolve(answer.value);
    else if ('problem' in answer) waiting.reject(new MalformedJson(answer.problem, answer.offset));
    else waiting.reject(new Error(`the thread that reads JSON failed: ${answer.fault}`));
  }

  /** The thread ended, for instance without memory. The next text begins another thread. */
  private lost(worker: Worker, cause: unknown): void {
    if (this.#worker !== worker) return;
    this.#worker = undefined;
    const all = [...this.#waiting.values()];
    this.#waiting.clear();
    this.#waitingBytes = 0;
    for (const { reject } of all) reject(new Error('the thread that reads JSON is gone', { cause }));
  }
}

export const jsonThread = new JsonThread();
