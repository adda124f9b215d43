import type { Feature } from '../../../protocol/src/features.js';
import type { JsonObject } from '../../../protocol/src/json-schema.js';
import type { Check } from '../clause.js';
import { demand, demandSame } from '../demands.js';
import { accepted, message, output, question } from '../driven-task.js';
import { NotChecked } from '../outcomes.js';
import type { Scene } from '../scene.js';
import type { Held } from '../worker-client.js';
import type { WorkerEvent } from '../wire.js';

/** @throws NotChecked where the service does not have it */
async function demandFeature(scene: Scene, feature: Feature): Promise<void> {
  const { features } = accepted(await scene.worker.service());
  if (!features.includes(feature)) throw new NotChecked(`the service does not have the feature \`${feature}\``);
}

async function appendKeyed(scene: Scene, held: Held, events: Readonly<Record<string, WorkerEvent>>) {
  const withKeys = Object.entries(events).map(([eventKey, event]): JsonObject => ({ ...event, eventKey }));
  const answer = await scene.worker.call<{ eventIds: readonly string[] }>(held, 'events', { events: withKeys });
  return accepted(answer).eventIds;
}

export const eventKeys: Check = async (scene) => {
  await demandFeature(scene, 'eventKeys');
  const task = await scene.begin();
  demandSame('new keys', await appendKeyed(scene, task.lease, { a: output('1'), b: output('2') }), ['2', '3']);
  const again = await appendKeyed(scene, task.lease, { b: message('other'), c: message('3') });
  demandSame('a known key and a new one', again, ['3', '4']);
  demandSame('a numbered batch beside them', await task.append(message('4')), ['5']);
  await task.release();
  await task.resume();
  demandSame('a key in the next attempt', await appendKeyed(scene, task.lease, { c: message('5') }), ['7']);
};

export const voidKeys: Check = async (scene) => {
  await demandFeature(scene, 'eventKeys');
  const task = await scene.begin();
  const said = { told: message('told'), draft: output('draft') };
  await appendKeyed(scene, task.lease, said);
  await task.suspend(question('q'));
  await scene.a.act(task.taskId, { clientActionId: scene.newId(), suspendId: 'q', actionType: 'yes' });
  await task.resume();
  const resumedAt = (await scene.events(task.taskId)).length;
  const ids = await appendKeyed(scene, task.lease, said);
  demandSame('the ids after the answer', ids, ['2', String(resumedAt + 1)]);
  demandSame('the same again', await appendKeyed(scene, task.lease, said), ids);
};

export const manyHeartbeats: Check = async (scene) => {
  await demandFeature(scene, 'heartbeats');
  const [a, b] = [await scene.begin(), await scene.begin()];
  const held = [a.lease, b.lease, { ...a.lease, leaseToken: 'a-lease-that-is-over' }];
  const { leases } = accepted(await scene.worker.heartbeats(held));
  const seen = leases.map(({ taskId, leaseExpiresAt, cancellationRequested, code }) => [
    taskId,
    leaseExpiresAt !== undefined,
    cancellationRequested ?? null,
    code ?? null,
  ]);
  demandSame('the answers', seen, [
    [a.taskId, true, false, null],
    [b.taskId, true, false, null],
    [a.taskId, false, null, 'LEASE_LOST'],
  ]);
};

export const leaseSeconds: Check = async (scene) => {
  await demandFeature(scene, 'leaseSeconds');
  const { taskType } = await scene.waiting();
  const asked = performance.now();
  const answer = await scene.worker.claim([taskType], { waitTimeoutMs: scene.claimMs, leaseSeconds: 5 });
  const [lease] = accepted(answer).leases;
  if (lease === undefined) throw new NotChecked('the task was not handed out');
  const task = scene.driven(lease);
  const beat = accepted(await task.worker.call<{ leaseExpiresAt: string }>(lease, 'heartbeat'));
  const renewedMs = Date.parse(beat.leaseExpiresAt) - Date.parse(lease.leaseExpiresAt);
  const passedMs = performance.now() - asked;
  demand(
    renewedMs >= 0 && renewedMs <= passedMs + 1_000,
    `after ${Math.round(passedMs)} ms a heartbeat extended a lease of 5 s by ${renewedMs} ms`,
  );
};

export const signals: Check = async (scene) => {
  await demandFeature(scene, 'signals');
  const { taskId, taskType } = await scene.waiting();
  // Another worker would get the signals of other clauses.
  const workerId = scene.newId();
  const claim = await scene.worker.claim([taskType], { waitTimeoutMs: scene.claimMs, workerId });
  const [lease] = accepted(claim).leases;
  if (lease === undefined) throw new NotChecked('the task was not handed out');
  const task = scene.driven(lease);
  const signalsOf = async (waitTimeoutMs: number, known: readonly string[] = []) =>
    accepted(await scene.worker.signals(workerId, waitTimeoutMs, known)).signals;
  demandSame('the signals before', await signalsOf(0), []);
  const waiting = signalsOf(scene.claimMs);
  await scene.a.cancel(taskId, { reason: 'enough' });
  demandSame('the signals that came', await waiting, [{ type: 'cancel', taskId, attempt: 1, cancelReason: 'enough' }]);
  demandSame('those of a known task', await signalsOf(0, [taskId]), []);
  await task.cancelled();
  demandSame('those of a task that is over', await signalsOf(0), []);
};
