import { CLOSE_CODES } from '../../../protocol/src/close-codes.js';
import { endsTask } from '../../../protocol/src/events.js';
import type { Check } from '../clause.js';
import { demand, demandSame, shortened } from '../demands.js';
import { message, output } from '../driven-task.js';
import type { Scene } from '../scene.js';
import { followedByAll, type Part, type Story } from '../story.js';
import type { Transport } from '../transports.js';
import type { Envelope } from '../wire.js';

const story = (scene: Scene): Promise<Story> => scene.once('a task followed by all', followedByAll);

const named = ({ transport, kind, cursor, follower }: Part) =>
  `${transport}, ${kind} after ${cursor}: ${follower.describe()}`;

const numbers = (from: number, to: number) => Array.from({ length: Math.max(to - from, 0) }, (_, n) => from + n + 1);

/** Live and afterwards: no event that follows the cursor is missing, and none comes before an earlier one. */
export const everyEvent =
  (transport: Transport): Check =>
  async (scene) => {
    for (const part of (await story(scene)).parts.filter((one) => one.transport === transport)) {
      const ids = part.follower.ids.map(Number);
      const missing = numbers(part.cursor, part.until).filter((id) => !ids.includes(id));
      demand(missing.length === 0, `${missing.join(', ')} did not come; ${named(part)}`);
      const first = ids.filter((id, at) => ids.indexOf(id) === at);
      demand(
        first.every((id, at) => at === 0 || id > (first[at - 1] ?? 0)),
        `not in order; ${named(part)}`,
      );
    }
  };

export const eachOnce =
  (transport: Transport): Check =>
  async (scene) => {
    for (const part of (await story(scene)).parts.filter((one) => one.transport === transport)) {
      const { ids } = part.follower;
      const repeated = ids.filter((id, at) => ids.indexOf(id) !== at);
      demand(repeated.length === 0, `${repeated.join(', ')} came again; ${named(part)}`);
    }
  };

/** Nothing at or before the cursor comes again, on each of several connections. */
export const fromTheCursor =
  (transport: Transport): Check =>
  async (scene) => {
    const parts = (await story(scene)).parts.filter((one) => one.transport === transport && one.kind !== 'live');
    for (const part of parts) {
      const before = part.follower.ids.filter((id) => Number(id) <= part.cursor);
      demand(before.length === 0, `${before.join(', ')} came, which the cursor has; ${named(part)}`);
    }
  };

/** After the terminal event the stream ends by itself, and says that the task is over. */
export const endsAfterTheLast =
  (transport: Transport): Check =>
  async (scene) => {
    const { parts, last } = await story(scene);
    const over = parts.filter((one) => one.transport === transport && one.until === last);
    for (const part of over) {
      demand(part.end !== undefined, `it did not end; ${named(part)}`);
      const { how, code } = part.end;
      demand(
        how === 'ended' || (how === 'closed' && code === CLOSE_CODES.over.code),
        `it ended otherwise; ${named(part)}`,
      );
    }
  };

export const idsAreDense: Check = async (scene) => {
  const { acknowledged, log, last } = await story(scene);
  const demanded = numbers(0, last).map(String);
  demandSame('the ids that the worker was given', acknowledged, demanded);
  demandSame(
    'the ids of the log',
    log.map((raw) => (JSON.parse(raw) as Envelope).eventId),
    demanded,
  );
};

/** The content stays also when an attempt is lost, and its output is void. */
export const contentStays: Check = async (scene) => {
  const task = await scene.begin();
  await task.append(output('void'), message('void'));
  const before = await scene.log(task.taskId);
  await task.retry();
  await task.resume();
  await task.append(output('again'));
  const after = await scene.log(task.taskId);
  demandSame('the events of the first attempt, after the second', after.slice(0, before.length), before);
  demandSame('how many events there are', after.length, before.length + 2);
};

export const sameBytes: Check = async (scene) => {
  const { parts } = await story(scene);
  const first = new Map<string, { raw: string; part: Part }>();
  for (const part of parts) {
    for (const { eventId, raw } of part.follower.events) {
      const earlier = first.get(eventId);
      if (earlier === undefined) first.set(eventId, { raw, part });
      else if (earlier.raw !== raw) {
        const [one, other] = [earlier.part, part].map(({ transport, kind }) => `${transport}, ${kind}`);
        demand(false, `event ${eventId} by ${one}: ${shortened(earlier.raw)}, by ${other}: ${shortened(raw)}`);
      }
    }
  }
};

/** As soon as an event is delivered, it is in the log. */
export const onlyWhatIsStored: Check = async (scene) => {
  const { taskId, taskType } = await scene.waiting();
  const followers = (['sse', 'websocket'] as const).map((transport) => scene.follow(transport, taskId));
  const looked = followers.map(async (follower) => {
    for (let seen = 0; !follower.events.slice(0, seen).some(({ type }) => endsTask(type)); ) {
      await follower.until(() => follower.events.length > seen, 'the next event');
      seen = follower.events.length;
      const delivered = Math.max(...follower.ids.map(Number));
      const head = Number((await scene.a.snapshot(taskId)).body.headEventId);
      demand(head >= delivered, `event ${delivered} was delivered, and headEventId was ${head} after that`);
    }
  });
  const task = await scene.claimed(taskId, taskType);
  const driven = (async () => {
    await task.append({ type: 'TASK_PROGRESS', payload: { progress: 1 } });
    await task.append({ type: 'TASK_PROGRESS', payload: { progress: 2 } });
    await task.complete();
  })();
  await Promise.all([...looked, driven]);
};

/** Each of the three ends: one terminal event, nothing behind it, and nothing that can be added. */
export const oneTerminalEvent: Check = async (scene) => {
  const ends = [
    async () => {
      const task = await scene.begin();
      await task.complete();
      return task;
    },
    async () => {
      const task = await scene.begin();
      await task.failFinally();
      return task;
    },
    async () => {
      const task = await scene.begin();
      await scene.a.cancel(task.taskId);
      await task.cancelled();
      return task;
    },
  ];
  await Promise.all(
    ends.map(async (end) => {
      const task = await end();
      await scene.quiet();
      const types = (await scene.events(task.taskId)).map(({ type }) => type);
      const terminal = types.filter((type) => endsTask(type));
      demand(terminal.length === 1 && endsTask(types.at(-1) ?? ''), `the log is ${types.join(' ')}`);
    }),
  );
};

/** The snapshot and the log change at one time, in either order of reads. The check reads while several tasks end. */
export const endIsOneStep: Check = async (scene) => {
  await Promise.all(
    Array.from({ length: 3 }, async () => {
      const task = await scene.begin();
      const watched = untilBothAreOver(scene, task.taskId);
      await scene.quiet(50);
      await Promise.all([watched, task.complete()]);
    }),
  );
};

async function untilBothAreOver(scene: Scene, taskId: string): Promise<void> {
  const deadline = performance.now() + 2 * scene.patienceMs;
  while (performance.now() < deadline) {
    const snapshot = (await scene.a.snapshot(taskId)).body;
    const last = (await scene.events(taskId)).at(-1);
    const hasEvent = endsTask(last?.type ?? '');
    if (snapshot.status === 'COMPLETED') {
      demand(hasEvent, `the status was COMPLETED, and after that the last event was ${last?.type}`);
      return demandSame('headEventId of the snapshot', snapshot.headEventId, last?.eventId);
    }
    if (hasEvent) {
      const { status } = (await scene.a.snapshot(taskId)).body;
      return demand(status === 'COMPLETED', `TASK_COMPLETED was in the log, and after that the status was ${status}`);
    }
  }
  demand(false, 'the task was not over after its worker had completed it');
}
