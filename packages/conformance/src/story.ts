import type { Follower, End } from './follower.js';
import { message, output, progress, type DrivenTask } from './driven-task.js';
import type { Scene } from './scene.js';
import { ALL_TRANSPORTS, type Transport } from './transports.js';
import type { WorkerEvent } from './wire.js';

/** What one connection brought. */
export interface Part {
  readonly transport: Transport;
  /** `live`: open from the first event to the last; `resumed`: dropped and opened again; `replayed`: opened after the end. */
  readonly kind: 'live' | 'resumed' | 'replayed';
  readonly cursor: number;
  /** The id of the last event that it has to bring. */
  readonly until: number;
  readonly follower: Follower;
  /** Undefined where it did not end, or was closed by the kit. */
  readonly end: End | undefined;
}

/** One task as all transports told it, from several cursors, live and afterwards. */
export interface Story {
  readonly taskId: string;
  readonly last: number;
  /** The ids that the worker was given when it appended, in order. */
  readonly acknowledged: readonly string[];
  readonly log: readonly string[];
  readonly parts: readonly Part[];
}

/** Texts that are often changed on their way. */
const EVENTS: readonly WorkerEvent[] = [
  progress(0.1, { stage: 'één' }),
  message('"quoted" \\ / \b\f\n\r\t \u007f'),
  output('😀 \u2028 \u2029'),
  progress(33.333333333333336),
  message('</script><!-- é e\u0301 -->', { level: 'warning' }),
  output('two\nlines', 'replace', 'other'),
  progress(1e-7),
  message(''),
  output(' '.repeat(3)),
];
/** Events that come while droppers are connected, and while they are away. */
const CONNECTED = 2;
const AWAY = 1;
const HEARTBEAT_MS = 1_000;

interface Live {
  readonly transport: Transport;
  readonly follower: Follower;
}

export async function followedByAll(scene: Scene): Promise<Story> {
  const { taskId, taskType } = await scene.waiting();
  const live = ALL_TRANSPORTS.map((transport) => ({ transport, follower: scene.follow(transport, taskId) }));
  const task = await scene.claimed(taskId, taskType);
  // Waiting for what a broken service does not bring may take longer than a lease.
  const alive = setInterval(() => void task.heartbeat(), HEARTBEAT_MS);
  try {
    return await told(scene, task, live);
  } finally {
    clearInterval(alive);
  }
}

async function told(scene: Scene, task: DrivenTask, live: readonly Live[]): Promise<Story> {
  const { taskId } = task;
  const acknowledged = ['1'];
  const parts: Part[] = [];
  const rest = [...EVENTS];
  const append = async (count: number) => {
    for (const event of rest.splice(0, count)) acknowledged.push(...(await task.append(event)));
  };
  const cursors = new Map<Transport, number>(ALL_TRANSPORTS.map((transport) => [transport, 0]));
  while (rest.length > 0) {
    const open = droppersFrom(scene, taskId, cursors);
    await Promise.all(open.map(({ follower }) => follower.comes(() => follower.has(String(acknowledged.length)))));
    await append(CONNECTED);
    const until = acknowledged.length;
    await Promise.all(open.map(({ follower }) => follower.comes(() => follower.has(String(until)))));
    for (const { transport, cursor, follower } of open) {
      follower.close();
      parts.push({ transport, kind: 'resumed', cursor, until, follower, end: undefined });
      cursors.set(transport, until);
    }
    await append(AWAY);
  }
  const last = await ended(scene, task, taskId, cursors, { live, parts, acknowledged });
  const log = await scene.log(taskId);
  parts.push(...(await replays(scene, taskId, last)));
  return { taskId, last, acknowledged, log, parts };
}

function droppersFrom(scene: Scene, taskId: string, cursors: ReadonlyMap<Transport, number>) {
  return [...cursors].map(([transport, cursor]) => {
    const follower = scene.follow(transport, taskId, cursor === 0 ? undefined : String(cursor));
    return { transport, cursor, follower };
  });
}

/** The last event, which the live followers and the droppers wait for. Answers its number. */
async function ended(
  scene: Scene,
  task: DrivenTask,
  taskId: string,
  cursors: ReadonlyMap<Transport, number>,
  soFar: {
    readonly live: readonly Live[];
    readonly parts: Part[];
    readonly acknowledged: string[];
  },
): Promise<number> {
  const { live, parts, acknowledged } = soFar;
  const droppers = droppersFrom(scene, taskId, cursors);
  await Promise.all(droppers.map(({ follower }) => follower.comes(() => follower.events.length > 0)));
  acknowledged.push(await task.complete({ text: 'é \u2028', numbers: [0.1, 1e21, -0.5] }));
  const until = acknowledged.length;
  const whole: Omit<Part, 'end'>[] = [
    ...live.map((one) => ({ ...one, kind: 'live' as const, cursor: 0, until })),
    ...droppers.map((one) => ({ ...one, kind: 'resumed' as const, until })),
  ];
  parts.push(...(await Promise.all(whole.map(withEnd))));
  return until;
}

/** Reads the log after the end: from the start, from near it, from the middle and from just before the end. */
async function replays(scene: Scene, taskId: string, last: number): Promise<readonly Part[]> {
  const opened = ALL_TRANSPORTS.flatMap((transport) =>
    [0, 1, Math.floor(last / 2), last - 1].map((cursor) => ({
      transport,
      kind: 'replayed' as const,
      cursor,
      until: last,
      follower: scene.follow(transport, taskId, cursor === 0 ? undefined : String(cursor)),
    })),
  );
  return Promise.all(opened.map(withEnd));
}

async function withEnd(part: Omit<Part, 'end'>): Promise<Part> {
  const { follower } = part;
  await follower.comes(() => follower.end !== undefined);
  const { end } = follower;
  follower.close();
  return { ...part, end };
}
