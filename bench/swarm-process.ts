import { setTimeout as delay } from 'node:timers/promises';
import { answerCalls } from './child.js';
import { openSource, type Source, type SourceKind } from './sources.js';
import { Subscriber, type Target } from './subscriber.js';

// The load generator: subscribers, and the orders for their events. A task gets its next events when all of its subscribers have
// the last, so that neither side can run ahead of the other, and every hole is a hole.

/** Silence for this time means that an event was lost. */
const STALLED_MS = 10_000;
const OPENING_AT_A_TIME = 100;
/** Shorter than the time after which a server drops a client without pongs. */
const PONG_EVERY_MS = 8_000;
/** Connections from one address, which has 28 000 ports. */
const FROM_ONE_ADDRESS = 20_000;

interface Task {
  readonly index: number;
  readonly taskId: string;
  readonly subscribers: Subscriber[];
  /** The id of the last event there is. */
  last: number;
  /** The subscribers that do not have it yet. */
  pending: number;
}

export interface Gathering {
  readonly url: string;
  readonly transport: Target['transport'];
  readonly taskIds: readonly string[];
  readonly subscribers: number;
  /** The last event of each task, before anything is measured, */
  readonly head?: number;
  /** and the cursor of the subscribers. */
  readonly lastEventId?: number;
  readonly source?: SourceKind;
}

export interface Drive {
  readonly seconds: number;
  readonly burst?: number;
  /** Tasks that get events at one time, in turn. Defaults to all. */
  readonly tasksAtATime?: number;
}

let tasks: Task[] = [];
let source: Source;
let broken: string | undefined;
let deliveries = 0;
let caughtUp: (task: Task) => void = () => undefined;
let opened = 0;

function received(task: Task, subscriber: Subscriber): void {
  deliveries += 1;
  if (subscriber.last === task.last && --task.pending === 0) caughtUp(task);
}

/** Resolves when all are connected and have all stored events. Returns the seconds that it took. */
async function gather(gathering: Gathering): Promise<number> {
  const { url, transport, taskIds, subscribers, head = 0, lastEventId = 0 } = gathering;
  if (gathering.source) source = await openSource(gathering.source);
  const startedAt = performance.now();
  tasks = taskIds.map((taskId, index) => ({ index, taskId, subscribers: [], last: head, pending: 0 }));
  const places = Array.from({ length: subscribers }, (_, n) => tasks[n % tasks.length] as Task);
  for (const task of places) task.pending += lastEventId < head ? 1 : 0;
  const behind = Promise.withResolvers<void>();
  let tasksBehind = tasks.filter(({ pending }) => pending > 0).length;
  if (tasksBehind === 0) behind.resolve();
  caughtUp = () => --tasksBehind === 0 && behind.resolve();
  const open = async () => {
    for (let task = places.shift(); task; task = places.shift()) {
      const owner = task;
      const address = Math.floor(opened++ / FROM_ONE_ADDRESS);
      // A named address is only for many sockets: the kernel searches long for one of its ports.
      const from = address > 0 && { from: `127.0.0.${1 + address}` };
      const target = { url, transport, taskId: task.taskId, lastEventId, ...from };
      const subscriber = new Subscriber(
        target,
        (one) => received(owner, one),
        (why) => (broken ??= why),
      );
      task.subscribers.push(subscriber);
      await subscriber.confirmed;
    }
  };
  const pongs = () => tasks.forEach((task) => task.subscribers.forEach((subscriber) => subscriber.pong()));
  if (transport === 'websocket') setInterval(pongs, PONG_EVERY_MS);
  await Promise.all(Array.from({ length: OPENING_AT_A_TIME }, open));
  await unlessStalled(behind.promise);
  return (performance.now() - startedAt) / 1000;
}

/** Orders events for `seconds`, at least once, and waits until all have arrived. */
async function drive({ seconds, burst = 1, tasksAtATime = tasks.length }: Drive) {
  const startedAt = performance.now();
  const before = deliveries;
  const idle = tasks.filter(({ subscribers }) => subscribers.length > 0);
  let busy = 0;
  let isScheduled = false;
  const { promise, resolve } = Promise.withResolvers<void>();
  const publish = () => {
    isScheduled = false;
    const isOver = deliveries > before && performance.now() - startedAt > seconds * 1000;
    const chosen = isOver ? [] : idle.splice(0, tasksAtATime - busy);
    busy += chosen.length;
    if (busy === 0) return resolve();
    if (chosen.length === 0) return;
    const from = chosen.map(({ index, taskId, last }) => ({ index, taskId, last }));
    for (const task of chosen) {
      task.last += burst;
      task.pending = task.subscribers.length;
    }
    source.publish(from, burst);
  };
  caughtUp = (task) => {
    idle.push(task);
    busy -= 1;
    if (!isScheduled) setImmediate(publish);
    isScheduled = true;
  };
  publish();
  await unlessStalled(promise);
  return { deliveries: deliveries - before, seconds: (performance.now() - startedAt) / 1000 };
}

/** Orders `rounds` events of the first task, each after the arrival of the last. Returns their arrivals in ms of the machine's clock. */
async function oneByOne(rounds: number): Promise<number[]> {
  const [task] = tasks as [Task];
  const arrivals: number[] = [];
  for (let n = 0; n < rounds; n += 1) {
    const { promise, resolve } = Promise.withResolvers<void>();
    caughtUp = () => {
      arrivals.push(Number(process.hrtime.bigint()) / 1e6);
      resolve();
    };
    source.publish([{ ...task }], 1);
    task.last += 1;
    task.pending = task.subscribers.length;
    await unlessStalled(promise);
  }
  return arrivals;
}

function leave(): void {
  for (const { subscribers } of tasks) for (const subscriber of subscribers) subscriber.close();
  tasks = [];
}

/** @throws the reason that makes the run void */
async function unlessStalled(done: Promise<unknown>): Promise<void> {
  let isDone = false;
  void done.then(() => (isDone = true));
  for (let seen = -1, since = performance.now(); !isDone; ) {
    await Promise.race([done, delay(200, undefined, { ref: false })]);
    if (broken) throw new Error(broken);
    if (deliveries !== seen) [seen, since] = [deliveries, performance.now()];
    else if (performance.now() - since > STALLED_MS) throw new Error(`nothing came for ${STALLED_MS} ms`);
  }
  if (broken) throw new Error(broken);
}

answerCalls({ gather, drive, oneByOne, leave });
