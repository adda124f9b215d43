import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { endsTask } from '#protocol/events.js';
import type { TaskStatus } from '#protocol/snapshots.js';
import { BACKOFF, type Command, type Decision, decide, type Rules } from '../../src/tasks/domain/decide.js';
import { appendedEvent, messageEvent } from '../../src/tasks/domain/event-payloads.js';
import { evolve } from '../../src/tasks/domain/evolve.js';
import { isOver, NEW_TASK, type Task } from '../../src/tasks/domain/task.js';
import type { AcceptedAction, Question } from '../../src/tasks/domain/suspension.js';
import { newEvent, type NewEvent } from '../../src/tasks/domain/task-event.js';
import { BatchOutOfOrder, EventInvalid, LeaseLost } from '../../src/tasks/domain/tasks.errors.js';
import { TaskBridgeError } from '../../src/errors.js';
import { outputEvent, progressEvent } from '../support/events.js';

const NOW = Date.UTC(2026, 10, 21);

const rules = (overrides: Partial<Rules> = {}): Rules => ({
  maxAttempts: 3,
  backoff: BACKOFF,
  maxEventsPerTask: 100,
  jitter: 0.5,
  now: NOW,
  ...overrides,
});

/** How long a decision keeps its task out of claims, in milliseconds. */
const pauseMs = ({ notBefore }: Decision) => (notBefore === null ? 0 : Date.parse(notBefore) - NOW);

const HELD = 'held-token';

/** Each state that a task can be in, built by the decisions that lead there. */
const STATES = {
  waiting: NEW_TASK,
  leased: after(NEW_TASK, { kind: 'claim', token: HELD }),
  expired: expired(after(NEW_TASK, { kind: 'claim', token: HELD })),
  stepped: after(NEW_TASK, { kind: 'claim', token: HELD }, finishStep(1)),
  cancelling: after(NEW_TASK, { kind: 'claim', token: HELD }, { kind: 'request_cancellation', reason: 'enough' }),
  retrying: after(NEW_TASK, { kind: 'claim', token: HELD }, { kind: 'lose_lease' }),
  suspended: after(NEW_TASK, { kind: 'claim', token: HELD }, suspend()),
  unanswered: expired(after(NEW_TASK, { kind: 'claim', token: HELD }, suspend())),
  answered: after(NEW_TASK, { kind: 'claim', token: HELD }, suspend(), answer()),
  completed: after(NEW_TASK, { kind: 'claim', token: HELD }, { kind: 'complete', token: HELD, result: 1 }),
  failed: after(NEW_TASK, { kind: 'claim', token: HELD }, fail({ retryable: false })),
  cancelled: after(NEW_TASK, { kind: 'request_cancellation', reason: 'enough' }),
} as const satisfies Record<string, Task>;

const retryOf = (since: number) =>
  appendedEvent('TASK_STEP', { key: 'load', state: 'retrying', supersedesAfterEventId: String(since) }, 1);

function fail(overrides: Partial<Extract<Command, { kind: 'fail' }>> = {}): Command {
  return { kind: 'fail', token: HELD, code: 'BROKEN', message: 'It broke.', retryable: true, ...overrides };
}

function finishStep(batchSeq: number, isStored = false): Command {
  return { kind: 'finish_step', token: HELD, batchSeq, key: 'load', isStored };
}

function suspend(overrides: Partial<Question> = {}): Command {
  const question: Question = {
    suspendId: 'q1',
    kind: 'USER_ACTION_REQUIRED',
    reasonCode: 'APPROVAL',
    allowedActions: ['approve'],
    schemaVersion: 1,
    ...overrides,
  };
  return { kind: 'suspend', token: HELD, question };
}

function answer(overrides: Partial<AcceptedAction> = {}): Command {
  const action = {
    suspendId: 'q1',
    clientActionId: 'a1',
    actionType: 'approve',
    acceptedAt: '2026-01-01T00:00:00.000Z',
    ...overrides,
  };
  return { kind: 'accept_action', action, isPutOutAgain: false };
}

const COMMANDS = {
  claim: { kind: 'claim', token: 'next-token' },
  append: { kind: 'append', token: HELD, batchSeq: 1, events: [progressEvent(50)] },
  finish_step: { kind: 'finish_step', token: HELD, batchSeq: 2, key: 'draft', isStored: false },
  finish_stored_step: { kind: 'finish_step', token: HELD, batchSeq: 2, key: 'load', isStored: true },
  keep_steps: { kind: 'keep_steps', keys: ['load', 'draft'] },
  complete: { kind: 'complete', token: HELD, result: { answer: 42 } },
  fail_for_good: fail({ retryable: false }),
  fail_for_now: fail(),
  confirm_cancellation: { kind: 'confirm_cancellation', token: HELD },
  release: { kind: 'release', token: HELD },
  suspend: suspend(),
  expire_suspension: { kind: 'expire_suspension' },
  lose_lease: { kind: 'lose_lease' },
  time_out: { kind: 'time_out' },
  expire: { kind: 'expire' },
  request_cancellation: { kind: 'request_cancellation', reason: 'enough' },
  force_cancellation: { kind: 'force_cancellation' },
} as const satisfies Record<string, Command>;

function after(task: Task, ...commands: readonly Command[]): Task {
  return commands.reduce((before, command) => decide(before, command, rules()).task, task);
}

/** The clock has passed what the task waits for: the end of its lease, or of its question. */
function expired(task: Task): Task {
  const { run } = task;
  return run.state === 'leased' || run.state === 'suspended' ? { ...task, run: { ...run, expired: true } } : task;
}

/** The events by type, `nothing`, `noted` when the task changes without an event, or the code of the error. */
function outcomeOf(task: Task, command: Command): string {
  try {
    const decision = decide(task, command, rules());
    if (decision.events.length > 0) return decision.events.map(({ type }) => type).join(' ');
    return decision.task === task ? 'nothing' : 'noted';
  } catch (error) {
    if (error instanceof TaskBridgeError) return error.code;
    throw error;
  }
}

describe('decide', () => {
  type Row = Record<keyof typeof STATES, string>;
  const everywhere = (outcome: string): Row =>
    Object.fromEntries(Object.keys(STATES).map((state) => [state, outcome])) as Row;
  const NOTHING = everywhere('nothing');
  const REFUSED = everywhere('LEASE_LOST');
  const OUT_OF_ORDER = 'BATCH_OUT_OF_ORDER';
  const TABLE: Record<keyof typeof COMMANDS, Row> = {
    claim: { ...NOTHING, waiting: 'TASK_STARTED', retrying: 'noted', answered: 'noted' },
    append: { ...REFUSED, leased: 'TASK_PROGRESS', stepped: 'nothing', cancelling: 'TASK_PROGRESS' },
    finish_step: { ...REFUSED, leased: OUT_OF_ORDER, stepped: 'TASK_STEP', cancelling: OUT_OF_ORDER },
    finish_stored_step: { ...REFUSED, leased: OUT_OF_ORDER, stepped: 'noted', cancelling: OUT_OF_ORDER },
    keep_steps: { ...NOTHING, waiting: 'TASK_STARTED TASK_STEP TASK_STEP' },
    complete: { ...REFUSED, leased: 'TASK_COMPLETED', stepped: 'TASK_COMPLETED', cancelling: 'TASK_COMPLETED' },
    fail_for_good: { ...REFUSED, leased: 'TASK_FAILED', stepped: 'TASK_FAILED', cancelling: 'TASK_FAILED' },
    fail_for_now: { ...REFUSED, leased: 'TASK_RETRYING', stepped: 'TASK_RETRYING', cancelling: 'TASK_CANCELLED' },
    confirm_cancellation: {
      ...REFUSED,
      leased: 'TASK_CANCELLED',
      stepped: 'TASK_CANCELLED',
      cancelling: 'TASK_CANCELLED',
    },
    release: { ...REFUSED, leased: 'TASK_RETRYING', stepped: 'TASK_RETRYING', cancelling: 'TASK_CANCELLED' },
    suspend: { ...REFUSED, leased: 'TASK_SUSPENDED', stepped: 'TASK_SUSPENDED', cancelling: 'TASK_CANCELLED' },
    expire_suspension: { ...NOTHING, unanswered: 'TASK_FAILED' },
    lose_lease: {
      ...NOTHING,
      leased: 'TASK_RETRYING',
      stepped: 'TASK_RETRYING',
      expired: 'TASK_RETRYING',
      cancelling: 'TASK_CANCELLED',
    },
    time_out: {
      ...NOTHING,
      leased: 'TASK_RETRYING',
      stepped: 'TASK_RETRYING',
      expired: 'TASK_RETRYING',
      cancelling: 'TASK_CANCELLED',
    },
    expire: {
      ...everywhere('TASK_FAILED'),
      completed: 'nothing',
      failed: 'nothing',
      cancelled: 'nothing',
      cancelling: 'TASK_CANCELLED',
    },
    request_cancellation: {
      ...NOTHING,
      leased: 'noted',
      stepped: 'noted',
      expired: 'noted',
      waiting: 'TASK_CANCELLED',
      retrying: 'TASK_CANCELLED',
      suspended: 'TASK_CANCELLED',
      unanswered: 'TASK_CANCELLED',
      answered: 'TASK_CANCELLED',
    },
    force_cancellation: { ...NOTHING, cancelling: 'TASK_CANCELLED' },
  };

  describe.each(Object.entries(TABLE))('on %s', (command, row) => {
    it.each(Object.entries(row))('of a task that is %s answers %s', (state, expected) => {
      const outcome = outcomeOf(STATES[state as keyof typeof STATES], COMMANDS[command as keyof typeof COMMANDS]);
      expect(outcome).toBe(expected);
    });
  });

  it.each([
    'append',
    'finish_step',
    'complete',
    'fail_for_good',
    'fail_for_now',
    'confirm_cancellation',
    'release',
    'suspend',
  ] as const)('refuses %s under a token that is not the lease’s', (name) => {
    const command = { ...COMMANDS[name], token: 'somebody else’s' } as Command;
    expect(() => decide(STATES.leased, command, rules())).toThrow(LeaseLost);
  });

  it('names the batch it expects when one before it is missing', () => {
    const command: Command = { ...COMMANDS.append, batchSeq: 3 };
    const refused = () => decide(STATES.leased, command, rules());
    expect(refused).toThrow(BatchOutOfOrder);
    expect(refused).toThrow(expect.objectContaining({ details: { expected: 1 } }));
  });

  it('stores nothing for a batch that was stored before', () => {
    const once = decide(STATES.leased, COMMANDS.append, rules()).task;
    expect(decide(once, COMMANDS.append, rules())).toEqual({ events: [], task: once, notBefore: null });
  });

  it('keeps a place for the terminal event: an append that would take it ends the task', () => {
    const { events, task } = decide(STATES.leased, COMMANDS.append, rules({ maxEventsPerTask: 2 }));
    expect(events).toMatchObject([{ type: 'TASK_FAILED', payload: { code: 'EVENT_LIMIT_EXCEEDED' } }]);
    expect(task).toMatchObject({ status: 'FAILED', headEventId: 2, run: { state: 'over' } });
  });

  it('ends a task whose step would take the place of the terminal event, unless the step is stored', () => {
    const { events } = decide(STATES.stepped, COMMANDS.finish_step, rules({ maxEventsPerTask: 3 }));
    expect(events).toMatchObject([{ type: 'TASK_FAILED', payload: { code: 'EVENT_LIMIT_EXCEEDED' } }]);
    const stored = decide(STATES.stepped, COMMANDS.finish_stored_step, rules({ maxEventsPerTask: 3 }));
    expect(stored).toEqual({ events: [], task: { ...STATES.stepped, batchSeq: 2 }, notBefore: null });
  });

  it('stores the end of a step, and makes it the place up to which output stays', () => {
    const { events, task } = decide(STATES.stepped, COMMANDS.finish_step, rules());
    expect(events[0]?.json).toBe('{"key":"draft","state":"completed","attempt":1}');
    expect(task).toMatchObject({ attemptBase: 3, hasSteps: true, batchSeq: 2 });
    expect(decide(task, COMMANDS.lose_lease, rules()).events[0]?.payload).toMatchObject({
      supersedesAfterEventId: '3',
    });
  });

  it.each([
    [1, 'REQUEST_VALIDATION_ERROR'],
    [2, 'TASK_STEP'],
    [3, 'TASK_STEP'],
    [4, 'REQUEST_VALIDATION_ERROR'],
  ])('of a task with its step at 2 and its head at 3, a new try that voids after %i is %s', (since, expected) => {
    const said = after(STATES.stepped, { ...COMMANDS.append, batchSeq: 2 });
    expect(outcomeOf(said, { ...COMMANDS.append, batchSeq: 3, events: [retryOf(since)] })).toBe(expected);
  });

  it('ends a task whose release would take the place of the terminal event', () => {
    const { events, task } = decide(STATES.leased, COMMANDS.release, rules({ maxEventsPerTask: 2 }));
    expect(events).toMatchObject([{ type: 'TASK_FAILED', payload: { code: 'EVENT_LIMIT_EXCEEDED' } }]);
    expect(task.headEventId).toBe(2);
  });

  it('announces the attempt that follows a release, without a backoff and without counting it', () => {
    const { events, task, notBefore } = decide(STATES.leased, COMMANDS.release, rules());
    const at = new Date(NOW).toISOString();
    expect(events[0]?.payload).toEqual({ attempt: 2, reason: 'released', supersedesAfterEventId: '1', notBefore: at });
    expect({ spent: task.spentAttempts, notBefore }).toEqual({ spent: 0, notBefore: at });
  });

  it('makes an answered task claimable at once, for the attempt that asked', () => {
    const { task, notBefore } = decide(STATES.suspended, answer(), rules());
    expect({ run: task.run, notBefore }).toEqual({ run: { state: 'queued', resumes: true }, notBefore: null });
    expect(decide(task, COMMANDS.claim, rules()).task.attempt).toBe(STATES.suspended.attempt);
  });

  it('voids what was put out before a question, behind its answer', () => {
    const { events, task } = decide(STATES.suspended, { ...answer(), isPutOutAgain: true } as Command, rules());
    expect(events.map(({ type, json }) => (type === 'TASK_RESUMED' ? json : type))).toEqual([
      'TASK_ACTION_ACCEPTED',
      '{"supersedesAfterEventId":"1"}',
    ]);
    expect(task.run).toEqual({ state: 'queued', resumes: true });
  });

  it('leaves the place of the terminal event where a question of release 0.1.0 kept none for TASK_RESUMED', () => {
    const command = { ...answer(), isPutOutAgain: true } as Command;
    const { events } = decide(STATES.suspended, command, rules({ maxEventsPerTask: STATES.suspended.headEventId + 2 }));
    expect(events.map(({ type }) => type)).toEqual(['TASK_ACTION_ACCEPTED']);
  });

  it('stores a question as it was asked, and an answer as it was accepted', () => {
    const { question } = suspend({ uiHints: { colour: 'red' } }) as Extract<Command, { kind: 'suspend' }>;
    expect(decide(STATES.leased, { ...suspend(), question } as Command, rules()).events[0]?.payload).toEqual(question);
    const { action } = answer() as Extract<Command, { kind: 'accept_action' }>;
    expect(decide(STATES.suspended, answer(), rules()).events[0]?.payload).toEqual(action);
  });

  it('fails a task whose question nobody answered in time with SUSPENSION_EXPIRED', () => {
    const { events } = decide(STATES.unanswered, COMMANDS.expire_suspension, rules());
    expect(events[0]).toMatchObject({ type: 'TASK_FAILED', payload: { code: 'SUSPENSION_EXPIRED', retryable: true } });
  });

  it('asks no question whose answer would take the place of the terminal event', () => {
    const { events } = decide(STATES.leased, suspend(), rules({ maxEventsPerTask: 4 }));
    expect(events[0]?.payload).toMatchObject({ code: 'EVENT_LIMIT_EXCEEDED' });
    expect(outcomeOf(STATES.leased, suspend())).toBe('TASK_SUSPENDED');
  });

  it('gives a lost lease as the reason of the attempt that follows it', () => {
    const { events } = decide(STATES.leased, COMMANDS.lose_lease, rules());
    expect(events[0]?.payload).toMatchObject({ attempt: 2, reason: 'lease_expired', supersedesAfterEventId: '1' });
  });

  it('fails a task as STALLED when the last attempt loses its lease', () => {
    const { events } = decide(STATES.leased, COMMANDS.lose_lease, rules({ maxAttempts: 1 }));
    expect(events[0]).toMatchObject({ type: 'TASK_FAILED', payload: { code: 'STALLED', retryable: true } });
  });

  it('fails a task as TIMED_OUT when the last attempt takes too long, and names it as the reason of the next one before', () => {
    const { events } = decide(STATES.leased, COMMANDS.time_out, rules({ maxAttempts: 1 }));
    expect(events[0]).toMatchObject({ type: 'TASK_FAILED', payload: { code: 'TIMED_OUT', retryable: true } });
    expect(decide(STATES.leased, COMMANDS.time_out, rules()).events[0]?.payload).toMatchObject({ reason: 'timed_out' });
  });

  it.each(['waiting', 'leased', 'retrying', 'suspended', 'answered'] as const)(
    'fails a task that is %s as EXPIRED behind its deadline',
    (state) => {
      const { events, task } = decide(STATES[state], COMMANDS.expire, rules());
      expect(events[0]).toMatchObject({ type: 'TASK_FAILED', payload: { code: 'EXPIRED' } });
      expect(task.run).toEqual({ state: 'over' });
    },
  );

  it('waits as long as the backoff of the type says', () => {
    const backoff = { firstSeconds: 60, maxSeconds: 100 };
    const pauses = [1, 2, 3].map((spentAttempts) =>
      pauseMs(
        decide(
          { ...STATES.leased, spentAttempts: spentAttempts - 1 },
          COMMANDS.lose_lease,
          rules({ backoff, maxAttempts: 9 }),
        ),
      ),
    );
    expect(pauses).toEqual([60_000, 100_000, 100_000]);
  });

  it('fails a task with the code of its last attempt when no attempt is left', () => {
    const { events } = decide(STATES.leased, COMMANDS.fail_for_now, rules({ maxAttempts: 1 }));
    expect(events[0]?.payload).toEqual({ code: 'BROKEN', message: 'It broke.', retryable: true });
  });

  it('takes the delay that a failure asks for in place of the backoff', () => {
    const decision = decide(STATES.leased, fail({ retryAfterMs: 77_000 }), rules());
    expect(pauseMs(decision)).toBe(77_000);
    expect(decision.events[0]?.payload).toMatchObject({ notBefore: decision.notBefore });
  });

  it('stores null as the result of a task that has none', () => {
    const { events } = decide(STATES.leased, { kind: 'complete', token: HELD, result: undefined }, rules());
    expect(events[0]?.json).toBe('{"result":null}');
  });

  it('keeps the first reason of two cancellations', () => {
    const again = decide(STATES.cancelling, { kind: 'request_cancellation', reason: 'never mind' }, rules()).task;
    const { events } = decide(again, COMMANDS.confirm_cancellation, rules());
    expect(events[0]?.json).toBe('{"reason":"enough"}');
  });

  it('says cancelled_by_worker when the worker gives up a task that nobody cancelled', () => {
    const { events } = decide(STATES.leased, COMMANDS.confirm_cancellation, rules());
    expect(events[0]?.json).toBe('{"reason":"cancelled_by_worker"}');
  });

  it('prefers the reason of a request to cancel to that of the worker that obeys', () => {
    const obeyed: Command = { kind: 'confirm_cancellation', token: HELD, reason: 'as you wish' };
    expect(decide(STATES.cancelling, obeyed, rules()).events[0]?.payload).toEqual({ reason: 'enough' });
    expect(decide(STATES.leased, obeyed, rules()).events[0]?.payload).toEqual({ reason: 'as you wish' });
  });

  it('says CANCEL_FORCED when the grace period is over', () => {
    const { events } = decide(STATES.cancelling, COMMANDS.force_cancellation, rules());
    expect(events[0]?.json).toBe('{"reason":"enough","message":"CANCEL_FORCED"}');
  });

  it.each([
    [1, 0, 500],
    [1, 1, 1_500],
    [2, 0.5, 2_000],
    [3, 0.5, 4_000],
    [4, 0.5, 8_000],
    [5, 0.5, 10_000],
    [5, 1, 10_000],
    [40, 0, 5_000],
  ])('backs off after %i spent attempts, with jitter %d, for %i ms', (spent, jitter, expected) => {
    const task: Task = { ...STATES.leased, spentAttempts: spent - 1 };
    expect(pauseMs(decide(task, COMMANDS.lose_lease, rules({ maxAttempts: 100, jitter })))).toBe(expected);
  });
});

/** The token of a step: that of the last claim, that of an earlier one, or an unknown one. */
type Whose = 'last' | 'earlier' | 'invented';

type Step =
  | { readonly kind: 'claim' | 'clock_passes' | 'force_cancellation' | 'answer' | 'expire_suspension' }
  | { readonly kind: 'complete' | 'confirm_cancellation' | 'release' | 'suspend'; readonly whose: Whose }
  | { readonly kind: 'fail'; readonly whose: Whose; readonly retryable: boolean; readonly retryAfterMs?: number }
  | { readonly kind: 'lose_lease'; readonly retryAfterMs?: number }
  | { readonly kind: 'time_out' | 'expire' }
  | { readonly kind: 'request_cancellation'; readonly reason: string }
  | {
      readonly kind: 'append';
      readonly whose: Whose;
      /** Relative to the next: -1 is the last one repeated, 1 leaves a hole. */
      readonly seqOffset: number;
      readonly events: readonly NewEvent[];
      /** Before the events: a new try of a step that voids this many of the last events, -1 what is yet to come. */
      readonly voids?: number;
    }
  | { readonly kind: 'finish_step'; readonly whose: Whose; readonly seqOffset: number; readonly key: string };

/** What a step did. The clock has no command; a refusal has no decision. */
interface Moment {
  readonly before: Task;
  readonly after: Task;
  readonly command?: Command;
  readonly whose?: Whose;
  readonly decision?: Decision;
  readonly refusal?: TaskBridgeError;
}

interface Life {
  readonly rules: Rules;
  readonly moments: readonly Moment[];
  readonly log: readonly NewEvent[];
  readonly end: Task;
}

function live(given: Rules, steps: readonly Step[]): Life {
  const tokens: string[] = [];
  const moments: Moment[] = [];
  const log: NewEvent[] = [];
  let task = NEW_TASK;
  for (const step of steps) {
    const before = task;
    if (step.kind === 'clock_passes') {
      task = expired(task);
      moments.push({ before, after: task });
      continue;
    }
    // The caller that accepts an action has seen, under the same lock, that its question is open.
    if (step.kind === 'answer' && (task.run.state !== 'suspended' || task.run.expired)) continue;
    const command = commandOf(step, task, tokens, log);
    const whose = 'whose' in step ? { whose: step.whose } : {};
    try {
      const decision = decide(task, command, given);
      if (command.kind === 'claim' && decision.task !== task) tokens.push(command.token);
      task = decision.task;
      log.push(...decision.events);
      moments.push({ before, after: task, command, ...whose, decision });
    } catch (error) {
      if (!(error instanceof TaskBridgeError)) throw error;
      moments.push({ before, after: task, command, ...whose, refusal: error });
    }
  }
  return { rules: given, moments, log, end: task };
}

/** The finished steps of a log, each with its event id. */
const finished = (log: readonly NewEvent[]) =>
  log.flatMap((event, index) =>
    event.type === 'TASK_STEP' && event.payload.state === 'completed'
      ? [{ key: event.payload.key, id: index + 1 }]
      : [],
  );

const hasPutOut = (events: readonly NewEvent[]) =>
  events.some(({ type }) => type === 'TASK_OUTPUT' || type === 'TASK_PROGRESS');

function commandOf(
  step: Exclude<Step, { kind: 'clock_passes' }>,
  task: Task,
  tokens: readonly string[],
  log: readonly NewEvent[],
): Command {
  const tokenOf = (whose: Whose) =>
    (whose === 'invented' ? undefined : tokens.at(whose === 'last' ? -1 : -2)) ?? 'invented';
  switch (step.kind) {
    case 'claim':
      return { kind: 'claim', token: `token-${tokens.length + 1}` };
    case 'append':
      return {
        kind: 'append',
        token: tokenOf(step.whose),
        batchSeq: task.batchSeq + 1 + step.seqOffset,
        events:
          step.voids === undefined
            ? step.events
            : [retryOf(Math.max(1, task.headEventId - step.voids)), ...step.events],
      };
    case 'finish_step':
      return {
        kind: 'finish_step',
        token: tokenOf(step.whose),
        batchSeq: task.batchSeq + 1 + step.seqOffset,
        key: step.key,
        isStored: finished(log).some(({ key }) => key === step.key),
      };
    case 'complete':
      return { kind: 'complete', token: tokenOf(step.whose), result: 'done' };
    case 'fail': {
      const { whose, ...rest } = step;
      return { ...rest, token: tokenOf(whose), code: 'BROKEN', message: 'It broke.' };
    }
    case 'confirm_cancellation':
    case 'release':
      return { kind: step.kind, token: tokenOf(step.whose) };
    case 'suspend':
      return { ...suspend({ suspendId: `q${task.headEventId}` }), token: tokenOf(step.whose) } as Command;
    case 'answer':
      return {
        ...answer({ suspendId: task.run.state === 'suspended' ? task.run.suspendId : '' }),
        isPutOutAgain: hasPutOut(log.slice(task.attemptBase)),
      } as Command;
    default:
      return step as Command;
  }
}

/** Mostly the right token: a life of refusals shows little. */
const whose = fc.oneof(
  { weight: 8, arbitrary: fc.constant<Whose>('last') },
  { weight: 1, arbitrary: fc.constantFrom<Whose>('earlier', 'invented') },
);
const event = fc.oneof(
  fc.integer({ min: 0, max: 100 }).map((progress) => progressEvent(progress)),
  fc.string({ maxLength: 5 }).map((text) => messageEvent(text)),
  fc.string({ maxLength: 5 }).map((text) => outputEvent('text', 'append', text, 1)),
);
const retryAfter = fc.option(fc.record({ retryAfterMs: fc.nat(60_000) }), { nil: {} });

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 8, arbitrary: fc.constant<Step>({ kind: 'claim' }) },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('append' as const),
      whose,
      seqOffset: fc.constantFrom(0, 0, 0, 0, -1, 1),
      events: fc.array(event, { minLength: 1, maxLength: 3 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('append' as const),
      whose,
      seqOffset: fc.constant(0),
      events: fc.array(event, { maxLength: 2 }),
      voids: fc.integer({ min: -1, max: 4 }),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('finish_step' as const),
      whose,
      seqOffset: fc.constantFrom(0, 0, 0, -1, 1),
      key: fc.constantFrom('a', 'b', 'c', 'd'),
    }),
  },
  { weight: 2, arbitrary: fc.constant<Step>({ kind: 'clock_passes' }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('suspend' as const), whose }) },
  { weight: 5, arbitrary: fc.constant<Step>({ kind: 'answer' }) },
  { weight: 3, arbitrary: retryAfter.map((after) => ({ kind: 'lose_lease' as const, ...after })) },
  {
    weight: 3,
    arbitrary: fc
      .tuple(whose, fc.integer({ min: 0, max: 3 }), retryAfter)
      .map(([by, n, after]) => ({ kind: 'fail' as const, whose: by, retryable: n > 0, ...after })),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('release' as const), whose }) },
  {
    weight: 1,
    arbitrary: fc.oneof(
      fc.record({ kind: fc.constantFrom('complete' as const, 'confirm_cancellation' as const), whose }),
      fc.record({ kind: fc.constant('request_cancellation' as const), reason: fc.string({ maxLength: 5 }) }),
      fc.constantFrom<Step>(
        { kind: 'force_cancellation' },
        { kind: 'expire_suspension' },
        { kind: 'time_out' },
        { kind: 'expire' },
      ),
    ),
  },
);

const life = fc
  .tuple(
    fc.record({
      maxAttempts: fc.integer({ min: 1, max: 8 }),
      backoff: fc.constant(BACKOFF),
      maxEventsPerTask: fc.integer({ min: 2, max: 20 }),
      jitter: fc.double({ min: 0, max: 1, noNaN: true }),
      now: fc.constant(NOW),
    }),
    fc.array(step, { maxLength: 40 }),
  )
  .map(([given, steps]) => live(given, steps));

/** Holds for the whole of any life. */
function always(check: (life: Life) => void): void {
  fc.assert(fc.property(life, check), { numRuns: 1_000 });
}

/** Written without `evolve`, which is what it is compared with. */
function statusBy(log: readonly NewEvent[]): TaskStatus {
  switch (log.findLast(({ type }) => endsTask(type))?.type) {
    case 'TASK_COMPLETED':
      return 'COMPLETED';
    case 'TASK_FAILED':
      return 'FAILED';
    case 'TASK_CANCELLED':
      return 'CANCELLED';
    default:
      return log.length > 0 ? 'RUNNING' : 'ACCEPTED';
  }
}

const leasesBegun = ({ moments }: Life): readonly Moment[] =>
  moments.filter(({ before, after: then }) => then.leaseNumber > before.leaseNumber);

/** The resume after an answer begins a lease and no attempt. */
const attemptsBegun = (whole: Life): readonly Moment[] =>
  leasesBegun(whole).filter(({ before: { run } }) => !(run.state === 'queued' && run.resumes));

describe('Whatever is asked of a task', () => {
  it('its status is the fold of its events', () => {
    always(({ log, end }) => {
      expect(end.status).toBe(statusBy(log));
      expect(log.reduce(evolve, NEW_TASK)).toMatchObject({ status: end.status, progress: end.progress });
    });
  });

  it('its head counts its events', () => {
    always(({ log, end }) => expect(end.headEventId).toBe(log.length));
  });

  it('its log begins with TASK_STARTED, or with the end of a task that never ran', () => {
    always(({ log }) => {
      if (log[0]) expect(log[0].type === 'TASK_STARTED' || endsTask(log[0].type)).toBe(true);
      expect(log.filter(({ type }) => type === 'TASK_STARTED').length).toBeLessThanOrEqual(1);
    });
  });

  it('it ends once, and its terminal event is the last', () => {
    always(({ log, end }) => {
      const ends = log.flatMap(({ type }, index) => (endsTask(type) ? [index] : []));
      expect(ends).toEqual(isOver(end.status) ? [log.length - 1] : []);
    });
  });

  it('nothing changes it after its end', () => {
    always(({ moments }) => {
      for (const { before, after: then } of moments) if (isOver(before.status)) expect(then).toBe(before);
    });
  });

  it('it is over for its executor exactly when its status says so', () => {
    always(({ moments }) => {
      for (const { after: then } of moments) expect(then.run.state === 'over').toBe(isOver(then.status));
    });
  });

  it('a token that is not the lease’s, or whose lease expired, stores nothing and gets LeaseLost', () => {
    always(({ moments }) => {
      for (const { before, after: then, command, refusal } of moments) {
        if (!command || !('token' in command) || command.kind === 'claim') continue;
        const { run } = before;
        if (run.state === 'leased' && run.token === command.token && !run.expired) continue;
        expect(refusal).toBeInstanceOf(LeaseLost);
        expect(then).toBe(before);
      }
    });
  });

  it('a holder of the lease is refused for nothing but a missing batch, and a new try that voids too much', () => {
    always(({ moments }) => {
      for (const { before, command, refusal } of moments) {
        if (!refusal || !command || !('token' in command)) continue;
        if (command.kind === 'append' && command.events[0]?.type === 'TASK_STEP' && refusal instanceof EventInvalid) {
          const since = Number(command.events[0].payload.supersedesAfterEventId);
          expect(since < before.attemptBase || since > before.headEventId).toBe(true);
          continue;
        }
        const { run } = before;
        const holds = run.state === 'leased' && run.token === command.token && !run.expired;
        if (holds) expect(refusal).toBeInstanceOf(BatchOutOfOrder);
      }
    });
  });

  it('a batch is stored once, and only right after the one before it', () => {
    always(({ moments }) => {
      for (const { before, after: then, command } of moments) {
        if (command?.kind !== 'append' || isOver(then.status) || then === before) continue;
        expect(command.batchSeq).toBe(before.batchSeq + 1);
        expect(then.batchSeq).toBe(command.batchSeq);
        expect(then.headEventId).toBe(before.headEventId + command.events.length);
      }
    });
  });

  it('its batches are numbered from 1 under each lease', () => {
    always((whole) => {
      for (const { after: then } of leasesBegun(whole)) expect(then.batchSeq).toBe(0);
    });
  });

  it('its attempts are numbered 1, 2, 3 … as they begin', () => {
    always((whole) => {
      const begun = attemptsBegun(whole);
      expect(begun.map(({ after: then }) => then.attempt)).toEqual(begun.map((_, index) => index + 1));
      expect(whole.end.attempt).toBe(begun.length);
    });
  });

  it('an answer is gone on with by the attempt that asked, under a new lease', () => {
    always((whole) => {
      for (const { before, after: then } of leasesBegun(whole)) {
        if (before.run.state !== 'queued' || !before.run.resumes) continue;
        const { attempt, attemptBase, leaseNumber, headEventId } = before;
        expect(then).toMatchObject({ attempt, attemptBase, headEventId, leaseNumber: leaseNumber + 1 });
      }
    });
  });

  it('output and progress that is put out again is void at the time of the answer', () => {
    always(({ log }) => {
      log.forEach((event, index) => {
        if (event.type !== 'TASK_ACTION_ACCEPTED') return;
        const next = log[index + 1];
        const since = next?.type === 'TASK_RESUMED' ? Number(next.payload.supersedesAfterEventId) : index;
        const begins =
          log.findLastIndex(({ type }, at) => at < index && (type === 'TASK_RETRYING' || type === 'TASK_STARTED')) + 1;
        const boundary = finished(log.slice(0, index)).at(-1)?.id ?? begins;
        if (next?.type === 'TASK_RESUMED') expect(since).toBe(boundary);
        expect(hasPutOut(log.slice(boundary, since))).toBe(false);
      });
    });
  });

  it('each step is finished once, also over attempts, and each other end of it counts as a batch', () => {
    always(({ log, moments }) => {
      const keys = finished(log).map(({ key }) => key);
      expect(new Set(keys).size).toBe(keys.length);
      for (const { before, after: then, command, decision } of moments) {
        if (command?.kind !== 'finish_step' || !command.isStored || !decision || then === before) continue;
        expect(then).toEqual({ ...before, batchSeq: command.batchSeq });
      }
    });
  });

  it('nothing voids what is before the last finished step', () => {
    always(({ log }) => {
      log.forEach(({ payload }, index) => {
        const last = finished(log.slice(0, index)).at(-1)?.id ?? 0;
        if ('supersedesAfterEventId' in payload && payload.supersedesAfterEventId !== undefined) {
          expect(Number(payload.supersedesAfterEventId)).toBeGreaterThanOrEqual(last);
          expect(Number(payload.supersedesAfterEventId)).toBeLessThanOrEqual(index);
        }
      });
    });
  });

  it('each TASK_RETRYING names the attempt that follows, and the last finished step or the head when the ended one began', () => {
    always(({ moments }) => {
      let headAtBegin = 0;
      const log: NewEvent[] = [];
      for (const { before, after: then, decision } of moments) {
        for (const { type, payload } of decision?.events ?? []) {
          if (type !== 'TASK_RETRYING') continue;
          expect(payload.attempt).toBe(before.attempt + 1);
          expect(payload.supersedesAfterEventId).toBe(String(finished(log).at(-1)?.id ?? headAtBegin));
        }
        log.push(...(decision?.events ?? []));
        if (then.attempt > before.attempt) headAtBegin = then.headEventId;
      }
    });
  });

  it('no attempt begins after a request to cancel it', () => {
    always((whole) => {
      for (const { before } of leasesBegun(whole)) expect(before.cancellation).toBeNull();
      for (const { after: then } of whole.moments) {
        if (then.run.state === 'queued' || then.run.state === 'suspended') expect(then.cancellation).toBeNull();
      }
    });
  });

  it('no more attempts are spent than it may have', () => {
    always(({ rules: { maxAttempts }, moments }) => {
      for (const { after: then } of moments) {
        expect(then.spentAttempts).toBeLessThanOrEqual(maxAttempts);
        if (then.spentAttempts === maxAttempts) expect(isOver(then.status)).toBe(true);
      }
    });
  });

  it('failures and lost leases are counted, and releases are not', () => {
    always(({ log, end }) => {
      const spent = log.filter((event) => event.type === 'TASK_RETRYING' && event.payload.reason !== 'released');
      expect(end.spentAttempts - spent.length).toBe(
        end.status === 'FAILED' && end.spentAttempts > spent.length ? 1 : 0,
      );
    });
  });

  it('it never has more events than it may have, the terminal one included', () => {
    always(({ rules: { maxEventsPerTask }, moments }) => {
      for (const { after: then } of moments) {
        // One place is left for the terminal event as long as the task lives, and two for an answer that it waits for.
        const kept = isOver(then.status) ? 0 : then.run.state === 'suspended' ? 3 : 1;
        expect(then.headEventId).toBeLessThanOrEqual(maxEventsPerTask - kept);
      }
    });
  });

  it('it waits after a spent attempt for 1 s doubled, 10 s at most, each ± 50 %, or as long as the failure said', () => {
    always(({ moments }) => {
      for (const { after: then, command, decision } of moments) {
        const retry = decision?.events.find(({ type }) => type === 'TASK_RETRYING');
        if (!decision || !command) continue;
        if (!retry || command.kind === 'release') {
          expect(pauseMs(decision)).toBe(0);
          continue;
        }
        const told = 'retryAfterMs' in command ? command.retryAfterMs : undefined;
        const middle = Math.min(1_000 * 2 ** (then.spentAttempts - 1), 10_000);
        const [least, most] = told === undefined ? [middle / 2, Math.min(middle * 1.5, 10_000)] : [told, told];
        expect(pauseMs(decision)).toBeGreaterThanOrEqual(Math.floor(least));
        expect(pauseMs(decision)).toBeLessThanOrEqual(Math.ceil(most));
      }
    });
  });

  it('what it carries is text that says the same as its payload', () => {
    always(({ log }) => {
      for (const { payload, json } of log) expect(JSON.parse(json)).toEqual(JSON.parse(JSON.stringify(payload)));
    });
  });
});

describe('The payload of an appended event', () => {
  it('leaves out what is absent', () => {
    expect(progressEvent(5, undefined, 'half').json).toBe('{"progress":5,"message":"half"}');
    expect(newEvent('TASK_MESSAGE', { message: 'm', level: undefined }).json).toBe('{"message":"m"}');
  });

  it('is any progress from 0 to 100', () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 100, noNaN: true }), (progress) => {
        expect(progressEvent(progress).payload.progress).toBe(progress);
      }),
    );
  });

  it.each([
    ['a progress above 100', () => progressEvent(100.1)],
    ['a progress below 0', () => progressEvent(-1)],
    ['a progress that is no number', () => progressEvent(Number.NaN)],
    ['a progress that is text', () => progressEvent('50')],
    ['a stage that is no text', () => progressEvent(1, 7)],
    ['a message that is no text', () => messageEvent(null)],
    ['an unknown level', () => messageEvent('m', 'fatal')],
    ['an unknown op', () => outputEvent('text', 'insert', 'data', 1)],
    ['a channel that is no text', () => outputEvent(undefined, 'append', 'data', 1)],
    ['output that is no text', () => outputEvent('text', 'append', { a: 1 }, 1)],
  ])('is not %s', (_, make) => {
    expect(make).toThrow(EventInvalid);
  });
});
