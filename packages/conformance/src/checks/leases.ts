import { MAX_TASKS } from '../../../protocol/src/limits.js';
import { SCHEMAS, type SuspendAnswer } from '../../../protocol/src/snapshots.js';
import { type Check } from '../clause.js';
import { NotChecked } from '../outcomes.js';
import { demand, demandAnswer, demandMembers, demandRefusal, demandSame } from '../demands.js';
import { accepted, message, output, progress, question } from '../driven-task.js';
import type { Held } from '../worker-client.js';
import { WorkerClient } from '../worker-client.js';
import { ABSENT_TASK, type ErrorBody } from '../wire.js';

const LONGEST_LEASE_MS = 40_000;
/** The most time from the expiry to the announcement of the next attempt. */
const REAPED_WITHIN_MS = 20_000;
const MOST_ATTEMPTS = 20;

export const workerToken: Check = async (scene) => {
  const body = { workerId: 'conformance', taskTypes: [scene.newType()], waitTimeoutMs: 0 };
  const calls = ['leases', ...['events', 'heartbeat', 'complete'].map((name) => `tasks/${ABSENT_TASK}/${name}`)];
  for (const call of calls) {
    demandRefusal(await scene.stranger.post(`/worker/v1/${call}`, body), 'AUTHENTICATION_ERROR');
    demandRefusal(await scene.a.post(`/worker/v1/${call}`, body), 'AUTHENTICATION_ERROR');
  }
  const wrong = new WorkerClient(scene.stranger, 'a-token-that-nobody-was-given-0123456789');
  demandRefusal(await wrong.claim([scene.newType()]), 'AUTHENTICATION_ERROR');
};

export const claimed: Check = async (scene) => {
  const clientRequestId = scene.newId();
  const { taskId, taskType } = await scene.waiting({ clientRequestId, input: { month: 10 }, metadata: { a: 'b' } });
  const answer = await scene.worker.claim([taskType], { waitTimeoutMs: scene.claimMs });
  demandAnswer(answer, 200);
  const [lease, ...more] = answer.body.leases;
  demand(lease !== undefined && more.length === 0, `${answer.body.leases.length} leases of one task`);
  scene.driven(lease);
  demandMembers('a lease', lease, SCHEMAS.Lease);
  const { leaseToken: _, leaseExpiresAt, ...rest } = lease;
  demand(!Number.isNaN(Date.parse(leaseExpiresAt)), `leaseExpiresAt is ${leaseExpiresAt}`);
  const { attempt, input, metadata, attachments, headEventId, cancellationRequested, answers } = rest;
  demandSame(
    'the lease',
    [rest.taskId, rest.taskType, rest.clientRequestId, attempt, input, metadata, attachments, headEventId],
    [taskId, taskType, clientRequestId, 1, { month: 10 }, { a: 'b' }, [], '1'],
  );
  demandSame('cancellationRequested and answers', [cancellationRequested, answers], [false, []]);
};

export const claimStarts: Check = async (scene) => {
  const task = await scene.begin();
  const { status } = (await scene.a.snapshot(task.taskId)).body;
  const types = (await scene.events(task.taskId)).map(({ type }) => type);
  demandSame('the status and the log', [status, types], ['RUNNING', ['TASK_STARTED']]);
};

export const claimWaits: Check = async (scene) => {
  const taskType = scene.newType();
  const begun = performance.now();
  const none = await scene.worker.claim([taskType], { waitTimeoutMs: 300 });
  const tookMs = performance.now() - begun;
  demandSame('a claim of what nobody creates', [none.status, none.body.leases], [200, []]);
  demand(tookMs > 290 && tookMs < 300 + scene.patienceMs, `a claim that waits 300 ms took ${Math.round(tookMs)} ms`);
  const claim = scene.worker.claim([taskType], { waitTimeoutMs: 20_000 });
  await scene.quiet(100);
  const created = await scene.create({ clientRequestId: scene.newId(), taskType });
  demandAnswer(created, 201);
  const createdAt = performance.now();
  const { leases } = accepted(await claim);
  demandSame(
    'what the claim that waits is given',
    leases.map(({ taskId }) => taskId),
    [created.body.taskId],
  );
  for (const lease of leases) scene.driven(lease);
  const afterMs = performance.now() - createdAt;
  demand(afterMs < scene.patienceMs, `it was given ${Math.round(afterMs)} ms after the create`);
};

export const oneLeaseEach: Check = async (scene) => {
  const { taskId, taskType } = await scene.waiting();
  const taskIds = [taskId];
  while (taskIds.length < 6) {
    taskIds.push((await scene.create({ clientRequestId: scene.newId(), taskType })).body.taskId);
  }
  const claims = await Promise.all(Array.from({ length: 6 }, () => scene.worker.claim([taskType], { maxTasks: 2 })));
  claims.push(await scene.worker.claim([taskType], { maxTasks: MAX_TASKS.maximum }));
  const given = claims.flatMap((claim) => claim.body.leases);
  for (const lease of given) scene.driven(lease);
  demand(
    claims.slice(0, 6).every((claim) => claim.body.leases.length <= 2),
    'a claim of two was given more',
  );
  demandSame('the tasks that were handed out', given.map((lease) => lease.taskId).sort(), [...taskIds].sort());
};

export const appended: Check = async (scene) => {
  const task = await scene.begin();
  const ids = await task.append(
    { type: 'TASK_STARTED', payload: {} },
    progress(10, { stage: 'reading' }),
    output('Octo'),
    output('ber'),
    output('other channel', 'append', 'log'),
    message('done'),
  );
  demandSame('eventIds', ids, ['1', '2', '3', '3', '4', '5']);
  const events = await scene.events(task.taskId);
  demandSame(
    'the log',
    events.map(({ type, payload }) => [type, payload['data'] ?? null]),
    [
      ['TASK_STARTED', null],
      ['TASK_PROGRESS', null],
      ['TASK_OUTPUT', 'October'],
      ['TASK_OUTPUT', 'other channel'],
      ['TASK_MESSAGE', null],
    ],
  );
};

export const batchRepeated: Check = async (scene) => {
  const task = await scene.begin();
  const batch = [progress(10), output('Octo')];
  const first = await task.worker.events(task.lease, 1, batch);
  const again = await task.worker.events(task.lease, 1, batch);
  demandSame('the answer to the same batch', [again.status, again.body.eventIds], [200, first.body.eventIds]);
  demandSame('how many events there are', (await scene.events(task.taskId)).length, 3);
};

export const batchConflict: Check = async (scene) => {
  const task = await scene.begin();
  await task.worker.events(task.lease, 1, [progress(10)]);
  demandRefusal(await task.worker.events(task.lease, 1, [progress(20)]), 'IDEMPOTENCY_CONFLICT');
};

export const batchGap: Check = async (scene) => {
  const task = await scene.begin();
  const answer = await task.worker.events(task.lease, 2, [progress(10)]);
  demandRefusal(answer, 'BATCH_OUT_OF_ORDER');
  demandSame('details', (answer.body as unknown as ErrorBody).details, { expected: 1 });
};

export const batchWhole: Check = async (scene) => {
  const task = await scene.begin();
  const answer = await task.worker.events(task.lease, 1, [message('hello'), progress(101)]);
  demandRefusal(answer, 'REQUEST_VALIDATION_ERROR');
  const { errors } = (answer.body as unknown as ErrorBody).details as { errors?: { path?: string }[] };
  demandSame(
    'what is named',
    errors?.map(({ path }) => path),
    ['events[1].payload.progress'],
  );
  demandSame('how many events there are', (await scene.events(task.taskId)).length, 1);
  demandSame('the ids of the next batch under that number', await task.append(message('hello')), ['2']);
};

export const unknownEvents: Check = async (scene) => {
  const task = await scene.begin();
  const wrong = [
    { type: 'TASK_COMPLETED', payload: { result: 1 } },
    { type: 'TASK_CANCELLED', payload: { reason: 'x' } },
    { type: 'TASK_ACTION_ACCEPTED', payload: {} },
    { type: 'TASK_OTHER', payload: {} },
  ];
  for (const event of wrong) {
    const answer = await task.worker.events(task.lease, 1, [event]);
    demandRefusal(answer, 'REQUEST_VALIDATION_ERROR', event.type);
  }
};

export const heartbeatExtends: Check = async (scene) => {
  const task = await scene.begin();
  await scene.quiet();
  const { body } = await task.worker.call<{ leaseExpiresAt: string; cancellationRequested: boolean }>(
    task.lease,
    'heartbeat',
  );
  const [before, after] = [task.lease.leaseExpiresAt, body.leaseExpiresAt];
  demand(Date.parse(after) > Date.parse(before), `leaseExpiresAt was ${before} and is ${after}`);
  demandSame('cancellationRequested', body.cancellationRequested, false);
};

export const resumed: Check = async (scene) => {
  const task = await scene.begin();
  await task.append(message('read'));
  await task.suspend(question('publish'));
  const before = task.lease;
  await scene.a.act(task.taskId, {
    clientActionId: 'a-1',
    suspendId: 'publish',
    actionType: 'yes',
    payload: { to: 'all' },
  });
  const lease = await task.resume();
  demandSame('the attempt', lease.attempt, before.attempt);
  demand(lease.leaseToken !== before.leaseToken, 'the new lease has the token of the one before');
  const { actorId: _, ...answer }: Partial<SuspendAnswer> = lease.resume ?? {};
  demandSame('resume', answer, {
    suspendId: 'publish',
    clientActionId: 'a-1',
    actionType: 'yes',
    payload: { to: 'all' },
  });
  demandSame('answers', lease.answers, [lease.resume]);
  demandSame('the ids of batch 1 of the new lease', await task.append(progress(2)), ['5']);
};

export const answersOutliveLeases: Check = async (scene) => {
  const task = await scene.begin();
  for (const suspendId of ['first', 'second']) {
    await task.suspend(question(suspendId));
    await scene.a.act(task.taskId, { clientActionId: suspendId, suspendId, actionType: 'yes' });
    await task.resume();
  }
  await task.retry();
  const { attempt, answers } = await task.resume();
  demandSame(
    'the answers that the next attempt is given',
    [attempt, answers.map((one) => one.suspendId)],
    [2, ['first', 'second']],
  );
};

export const asksOnce: Check = async (scene) => {
  const task = await scene.begin();
  await task.suspend(question('q'));
  await scene.a.act(task.taskId, { clientActionId: 'a', suspendId: 'q', actionType: 'yes' });
  await task.resume();
  const answer = await task.worker.call(task.lease, 'suspend', question('q'));
  demandRefusal(answer, 'INVALID_TASK_STATE');
};

export const endRepeated: Check = async (scene) => {
  const task = await scene.begin();
  const eventId = await task.complete({ pages: 3 });
  const again = await task.worker.call<{ eventId: string }>(task.lease, 'complete', { result: { pages: 3 } });
  demandSame('the same call again', [again.status, again.body.eventId], [200, eventId]);
  demandSame('how many events there are', (await scene.events(task.taskId)).length, 2);
};

/** A stale lease is refused after a release and another claim, and after the end. */
export const fence: Check = async (scene) => {
  const task = await scene.begin();
  const stale: Held = task.lease;
  await task.release();
  await task.resume();
  const before = (await scene.events(task.taskId)).length;
  const calls: [string, Readonly<Record<string, unknown>>][] = [
    ['events', { batchSeq: 1, events: [progress(50)] }],
    ['heartbeat', {}],
    ['suspend', question('q')],
    ['complete', { result: 'stale' }],
    ['fail', { code: 'STALE', message: 'stale', retryable: false }],
    ['cancelled', {}],
  ];
  for (const [call, body] of calls) {
    demandRefusal(await task.worker.call(stale, call, body), 'LEASE_LOST');
    demandRefusal(await task.worker.call({ ...stale, leaseToken: 'no-lease' }, call, body), 'LEASE_LOST');
  }
  demandSame('how many events there are', (await scene.events(task.taskId)).length, before);
  await task.complete();
  demandRefusal(await task.worker.events(task.lease, 1, [progress(1)]), 'LEASE_LOST');
  demandRefusal(await task.worker.call(task.lease, 'heartbeat'), 'LEASE_LOST');
};

export const retried: Check = async (scene) => {
  const task = await scene.begin();
  const { body } = await task.retry();
  demandSame('the answer to a retryable failure', body, { eventId: '2', willRetry: true });
  demandSame('the attempt of the next lease', (await task.resume()).attempt, 2);
};

export const failedFinally: Check = async (scene) => {
  const task = await scene.begin();
  const failure = { code: 'BUSY', message: 'The archive is busy.', retryable: false };
  const answer = await task.worker.call<{ willRetry: boolean }>(task.lease, 'fail', failure);
  demandSame('willRetry', answer.body.willRetry, false);
  const last = (await scene.events(task.taskId)).at(-1);
  demandSame('the end', [last?.type, last?.payload], ['TASK_FAILED', failure]);
};

export const attemptsAreSpent: Check = async (scene) => {
  const task = await scene.begin();
  for (let attempt = 1; attempt <= MOST_ATTEMPTS; attempt += 1) {
    const { willRetry } = (await task.retry()).body;
    if (!willRetry) {
      const last = (await scene.events(task.taskId)).at(-1);
      demandSame(
        `the end after ${attempt} attempts`,
        [last?.type, last?.payload['code']],
        ['TASK_FAILED', 'CONFORMANCE'],
      );
      return;
    }
    await task.resume();
  }
  throw new NotChecked(`the operator allows more than ${MOST_ATTEMPTS} attempts`);
};

export const released: Check = async (scene) => {
  const task = await scene.begin();
  demandAnswer(await task.worker.call(task.lease, 'release'), 204);
  const begun = performance.now();
  await task.resume();
  const tookMs = performance.now() - begun;
  demand(tookMs < scene.patienceMs, `what was released was handed out again after ${Math.round(tookMs)} ms`);
};

/** The check gives no sign of life, and waits until the lease is over. */
export const leaseExpires: Check = async (scene) => {
  const task = await scene.begin();
  await task.append(progress(1));
  const [event] = (await scene.events(task.taskId)).slice(-1);
  const lastsMs = Date.parse(task.lease.leaseExpiresAt) - Date.parse(event?.createdAt ?? '');
  if (lastsMs > LONGEST_LEASE_MS) throw new NotChecked(`a lease lasts ${Math.round(lastsMs / 1000)} s here`);
  const stale = task.lease;
  const retrying = await scene.eventually(
    'the next attempt is announced after the lease has expired',
    async () => {
      const last = (await scene.events(task.taskId)).at(-1);
      await scene.quiet(250);
      return last?.type === 'TASK_RETRYING' && last;
    },
    lastsMs + REAPED_WITHIN_MS,
  );
  demandSame('the reason', retrying.payload['reason'], 'lease_expired');
  demandRefusal(await task.worker.call(stale, 'heartbeat'), 'LEASE_LOST');
  demandSame('the attempt of the next lease', (await task.resume()).attempt, 2);
};
