import type { Check } from '../clause.js';
import { demand, demandAnswer, demandSame } from '../demands.js';

export const pollTerminal: Check = async (scene) => {
  const { taskId, headEventId } = await scene.ended();
  const before = String(Number(headEventId) - 1);
  const early = await scene.a.page(taskId, { maxEvents: 1, waitTimeoutMs: 0 });
  demandSame('terminal on a page before the terminal event', [early.body.terminal, early.body.hasMore], [false, true]);
  const last = await scene.a.page(taskId, { afterEventId: before, waitTimeoutMs: 0 });
  demandSame('terminal on the page with the terminal event', [last.body.terminal, last.body.hasMore], [true, false]);
};

export const pollBehindTheEnd: Check = async (scene) => {
  const { taskId, headEventId } = await scene.ended();
  const begun = performance.now();
  const answer = await scene.a.page(taskId, { afterEventId: headEventId, waitTimeoutMs: 20_000 });
  const tookMs = performance.now() - begun;
  demandAnswer(answer, 200);
  demandSame('the page after the terminal event', [answer.body.events, answer.body.terminal], [[], true]);
  demand(tookMs < scene.patienceMs, `it took ${Math.round(tookMs)} ms`);
};
