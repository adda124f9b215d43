import { MAX_EVENTS, POLL_WAIT_MS } from '../../../protocol/src/limits.js';
import { SCHEMAS } from '../../../protocol/src/snapshots.js';
import type { Check } from '../clause.js';
import { demand, demandAnswer, demandMembers, demandRefusal, demandSame } from '../demands.js';
import { progress } from '../driven-task.js';

export const pageMembers: Check = async (scene) => {
  const { taskId, headEventId } = await scene.ended();
  const answer = await scene.a.page(taskId, { afterEventId: '1', maxEvents: 2, waitTimeoutMs: 0 });
  demandAnswer(answer, 200);
  demandMembers('a page', answer.body, SCHEMAS.EventPage);
  const { events, hasMore } = answer.body;
  demandSame(
    'the ids on a page of two after 1',
    events.map(({ eventId }) => eventId),
    ['2', '3'],
  );
  demandSame(
    'taskId, hasMore and headEventId',
    [answer.body.taskId, hasMore, answer.body.headEventId],
    [taskId, true, headEventId],
  );
};

export const nextCursor: Check = async (scene) => {
  const { taskId } = await scene.waiting();
  const none = await scene.a.page(taskId, { waitTimeoutMs: 0 });
  demandSame('nextAfterEventId where no cursor was sent and nothing came', none.body.nextAfterEventId, undefined);
  const task = await scene.begin();
  const at = async (query: Record<string, string | number>) =>
    (await scene.a.page(task.taskId, { waitTimeoutMs: 0, ...query })).body.nextAfterEventId;
  demandSame('nextAfterEventId of a page with event 1', await at({}), '1');
  demandSame('nextAfterEventId of an empty page after 1', await at({ afterEventId: '1' }), '1');
};

export const waits: Check = async (scene) => {
  const task = await scene.begin();
  let isAnswered = false;
  const polled = scene.a.page(task.taskId, { afterEventId: '1', waitTimeoutMs: 20_000 }).finally(() => {
    isAnswered = true;
  });
  await scene.quiet();
  demand(!isAnswered, 'a long-poll was answered while there was nothing after its cursor');
  await task.append(progress(1));
  const stored = performance.now();
  const answer = await polled;
  demandSame(
    'the events that it was answered with',
    answer.body.events?.map(({ eventId }) => eventId),
    ['2'],
  );
  const afterMs = performance.now() - stored;
  demand(afterMs < scene.patienceMs, `a long-poll was answered ${Math.round(afterMs)} ms after the event`);
};

export const waitIsBounded: Check = async (scene) => {
  const task = await scene.begin();
  const begun = performance.now();
  const answer = await scene.a.page(task.taskId, { afterEventId: '1', waitTimeoutMs: 300 });
  const tookMs = performance.now() - begun;
  demandAnswer(answer, 200);
  demandSame('its events', answer.body.events, []);
  demand(tookMs >= 290 && tookMs < 300 + scene.patienceMs, `a wait of 300 ms took ${Math.round(tookMs)} ms`);
};

export const parametersOfPage: Check = async (scene) => {
  const { taskId } = await scene.ended();
  const wrong = [
    { maxEvents: MAX_EVENTS.minimum - 1 },
    { maxEvents: MAX_EVENTS.maximum + 1 },
    { waitTimeoutMs: POLL_WAIT_MS.maximum + 1 },
    { waitTimeoutMs: POLL_WAIT_MS.minimum - 1 },
    { maxEvents: 'x' },
  ];
  for (const query of wrong) {
    const answer = await scene.a.page(taskId, query as Record<string, string | number>);
    demandRefusal(answer, 'INVALID_REQUEST');
  }
  demandAnswer(await scene.a.page(taskId, { maxEvents: MAX_EVENTS.maximum, waitTimeoutMs: POLL_WAIT_MS.maximum }), 200);
};
