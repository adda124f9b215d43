import type { TaskEvent } from '@taskbridge/client';

/** A stretch of time of the task. Without `to` it goes on. */
export interface Band {
  readonly kind: 'attempt' | 'step' | 'question';
  readonly name: string;
  readonly from: number;
  to?: number;
  /** What it came to. */
  outcome?: 'done' | 'lost';
}

/** Some output of a channel. */
export interface Piece {
  readonly eventId: number;
  readonly data: string;
  readonly isVoid: boolean;
}

export interface Story {
  readonly bands: readonly Band[];
  readonly channels: ReadonlyMap<string, readonly Piece[]>;
}

interface Growing extends Story {
  readonly bands: Band[];
  readonly channels: Map<string, Piece[]>;
  attempt: number;
  /** Where the present step began. */
  stepFrom: number;
}

/** Made event by event: a log that has only grown goes on where it was. */
export class StoryFold {
  #seen: readonly TaskEvent[] = [];
  #story = empty();

  of(events: readonly TaskEvent[]): Story {
    const last = this.#seen.at(-1);
    const at = last ? events.length - 1 - (Number(events.at(-1)?.eventId ?? 0) - Number(last.eventId)) : -1;
    const hasGrown =
      last !== undefined && events[at]?.eventId === last.eventId && events[0]?.eventId === this.#seen[0]?.eventId;
    if (!hasGrown) this.#story = empty();
    for (const event of hasGrown ? events.slice(at + 1) : events) add(this.#story, event);
    this.#seen = events;
    return { bands: [...this.#story.bands], channels: new Map(this.#story.channels) };
  }
}

const empty = (): Growing => ({ bands: [], channels: new Map(), attempt: 0, stepFrom: 0 });

function add(story: Growing, event: TaskEvent): void {
  const at = Date.parse(event.createdAt);
  // The log may begin in the middle of an attempt.
  if (!story.bands.some(({ kind, to }) => kind === 'attempt' && to === undefined) && !isEnd(event.type)) {
    if (event.type !== 'TASK_RETRYING') begin(story, at, event);
  }
  switch (event.type) {
    case 'TASK_OUTPUT': {
      const { channel, op, data } = event.payload;
      const before = story.channels.get(channel) ?? [];
      const kept = op === 'replace' ? before.map((piece) => ({ ...piece, isVoid: true })) : before;
      kept.push({ eventId: Number(event.eventId), data, isVoid: false });
      story.channels.set(channel, kept);
      return;
    }
    case 'TASK_STEP': {
      if (event.payload.state === 'retrying') return voidAfter(story, event.payload.supersedesAfterEventId);
      story.bands.push({ kind: 'step', name: event.payload.key, from: story.stepFrom, to: at, outcome: 'done' });
      story.stepFrom = at;
      return;
    }
    case 'TASK_SUSPENDED':
      story.bands.push({ kind: 'question', name: event.payload.reasonCode, from: at });
      return;
    case 'TASK_ACTION_ACCEPTED':
      return close(story, 'question', at, 'done');
    case 'TASK_RESUMED':
      story.stepFrom = at;
      return voidAfter(story, event.payload.supersedesAfterEventId);
    case 'TASK_RETRYING':
      close(story, 'attempt', at, 'lost');
      close(story, 'question', at, 'lost');
      story.attempt = event.payload.attempt - 1;
      return voidAfter(story, event.payload.supersedesAfterEventId);
    case 'TASK_COMPLETED':
    case 'TASK_FAILED':
    case 'TASK_CANCELLED':
      close(story, 'question', at, 'lost');
      return close(story, 'attempt', at, event.type === 'TASK_COMPLETED' ? 'done' : 'lost');
    default:
      return;
  }
}

function begin(story: Growing, at: number, { payload }: TaskEvent): void {
  const { attempt } = payload as { readonly attempt?: number };
  story.attempt = attempt ?? story.attempt + 1;
  story.stepFrom = at;
  story.bands.push({ kind: 'attempt', name: `attempt ${story.attempt}`, from: at });
}

function close(story: Growing, kind: Band['kind'], to: number, outcome: 'done' | 'lost'): void {
  const at = story.bands.findLastIndex((one) => one.kind === kind && one.to === undefined);
  const band = story.bands[at];
  if (band) story.bands[at] = { ...band, to, outcome };
}

function voidAfter(story: Growing, eventId: string | undefined): void {
  if (eventId === undefined) return;
  for (const [channel, pieces] of story.channels) {
    const isVoid = (piece: Piece) => piece.isVoid || piece.eventId > Number(eventId);
    story.channels.set(
      channel,
      pieces.map((piece) => (isVoid(piece) === piece.isVoid ? piece : { ...piece, isVoid: true })),
    );
  }
}

const isEnd = (type: string) => /^TASK_(COMPLETED|FAILED|CANCELLED)$/.test(type);
