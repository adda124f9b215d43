// The tokens of a stream. Plain JavaScript, because the service under test loads it beside host-module.mjs.
import { setTimeout as delay } from 'node:timers/promises';

/** Ms of the clock that all processes of the machine share. */
export const now = () => Number(process.hrtime.bigint()) / 1e6;

/** Puts out `count` tokens, evenly, each as `@number:time;` with the time of the call. Begins at a random moment of the first interval. */
export async function speak(output, count, perSecond) {
  const intervalMs = 1000 / perSecond;
  const startsAt = performance.now() + Math.random() * intervalMs;
  for (let n = 0; n < count; n += 1) {
    const waitMs = startsAt + n * intervalMs - performance.now();
    if (waitMs > 0) await delay(waitMs);
    output(`@${n + 1}:${now().toFixed(1)};`);
  }
}
