import type { Check } from '../clause.js';
import { demand, demandAnswer, demandSame } from '../demands.js';
import type { Scene } from '../scene.js';

export const pollTerminal: Check = async (scene) => {
  const { taskId, headEventId } = await scene.ended();
  const before = String(Number(headEventId) - 1);
  const early = await scene.a.page(taskId, { maxEvents: 1, waitTimeoutMs: 0 });
  demandSame('terminal on a page before the terminal event', [early.body.terminal, early.body.hasMore], [false, true]);
  const last = await scene.a.page(taskId, { afterEventId: before, waitTimeoutMs: 0 });
  demandSame('terminal on the page with the terminal event', [last.body.terminal, last.body.hasMore], [true, false]);
};

const HELD_MS = 1_500;

/** A client that does not look at `terminal` asks again at once, and would do so without end. */
export const pollBehindTheEnd: Check = async (scene) => {
  const { taskId, headEventId } = await scene.ended();
  const tookMs = await timed(scene, taskId, headEventId, HELD_MS);
  demand(tookMs > HELD_MS - 100, `the answer to a wait of ${HELD_MS} ms came after ${Math.round(tookMs)} ms`);
  demand(tookMs < HELD_MS + scene.patienceMs, `it took ${Math.round(tookMs)} ms`);
};

export const pollWithoutWait: Check = async (scene) => {
  const { taskId, headEventId } = await scene.ended();
  const tookMs = await timed(scene, taskId, headEventId, 0);
  demand(tookMs < scene.patienceMs, `the answer to a wait of 0 ms came after ${Math.round(tookMs)} ms`);
};

export const headOfPage: Check = async (scene) => {
  const { taskId, headEventId } = await scene.ended();
  const begun = performance.now();
  const path = `/api/v1/tasks/${taskId}/events?afterEventId=${headEventId}&waitTimeoutMs=60000`;
  const answer = await scene.a.request('HEAD', path);
  demandAnswer(answer, 200);
  demandSame('the body', answer.text, '');
  const tookMs = performance.now() - begun;
  demand(tookMs < scene.patienceMs, `the answer came after ${Math.round(tookMs)} ms`);
};

async function timed(scene: Scene, taskId: string, afterEventId: string, waitTimeoutMs: number): Promise<number> {
  const begun = performance.now();
  const answer = await scene.a.page(taskId, { afterEventId, waitTimeoutMs });
  demandAnswer(answer, 200);
  demandSame('the page after the terminal event', [answer.body.events, answer.body.terminal], [[], true]);
  return performance.now() - begun;
}
