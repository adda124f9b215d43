import { setTimeout as delay } from 'node:timers/promises';
import { answerCalls } from './child.js';
import { percentile } from './median.js';
import { Subscriber } from './subscriber.js';
import { now } from './tokens.mjs';

// The followers of streams of tokens, one for each stream. A stream counts its tokens from 1, so a lost one and a doubled one are seen.

const WAIT_MS = 10_000;
const TOKEN = /@(\d+):(\d+\.\d);/g;

/** One follower, and the tokens that it got. */
class Follower {
  last = 0;
  readonly #subscriber: Subscriber;
  #rest = '';

  constructor(url: string, taskId: string) {
    const target = { url, taskId, transport: 'websocket', lastEventId: 0 } as const;
    this.#subscriber = new Subscriber(
      target,
      () => undefined,
      (why) => (broken ??= why),
      (chunk) => this.read(chunk),
    );
  }

  get confirmed(): Promise<void> {
    return this.#subscriber.confirmed;
  }

  pong(): void {
    this.#subscriber.pong();
  }

  private read(chunk: Buffer): void {
    const text = this.#rest + chunk.toString('latin1');
    const arrivedAt = now();
    let end = 0;
    for (const { index, 0: whole, 1: number, 2: saidAt } of text.matchAll(TOKEN)) {
      if (Number(number) !== this.last + 1) broken ??= `token ${number} came after ${this.last}`;
      this.last = Number(number);
      latencies.push(arrivedAt - Number(saidAt));
      end = index + whole.length;
    }
    // A token that another chunk completes.
    const begun = text.indexOf('@', Math.max(end, text.length - 40));
    this.#rest = begun < 0 ? '' : text.slice(begun);
  }
}

const followers: Follower[] = [];
let latencies: number[] = [];
let broken: string | undefined;

setInterval(() => followers.forEach((follower) => follower.pong()), 8_000);

answerCalls({
  /** Opens one follower for each, the last in the list the last. */
  async follow(streams: readonly { readonly url: string; readonly taskId: string }[]): Promise<void> {
    for (const { url, taskId } of streams) {
      const follower = new Follower(url, taskId);
      await follower.confirmed;
      followers.push(follower);
    }
  },

  begin(): void {
    latencies = [];
    for (const follower of followers) follower.last = 0;
  },

  /** Waits until the first `streams` followers have `tokens` each. Answers p50 and p99 from the call to the socket, in ms. */
  async latencies(streams: number, tokens: number): Promise<{ p50: number; p99: number }> {
    const chosen = followers.slice(0, streams);
    const missing = () => chosen.filter(({ last }) => last < tokens).length;
    for (const since = performance.now(); missing() > 0 && broken === undefined; await delay(5)) {
      if (performance.now() - since > WAIT_MS) broken = `${missing()} of ${streams} streams are not complete`;
    }
    if (broken !== undefined) throw new Error(broken);
    return { p50: percentile(latencies, 0.5), p99: percentile(latencies, 0.99) };
  },
});
