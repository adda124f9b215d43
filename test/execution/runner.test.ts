import { AsyncResource } from 'node:async_hooks';
import { EventEmitter } from 'node:events';
import { readdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it } from '@jest/globals';
import { Attempt, type LeasedTask } from '#handler/attempt.js';
import type { HandlerEvent } from '#handler/events.js';
import { LeaseLost, Refused, Unavailable } from '#handler/holder-errors.js';
import type { Ending, FileToAttach, FinishedStep, LeaseHolder, StoredResult } from '#handler/lease-holder.js';
import { MAX_BUFFERED_BYTES } from '#handler/limits.js';
import type { Question } from '#handler/question.js';
import { type Attachment, type TaskContext, TaskFailure, type TaskHandler } from '#handler/task-handler.js';

const TASK: LeasedTask = {
  taskId: 'a-task',
  taskType: 'test.work',
  attempt: 1,
  input: {},
  metadata: {},
  attachments: [],
  answers: [],
  headEventId: 1,
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
  head = 1;
  /** The result that another attempt has stored of any step. */
  storedBefore: string | undefined;
  isOver = false;
  /** Appends wait for it. */
  gate: Promise<void> = Promise.resolve();

  async append(batchSeq: number, events: readonly HandlerEvent[]): Promise<number> {
    await this.gate;
    this.sent.push({
      batchSeq,
      said: events.map(({ payload }) => payload['data'] ?? payload['message'] ?? payload['progress'] ?? payload),
    });
    if (this.isOver) throw new LeaseLost();
    const fault = this.faults.shift();
    if (fault !== undefined) throw fault;
    if (events.some(({ payload }) => payload['message'] === 'bad')) throw new Refused('BAD', 'It is bad.');
    this.head += events.length;
    return this.head;
  }

  async finishStep(batchSeq: number, { key, resultJson }: FinishedStep): Promise<StoredResult> {
    await this.gate;
    this.sent.push({ batchSeq, said: [`${key} = ${resultJson}`] });
    if (this.isOver) throw new LeaseLost();
    this.head += 1;
    return { eventId: this.head, resultJson: this.storedBefore ?? resultJson };
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

  async attach({ filename, mediaType = 'text/plain', open }: FileToAttach): Promise<Attachment> {
    const fault = this.faults.shift();
    const bytes = await text(open());
    this.sent.push({ batchSeq: 0, said: [`${filename}: ${bytes}`] });
    if (fault !== undefined) throw fault;
    const sizeBytes = Buffer.byteLength(bytes);
    return { attachmentId: bytes, filename, contentType: mediaType, sizeBytes, sha256: '', source: 'worker' };
  }

  readAttachment(): Promise<never> {
    return Promise.reject(new Error('there is none'));
  }

  async turns(count = 50): Promise<void> {
    for (let n = 0; n < count; n += 1) await turn();
  }
}

const codeOf = (promise: Promise<unknown>) =>
  promise.then(
    () => 'done',
    (error: { code?: string; message: string }) => error.code ?? error.message,
  );

async function run(handler: TaskHandler, ledger = new Ledger(), steps?: readonly FinishedStep[]): Promise<Ledger> {
  await new Attempt(ledger, () => undefined).run(handler, { ...TASK, ...(steps && { steps }) });
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

describe('A step', () => {
  const saidIn = ({ sent }: Ledger) => sent.map(({ said }) => said);
  const stored = (...keys: readonly string[]): FinishedStep[] =>
    keys.map((key) => ({ key, resultJson: `"old ${key}"` }));

  it('stores its result behind what was put out before its end, as the next batch', async () => {
    const ledger = await run(
      async (_, { step, output }) => {
        await output('outside ');
        const { idempotencyKey, made } = await step('load', async (given) => {
          void output('inside');
          return { idempotencyKey: given.idempotencyKey, made: new Date(0) };
        });
        await output('after');
        return [idempotencyKey, made];
      },
      new Ledger(),
      [],
    );
    expect(ledger.sent).toEqual([
      { batchSeq: 1, said: ['outside '] },
      { batchSeq: 2, said: ['inside'] },
      { batchSeq: 3, said: ['load = {"idempotencyKey":"a-task:load","made":"1970-01-01T00:00:00.000Z"}'] },
      { batchSeq: 4, said: ['after'] },
    ]);
    // As a later run would get it: as JSON.
    const resultJson = '["a-task:load","1970-01-01T00:00:00.000Z"]';
    expect(ledger.endings).toEqual([{ kind: 'complete', resultJson }]);
  });

  it('gives the result that is stored, also where another attempt was first', async () => {
    const ledger = new Ledger();
    ledger.storedBefore = '{"who":"another"}';
    await run((_, { step }) => step('load', () => ({ who: 'me' })), ledger, []);
    expect(ledger.endings).toEqual([{ kind: 'complete', resultJson: '{"who":"another"}' }]);
  });

  it('that is stored does not run, and nothing is put out again until the last one has returned', async () => {
    const ran: string[] = [];
    const ledger = await run(
      async (_, { step, output, progress, message }) => {
        await output('0');
        await progress(1);
        const a = await step('a', () => ran.push('a'));
        await message('between');
        const b = await step('b', () => ran.push('b'));
        await output('1');
        const c = await step('c', async () => {
          await output('2');
          return 'new c';
        });
        return [a, b, c];
      },
      new Ledger(),
      stored('a', 'b'),
    );
    expect(ran).toEqual([]);
    expect(saidIn(ledger)).toEqual([['1'], ['2'], ['c = "new c"']]);
    expect(ledger.endings).toEqual([{ kind: 'complete', resultJson: '["old a","old b","new c"]' }]);
  });

  it('that is not stored, before those that are, ends the silence: the handler has changed', async () => {
    const ledger = await run(
      async (_, { step, output }) => {
        await output('0');
        await step('new', () => 1);
        await output('1');
        await step('a', () => 2);
      },
      new Ledger(),
      stored('gone', 'a'),
    );
    expect(saidIn(ledger)).toEqual([['new = 1'], ['1']]);
  });

  const sayAll = async ({ message, progress, output }: TaskContext) => {
    await message('hello');
    await progress(77);
    await output('text');
  };

  it.each<[string, (context: TaskContext) => Promise<unknown>]>([
    ['returns', async () => 'done'],
    ['fails', () => Promise.reject(new Error('it fails'))],
    ['asks', ({ suspend }) => suspend({ reasonCode: 'R', allowedActions: ['a'] })],
  ])('that is asked for no more takes nothing from what a run says that then %s', async (_what, end) => {
    const ledger = await run(
      async (_, context) => {
        await context.output('before a');
        await context.step('a', () => 0);
        await sayAll(context);
        return end(context);
      },
      new Ledger(),
      stored('a', 'gone'),
    );
    expect(saidIn(ledger).flat()).toEqual(['hello', 77, 'text']);
    expect(ledger.endings).toHaveLength(1);
  });

  it('that fails again before the boundary, and whose error the handler catches, says nothing twice', async () => {
    let tries = 0;
    const handler: TaskHandler = async (_, { step, output }) => {
      const failing = async () => {
        tries += 1;
        await output('bad ');
        throw new TaskFailure('NO', 'not this one');
      };
      await step('main', failing, { retries: 1 }).catch(() => output('instead '));
      await step('second', () => output('second '));
      await output('end');
    };
    const first = await run(handler, new Ledger(), []);
    const again = await run(handler, new Ledger(), stored('second'));
    expect(saidIn(first).flat().join('')).toBe('bad instead second second = nullend');
    expect(saidIn(again).flat()).toEqual(['end']);
    expect(tries).toBe(2);
  });

  it('that is new keeps what its last try says, before the boundary and behind it', async () => {
    const gate = Promise.withResolvers<void>();
    let tries = 0;
    const ledger = await run(
      async (_, { step, output }) => {
        await output('as before');
        const body = async () => {
          tries += 1;
          await output(`try ${tries} `);
          if (tries === 1) throw new Error('again');
          await gate.promise;
          await output('goes on');
        };
        const fresh = step('new', body, { retries: 1 });
        while (tries < 2) await turn();
        await step('old', () => 0);
        gate.resolve();
        await fresh;
      },
      new Ledger(),
      stored('old'),
    );
    expect(saidIn(ledger).flat().join('')).toBe('try 2 goes onnew = null');
  });

  it('holds at most a mebibyte back, and says so', async () => {
    const reports: string[] = [];
    const ledger = new Ledger();
    const handler: TaskHandler = async (_, { output }) => {
      for (let n = 0; n < 20; n += 1) await output('x'.repeat(60_000));
    };
    await new Attempt(ledger, (kind, error) => reports.push(`${kind}: ${String(error)}`)).run(handler, {
      ...TASK,
      steps: stored('gone'),
    });
    expect(saidIn(ledger).flat().join('')).toHaveLength(17 * 60_000);
    expect(reports).toEqual([
      'call_refused: Error: What a run says before its last finished step has returned may have at most 1048576 bytes.',
    ]);
    expect(ledger.endings).toMatchObject([{ kind: 'complete' }]);
  });

  it('has an index and a version in its key, and a key is used once in a run', async () => {
    const ledger = await run(
      async (_, { step }) => {
        for (const index of [0, 3]) await step('item', () => index, { index });
        await step('draft', () => 2, { version: 2 });
        await step('draft', () => 1, { version: 1 });
        await step('item', () => 9, { index: 1, version: 4 });
        return codeOf(step('item', () => 9, { index: 3 }));
      },
      new Ledger(),
      [],
    );
    expect(saidIn(ledger).flat()).toEqual(['item#0 = 0', 'item#3 = 3', 'draft@2 = 2', 'draft = 1', 'item#1@4 = 9']);
    expect(ledger.endings).toEqual([{ kind: 'complete', resultJson: '"STEP_REPEATED"' }]);
  });

  it.each<[string, (step: TaskContext['step']) => Promise<unknown>]>([
    ['a key with a space', (step) => step('a b', () => 1)],
    ['a key with an index of its own', (step) => step('a#1', () => 1)],
    ['no key', (step) => step('', () => 1)],
    ['a key that is too long', (step) => step('k'.repeat(129), () => 1)],
    ['an index below 0', (step) => step('a', () => 1, { index: -1 })],
    ['version 0', (step) => step('a', () => 1, { version: 0 })],
    ['half a retry', (step) => step('a', () => 1, { retries: 0.5 })],
    ['no time', (step) => step('a', () => 1, { timeoutSeconds: 0 })],
    ['a result that has U+0000', (step) => step('a', () => '\0')],
  ])('with %s is refused', async (_what, call) => {
    const { endings, sent } = await run((_, { step }) => codeOf(call(step)), new Ledger(), []);
    expect(endings).toEqual([{ kind: 'complete', resultJson: '"REQUEST_VALIDATION_ERROR"' }]);
    expect(sent).toEqual([]);
  });

  it('has a result of at most 64 KiB', async () => {
    const { endings, sent } = await run(
      async (_, { step }) => [
        await codeOf(step('most', () => 'x'.repeat(65_534))),
        await codeOf(step('more', () => 'x'.repeat(65_535))),
      ],
      new Ledger(),
      [],
    );
    expect(endings).toEqual([{ kind: 'complete', resultJson: '["done","PAYLOAD_TOO_LARGE"]' }]);
    expect(sent).toHaveLength(1);
  });

  it('may be open beside another one as long as none puts anything out', async () => {
    const ledger = await run(
      async (_, { step, output, progress, message }) => {
        const results = await Promise.all(['a', 'b', 'c'].map((key) => step(key, async () => turn(key))));
        const gate = Promise.withResolvers<void>();
        const speaks = step('speaks', async () => {
          await output('alone');
          await gate.promise;
        });
        await turn();
        const second = await codeOf(step('second', () => 1));
        gate.resolve();
        await speaks;
        const [left, right] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
        const both = [step('left', () => left.promise), step('right', () => right.promise)];
        const refused = await Promise.all([codeOf(output('x')), codeOf(progress(1)), codeOf(message('y'))]);
        left.resolve();
        right.resolve();
        await Promise.all(both);
        return [...results, second, ...refused];
      },
      new Ledger(),
      [],
    );
    const overlaps = Array<string>(4).fill('STEP_OVERLAP');
    expect(ledger.endings).toEqual([{ kind: 'complete', resultJson: JSON.stringify(['a', 'b', 'c', ...overlaps]) }]);
    expect(saidIn(ledger).flat()).not.toContain('x');
  });

  it('that overlaps, and that nobody heard of, fails the task with STEP_OVERLAP', async () => {
    const { endings } = await run(
      async (_, { step, output }) => {
        void step('a', async () => {
          await output('x');
          await turn();
        });
        await turn();
        void step('b', () => 1);
      },
      new Ledger(),
      [],
    );
    expect(endings).toMatchObject([{ kind: 'fail', code: 'STEP_OVERLAP', retryable: false }]);
  });

  it('tries again, and says first that what it put out is void', async () => {
    let tries = 0;
    const ledger = await run(
      async (_, { step, output }) => {
        await output('before');
        return step(
          'draft',
          async () => {
            tries += 1;
            if (tries > 1) await output(`try ${tries}`);
            if (tries < 4) throw new Error('not yet');
            return tries;
          },
          { retries: 3 },
        );
      },
      new Ledger(),
      [],
    );
    const retry = (since: number) => ({ key: 'draft', state: 'retrying', supersedesAfterEventId: String(since) });
    expect(saidIn(ledger).flat()).toEqual(['before', 'try 2', retry(2), 'try 3', retry(4), 'try 4', 'draft = 4']);
    expect(ledger.endings).toEqual([{ kind: 'complete', resultJson: '4' }]);
  });

  it('has no further try after its last one, nor after a failure that is final', async () => {
    const tries = { often: 0, final: 0 };
    const { endings } = await run(
      async (_, { step }) => {
        const often = step('often', () => Promise.reject(new Error(`try ${(tries.often += 1)}`)), { retries: 1 });
        const final = step('final', () => Promise.reject(new TaskFailure('NO', `${(tries.final += 1)}`)), {
          retries: 5,
        });
        return [await codeOf(often), await codeOf(final)];
      },
      new Ledger(),
      [],
    );
    expect(endings).toEqual([{ kind: 'complete', resultJson: '["try 2","NO"]' }]);
    expect(tries).toEqual({ often: 2, final: 1 });
  });

  it('is over after its time, and tells its body', async () => {
    const told: string[] = [];
    const { endings } = await run(
      async (_, { step }) =>
        codeOf(
          step(
            'slow',
            ({ signal }) =>
              new Promise((_resolve, reject) => {
                signal.addEventListener('abort', () => {
                  told.push('stop');
                  reject(signal.reason as Error);
                });
              }),
            { timeoutSeconds: 0.02, retries: 1 },
          ),
        ),
      new Ledger(),
      [],
    );
    expect(endings).toEqual([{ kind: 'complete', resultJson: '"The step slow took longer than 0.02 s."' }]);
    expect(told).toEqual(['stop', 'stop']);
  });

  it('whose time was up puts nothing out any more, awaited or not, and the handler is not to blame', async () => {
    const ended = Promise.withResolvers<string[]>();
    const reports: string[] = [];
    let tries = 0;
    const ledger = new Ledger();
    const handler: TaskHandler = (_, { step, output, suspend, attach }) =>
      step(
        'slow',
        async () => {
          tries += 1;
          if (tries > 1) {
            const refused = await ended.promise;
            await output('second');
            return refused;
          }
          await output('first');
          await new Promise((resolve) => setTimeout(resolve, 40));
          void output('unheard');
          const question = suspend({ reasonCode: 'LATE', allowedActions: ['a'] });
          const calls = [output('late'), step('inner', () => 1), attach('late.txt', 'x'), question];
          ended.resolve(await Promise.all(calls.map(codeOf)));
          return undefined;
        },
        { timeoutSeconds: 0.02, retries: 1 },
      );
    // Its second try has no time limit that counts: it ends when the first one has called.
    await new Attempt(ledger, (kind, error) => reports.push(`${kind}: ${String(error)}`)).run(handler, {
      ...TASK,
      steps: [],
    });
    const over = 'The try of the step slow was over before this call.';
    const result = JSON.stringify(Array<string>(4).fill(over));
    const retry = { key: 'slow', state: 'retrying', supersedesAfterEventId: '1' };
    expect(saidIn(ledger).flat()).toEqual(['first', retry, 'second', `slow = ${result}`]);
    expect(ledger.endings).toEqual([{ kind: 'complete', resultJson: result }]);
    expect(reports).toEqual([`call_refused: Error: ${over}`]);
  });

  it('is the only one that puts anything out while it is open', async () => {
    const ledger = await run(
      async (_, { step, output, progress }) => {
        const gate = Promise.withResolvers<void>();
        const fast = step('fast', () => 1);
        const slow = step('slow', () => gate.promise);
        await Promise.race([fast, slow]);
        const refused = [await codeOf(output('beside')), await codeOf(progress(1))];
        gate.resolve();
        await slow;
        await output('behind');
        return refused;
      },
      new Ledger(),
      [],
    );
    expect(ledger.endings).toEqual([{ kind: 'complete', resultJson: '["STEP_OVERLAP","STEP_OVERLAP"]' }]);
    expect(saidIn(ledger).flat()).toEqual(['fast = 1', 'slow = null', 'behind']);
  });

  it('may put something out in a callback whose place is not known', async () => {
    const shared = new EventEmitter();
    const outside = new AsyncResource('shared');
    const ledger = await run(
      (_, { step, output }) =>
        step('listens', async () => {
          const heard = new Promise<void>((resolve) => {
            shared.once('data', (data: string) => void output(data).then(resolve));
          });
          outside.runInAsyncScope(() => shared.emit('data', 'from a pool'));
          await heard;
        }),
      new Ledger(),
      [],
    );
    expect(saidIn(ledger).flat()).toEqual(['from a pool', 'listens = null']);
  });

  it('that nobody waits for is finished before the attempt ends', async () => {
    const { sent, endings } = await run(
      (_, { step }) => {
        void step('late', async () => turn('late'));
        return 'done';
      },
      new Ledger(),
      [],
    );
    expect(sent).toEqual([{ batchSeq: 1, said: ['late = "late"'] }]);
    expect(endings).toEqual([{ kind: 'complete', resultJson: '"done"' }]);
  });

  it('runs, and is not stored, where the service stores no steps', async () => {
    const ledger = await run(async (_, { step, output }) => {
      await output('a');
      return step('load', async () => {
        await output('b');
        return new Date(0);
      });
    });
    expect(saidIn(ledger).flat().join('')).toBe('ab');
    expect(ledger.endings).toEqual([{ kind: 'complete', resultJson: '"1970-01-01T00:00:00.000Z"' }]);
  });
});

describe('A question of a handler', () => {
  const answers = ['approve', '2'].map((suspendId) => ({
    suspendId,
    clientActionId: suspendId,
    actionType: 'yes',
    payload: {},
    actorId: 'me',
  }));
  const asked = (...keys: (string | undefined)[]): TaskHandler => {
    return async (_, { suspend }) => {
      for (const key of keys)
        await suspend({ ...(key !== undefined && { key }), reasonCode: 'R', allowedActions: ['yes'] });
    };
  };

  it.each([
    ['a key twice', ['approve', 'approve'], 'approve'],
    ['as its key the number of one without', ['2', undefined], '2'],
  ])('that has %s is refused, and never has the answer to another one', async (_what, keys, name) => {
    const ledger = new Ledger();
    await new Attempt(ledger, () => undefined).run(asked(...keys), { ...TASK, answers });
    const message = `The question ${name} was asked before in this run of the handler.`;
    expect(ledger.endings).toEqual([{ kind: 'fail', code: 'QUESTION_REPEATED', message, retryable: false }]);
  });
});

describe('A file that a handler attaches', () => {
  const filesOf = ({ sent }: Ledger) => sent.flatMap(({ said }) => said);
  const temporary = async () =>
    (await readdir(tmpdir())).filter((name) => name.startsWith(`taskbridge-${process.pid}-`));

  it.each<[string, () => Parameters<TaskContext['attach']>[1], string]>([
    ['text', () => 'ä', 'ä'],
    ['bytes', () => new Uint8Array([97, 98]), 'ab'],
    ['a view of bytes', () => Buffer.from('xabx').subarray(1, 3), 'ab'],
    ['a Blob', () => new Blob(['a', 'b']), 'ab'],
    ['a stream of Node', () => Readable.from(['a', Buffer.from('b')]), 'ab'],
    ['a stream of the web', () => new Blob(['ab']).stream() as never, 'ab'],
    [
      'a generator',
      async function* () {
        yield 'a';
        yield Buffer.from('b');
      },
      'ab',
    ],
    ['nothing', () => '', ''],
  ])('may be %s, and comes again when the call gets no answer', async (_what, bytes, content) => {
    const before = await temporary();
    const ledger = new Ledger();
    ledger.faults.push(new Unavailable('away'));
    await run(async (_, { attach }) => (await attach('a.txt', bytes())).attachmentId, ledger);
    expect(filesOf(ledger)).toEqual([`a.txt: ${content}`, `a.txt: ${content}`]);
    expect(ledger.endings).toEqual([{ kind: 'complete', resultJson: JSON.stringify(content) }]);
    expect((await temporary()).filter((name) => !before.includes(name))).toEqual([]);
  });

  it('is what it was when it was attached, and the attempt ends behind it', async () => {
    const ledger = await run((_, { attach }) => {
      const bytes = new Uint8Array([97]);
      void attach('a.txt', bytes);
      bytes[0] = 98;
      void attach('Cafe\u0301', Readable.from(['c']));
      return 'done';
    });
    expect(filesOf(ledger)).toEqual(['a.txt: a', 'Caf\u00e9: c']);
    expect(ledger.endings).toEqual([{ kind: 'complete', resultJson: '"done"' }]);
  });

  it.each<[string, (context: TaskContext) => Promise<unknown>]>([
    ['no name', ({ attach }) => attach('', 'x')],
    ['half a character in its name', ({ attach }) => attach('\ud83e', 'x')],
    ['a type that is none', ({ attach }) => attach('a', 'x', { mediaType: 'text/plain\r\nX-Evil: 1' })],
    ['no bytes', ({ attach }) => attach('a', undefined as never)],
    ['a number', ({ attach }) => attach('a', 1 as never)],
  ])('with %s is refused, for good where the handler lets that out', async (_what, attach) => {
    expect((await run(async (_, context) => codeOf(attach(context)))).endings).toEqual([
      { kind: 'complete', resultJson: '"ATTACHMENT_REFUSED"' },
    ]);
    const { endings } = await run((_, context) => void attach(context));
    expect(endings).toEqual([expect.objectContaining({ code: 'ATTACHMENT_REFUSED', retryable: false })]);
  });

  it('that the service refuses fails the task for good, and a stream that fails is the handler’s own error', async () => {
    const ledger = new Ledger();
    ledger.faults.push(new Refused('UPLOAD_FORBIDDEN', 'The quota is used up.'));
    await run((_, { attach }) => attach('a', 'x'), ledger);
    const message = 'A file was refused. The quota is used up.';
    expect(ledger.endings).toEqual([{ kind: 'fail', code: 'ATTACHMENT_REFUSED', message, retryable: false }]);
    const failing = async function* () {
      yield 'a';
      throw new TaskFailure('SOURCE', 'It broke.', { retryable: true });
    };
    const { endings } = await run((_, { attach }) => attach('a', failing()));
    expect(endings).toEqual([{ kind: 'fail', code: 'SOURCE', message: 'It broke.', retryable: true }]);
  });

  it('is the stored one in a later run, until the last finished step has returned', async () => {
    const stored: Attachment = {
      attachmentId: 'before',
      filename: 'a.txt',
      contentType: 'text/plain',
      sizeBytes: 1,
      sha256: '',
      source: 'worker',
    };
    const ledger = new Ledger();
    const finished = [{ key: 'load', resultJson: '1' }];
    const handler: TaskHandler = async (_, { attach, step }) => {
      const ids = [(await attach('a.txt', 'again')).attachmentId, (await attach('new.txt', 'new')).attachmentId];
      await step('load', () => 2);
      ids.push((await attach('a.txt', 'later')).attachmentId);
      return ids;
    };
    const created = { ...stored, source: undefined, filename: 'new.txt' } as unknown as Attachment;
    const task = { ...TASK, steps: finished, attachments: [stored, created] };
    await new Attempt(ledger, () => undefined).run(handler, task);
    expect(filesOf(ledger)).toEqual(['new.txt: new', 'a.txt: later']);
    expect(ledger.endings).toEqual([{ kind: 'complete', resultJson: '["before","new","later"]' }]);
  });

  it('may be attached in steps side by side', async () => {
    const { endings } = await run(
      async (_, { attach, step }) =>
        Promise.all(['a', 'b'].map((name) => step(name, async () => (await attach(name, name)).attachmentId))),
      new Ledger(),
      [],
    );
    expect(endings).toEqual([{ kind: 'complete', resultJson: '["a","b"]' }]);
  });
});
