import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it } from '@jest/globals';
import { Attempt, type LeasedTask } from '#handler/attempt.js';
import type { HandlerEvent } from '#handler/events.js';
import { LeaseLost, Refused, Unavailable } from '#handler/holder-errors.js';
import type { Ending, LeaseHolder } from '#handler/lease-holder.js';
import { MAX_BUFFERED_BYTES } from '#handler/limits.js';
import type { Question } from '#handler/question.js';
import type { TaskContext, TaskHandler } from '#handler/task-handler.js';

const TASK: LeasedTask = {
  taskId: 'a-task',
  taskType: 'test.work',
  attempt: 1,
  input: {},
  metadata: {},
  attachments: [],
  answers: [],
  texts: { input: () => '{}', metadata: () => '{}', payload: () => '{}' },
};

interface Sent {
  readonly batchSeq: number;
  readonly said: readonly unknown[];
}

/** A holder of a lease that only this process knows. `faults` are thrown by the next appends, after `stored` or before. */
class Ledger implements LeaseHolder {
  readonly leaseMs = 600;
  readonly sent: Sent[] = [];
  readonly endings: (Ending | Question)[] = [];
  readonly faults: Error[] = [];
  renewals = 0;
  isOver = false;
  /** Appends wait for it. */
  gate: Promise<void> = Promise.resolve();

  async append(batchSeq: number, events: readonly HandlerEvent[]): Promise<void> {
    await this.gate;
    this.sent.push({
      batchSeq,
      said: events.map(({ payload }) => payload['data'] ?? payload['message'] ?? payload['progress']),
    });
    if (this.isOver) throw new LeaseLost();
    const fault = this.faults.shift();
    if (fault !== undefined) throw fault;
    if (events.some(({ payload }) => payload['message'] === 'bad')) throw new Refused('BAD', 'It is bad.');
  }

  async renew(): Promise<void> {
    this.renewals += 1;
    if (this.isOver) throw new LeaseLost();
  }

  async suspend(question: Question): Promise<void> {
    this.endings.push(question);
  }

  async end(ending: Ending): Promise<void> {
    this.endings.push(ending);
  }

  readAttachment(): Promise<never> {
    return Promise.reject(new Error('there is none'));
  }

  async turns(count = 50): Promise<void> {
    for (let n = 0; n < count; n += 1) await turn();
  }
}

async function run(handler: TaskHandler, ledger = new Ledger()): Promise<Ledger> {
  await new Attempt(ledger, () => undefined).run(handler, TASK);
  return ledger;
}

describe('The runner', () => {
  it('stores the first output at once, and joins what follows within 50 ms', async () => {
    const ledger = new Ledger();
    await run(async (_, { output }) => {
      await output('a');
      await ledger.turns(3);
      for (const piece of ['b', 'c', 'd']) await output(piece);
      await ledger.turns();
    }, ledger);
    expect(ledger.sent).toEqual([
      { batchSeq: 1, said: ['a'] },
      { batchSeq: 2, said: ['bcd'] },
    ]);
  });

  it('stores progress and messages at once, behind the output that was there before', async () => {
    const ledger = new Ledger();
    await run(async (_, { output, progress, message }) => {
      await output('a');
      await ledger.turns(3);
      await output('b');
      await progress(1);
      await message('c');
      await output('d');
    }, ledger);
    expect(ledger.sent.map(({ said }) => said)).toEqual([['a'], ['b', 1], ['c'], ['d']]);
  });

  it('joins no output of two channels, nor over what replaces it, nor over other events', async () => {
    const { sent } = await run((_, { output, message }) => {
      for (const piece of ['a', 'b']) void output(piece);
      void output('c', { channel: 'other' });
      void output('d');
      void output('e', { op: 'replace' });
      for (const piece of ['f', 'g']) void output(piece);
      void message('h');
      void output('i');
    });
    expect(sent.flatMap(({ said }) => said)).toEqual(['ab', 'c', 'd', 'e', 'fg', 'h', 'i']);
  });

  it('has output wait above 256 KiB until some is stored', async () => {
    const ledger = new Ledger();
    const opened = Promise.withResolvers<void>();
    ledger.gate = opened.promise;
    let said = 0;
    const over = run(async (_, { output }) => {
      for (; said < 1_000; said += 1) await output('x'.repeat(1024));
    }, ledger);
    await ledger.turns(2_000);
    expect(said).toBeGreaterThanOrEqual(MAX_BUFFERED_BYTES / 1024 - 4);
    expect(said).toBeLessThanOrEqual(MAX_BUFFERED_BYTES / 1024 + 4);
    opened.resolve();
    await over;
    expect(said).toBe(1_000);
    expect(ledger.sent.flatMap(({ said: texts }) => texts).join('')).toBe('x'.repeat(1_000 * 1024));
  });

  it('loses none of the neighbours of an event that is refused, nor a number', async () => {
    const outcomes: string[] = [];
    const { sent } = await run(async (_, { message }) => {
      const texts = ['1', '2', 'bad', '4', '5'];
      const settled = await Promise.allSettled(texts.map((text) => message(text)));
      outcomes.push(...settled.map(({ status }) => status));
    });
    expect(outcomes).toEqual(['fulfilled', 'fulfilled', 'rejected', 'fulfilled', 'fulfilled']);
    const stored = sent.filter(({ said }) => !said.includes('bad'));
    expect(stored.flatMap(({ said }) => said)).toEqual(['1', '2', '4', '5']);
    expect(stored.map(({ batchSeq }) => batchSeq)).toEqual(stored.map((_, n) => n + 1));
  });

  it('sends a batch again, the same under the same number, until it is answered', async () => {
    const ledger = new Ledger();
    ledger.faults.push(new Unavailable('gone'), new Unavailable('gone'));
    await run(async (_, { message }) => {
      await Promise.all([message('a'), message('b')]);
      await message('c');
    }, ledger);
    const first = { batchSeq: 1, said: ['a', 'b'] };
    expect(ledger.sent).toEqual([first, first, first, { batchSeq: 2, said: ['c'] }]);
  });

  it('renews a lease that has expired, and sends the same again', async () => {
    const ledger = new Ledger();
    ledger.faults.push(new LeaseLost());
    await run((_, { message }) => message('a'), ledger);
    expect(ledger.renewals).toBe(1);
    expect(ledger.sent).toEqual(Array(2).fill({ batchSeq: 1, said: ['a'] }));
    expect(ledger.endings).toEqual([{ kind: 'complete', resultJson: 'null' }]);
  });

  it('is over when the lease is lost, also when the handler does not obey', async () => {
    const ledger = new Ledger();
    ledger.isOver = true;
    const given = Promise.withResolvers<TaskContext>();
    await run(async (_, context) => {
      given.resolve(context);
      await context.message('a').catch(() => undefined);
      await new Promise(() => undefined);
    }, ledger);
    const { signal, output } = await given.promise;
    expect(signal.reason).toMatchObject({ why: 'lease_lost' });
    await expect(output('b')).rejects.toBe(signal.reason);
    expect(ledger.endings).toEqual([]);
  });

  it('refuses what a handler says behind its own end', async () => {
    const given = Promise.withResolvers<TaskContext>();
    const { sent } = await run((_, context) => given.resolve(context));
    const { output, message } = await given.promise;
    await expect(output('late')).rejects.toThrow(LeaseLost);
    await expect(message('late')).rejects.toThrow(LeaseLost);
    expect(sent).toEqual([]);
  });

  it('fails finished work once and for good when its end is refused all the same', async () => {
    class Stubborn extends Ledger {
      override async end(ending: Ending): Promise<void> {
        await super.end(ending);
        if (ending.kind === 'complete') throw new Refused('INVALID_REQUEST', 'It has what it may not have.');
      }
    }
    const { endings } = await run(() => 'done', new Stubborn());
    expect(endings.slice(1)).toEqual([
      {
        kind: 'fail',
        code: 'RESULT_NOT_STORABLE',
        message: 'The result cannot be stored: It has what it may not have.',
        retryable: false,
      },
    ]);
  });

  it('says nothing to clients of a fault that is not about the content', async () => {
    const ledger = new Ledger();
    ledger.faults.push(new Error('a secret of the service'));
    await run((_, { output }) => void output('a'), ledger);
    expect(ledger.endings).toEqual([
      { kind: 'fail', code: 'HANDLER_ERROR', message: 'The handler failed.', retryable: true },
    ]);
  });
});
