import fc from 'fast-check';
import type { Said } from './texts.js';

/** A log that a task could have, and after each event the boundary that holds then. */
export interface SaidLog {
  readonly events: readonly Said[];
  /** By number of events: the boundary of a log of that length. */
  readonly boundaries: readonly number[];
}

type Move =
  | { readonly kind: 'put'; readonly channel: string; readonly op: 'append' | 'replace'; readonly data: string }
  | { readonly kind: 'progress' | 'message' | 'finish' | 'ask' | 'lose' }
  /** `back`: how many events the new try voids, as far as the boundary allows. */
  | { readonly kind: 'retry'; readonly back: number };

const MOVE: fc.Arbitrary<Move> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant('put' as const),
      channel: fc.constantFrom('text', 'log', '__proto__'),
      op: fc.constantFrom('append' as const, 'append' as const, 'append' as const, 'replace' as const),
      data: fc.string({ unit: 'grapheme', maxLength: 6 }),
    }),
  },
  { weight: 4, arbitrary: fc.record({ kind: fc.constantFrom('progress', 'message', 'finish', 'ask', 'lose') }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('retry' as const), back: fc.nat(6) }) },
);

export const saidLog = (maxLength: number): fc.Arbitrary<SaidLog> => fc.array(MOVE, { maxLength }).map(logOf);

/** By the rules of PROTOCOL.md: steps, attempts and questions move the boundary and void what lies behind it. */
function logOf(moves: readonly Move[]): SaidLog {
  const events: Said[] = [];
  const boundaries: number[] = [0];
  let boundary = 0;
  let hasSteps = false;
  const say = (type: string, payload: Said['payload'] = {}) => {
    events.push({ type, payload });
    boundaries.push(boundary);
  };
  const move = (to: number) => {
    boundary = to;
    boundaries[events.length] = to;
  };
  say('TASK_STARTED');
  move(1);
  for (const one of moves) {
    if (one.kind === 'put') say('TASK_OUTPUT', { channel: one.channel, op: one.op, data: one.data, attempt: 1 });
    else if (one.kind === 'progress') say('TASK_PROGRESS', { progress: 1 });
    else if (one.kind === 'message') say('TASK_MESSAGE', { message: 'hello' });
    else if (one.kind === 'finish') {
      say('TASK_STEP', { key: `s${events.length}`, state: 'completed', attempt: 1 });
      hasSteps = true;
      move(events.length);
    } else if (one.kind === 'retry') {
      const since = Math.max(boundary, events.length - one.back);
      say('TASK_STEP', { key: 'again', state: 'retrying', attempt: 1, supersedesAfterEventId: String(since) });
    } else if (one.kind === 'ask') {
      const isPutOutAgain = events.slice(boundary).some(({ type }) => /OUTPUT|PROGRESS/.test(type));
      say('TASK_SUSPENDED', { suspendId: '1' });
      say('TASK_ACTION_ACCEPTED', { suspendId: '1' });
      if (isPutOutAgain) say('TASK_RESUMED', { supersedesAfterEventId: String(boundary) });
    } else {
      say('TASK_RETRYING', { attempt: 2, reason: 'BROKEN', supersedesAfterEventId: String(boundary) });
      // The next attempt begins.
      if (!hasSteps) move(events.length);
    }
  }
  return { events, boundaries };
}
