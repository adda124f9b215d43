// Handlers that run inside the service and in a worker alike; test/worker-sdk.test.ts compares what the two make of them.
import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { TaskFailure } from '@taskbridge/worker';

const told = (promise) => promise.then(() => 'stored').catch(({ code }) => code);

export const handlers = {
  /** Says everything there is to say, one thing after the other. */
  'both.everything': async (input, context) => {
    const { progress, message, output, metadata, taskId, taskType, attempt, attachments = [] } = context;
    await progress(10);
    await progress(20.5, { stage: 'reading', message: 'half way' });
    await message('plain');
    await message('a warning', 'warning');
    await output('one ');
    await output('two');
    await output('to stderr', { channel: 'log' });
    await output('instead', { op: 'replace' });
    const refused = [
      await told(progress(200)),
      await told(message('x', 'loud')),
      await told(output(7)),
      await told(output('x', { op: 'insert' })),
      await told(output('x'.repeat(70_000))),
    ];
    const known = typeof taskId === 'string' && context.signal instanceof AbortSignal;
    return { input, metadata, taskType, attempt, attachments, refused, known };
  },
  /** Asks twice, and goes by the answers. */
  'both.ask': async (_input, { suspend, resume, output }) => {
    await output(resume ? `after ${resume.actionType};` : 'at first;');
    const first = await suspend({ reasonCode: 'FIRST', allowedActions: ['yes', 'no'] });
    if (first.actionType === 'no') throw new TaskFailure('REFUSED', 'The owner said no.');
    const second = await suspend({
      key: 'second',
      reasonCode: 'SECOND',
      allowedActions: ['name'],
      kind: 'EXTERNAL_CONFIRMATION_PENDING',
      schemaVersion: 3,
      interaction: { form: ['a', 'b'] },
      uiHints: { wide: true },
    });
    return { first: first.payload, second: second.payload, actors: first.actorId === second.actorId };
  },
  /** Does not let the end of its invocation through. */
  'both.ask-and-swallow': async (_input, { suspend }) => {
    const answer = await suspend({ reasonCode: 'ONLY', allowedActions: ['yes'] }).catch(() => undefined);
    return { answered: answer !== undefined };
  },
  'both.fail': (input) => {
    throw new TaskFailure('OWN_CODE', 'in own words', input);
  },
  'both.throw': () => {
    throw new Error('a secret that clients must not read');
  },
  'both.unserialisable': () => 10n,
  'both.too-large': () => 'x'.repeat(2 * 1024 * 1024),
  'both.nothing': () => undefined,
  'both.function': () => () => 'not JSON',
  /** Leaves promises alone that reject. */
  'both.careless': async (_input, { suspend, progress, output }) => {
    void progress(-1);
    void output('x'.repeat(70_000));
    void suspend({ reasonCode: 'NOBODY_WAITS', allowedActions: ['go'] });
    return 'unheard';
  },
  'both.fail-beyond-limits': () => {
    throw new TaskFailure('C'.repeat(300), 'm'.repeat(9_000), { retryAfterMs: 1.5 });
  },
  /** Waits until its signal aborts. */
  'both.sleep': async (input, { signal, message, attempt }) => {
    console.log(`began ${attempt}`);
    await message('asleep');
    await delay(input.ms ?? 60_000, undefined, { signal }).catch((error) => {
      console.log(`stopped ${signal.reason.why}`);
      throw error;
    });
    return 'slept';
  },
  /** Does not care about its signal. */
  'both.stubborn': async (input, { message }) => {
    await message('working');
    await delay(input.ms);
    return 'done anyway';
  },
  /** `count` small appends within a second, cut anywhere: within characters, too. */
  'both.stream': async ({ count, seconds = 1, text: whole }, { output, signal }) => {
    const atATime = 10;
    const pieces = Array.from({ length: count }, (_, n) => {
      const at = (place) => Math.floor((place * whole.length) / count);
      return whole.slice(at(n), at(n + 1));
    });
    const startedAt = performance.now();
    for (let n = 0; n < count; n += atATime) {
      for (const piece of pieces.slice(n, n + atATime)) void output(piece);
      const dueAt = startedAt + (1000 * seconds * (n + atATime)) / count;
      await delay(Math.max(0, dueAt - performance.now()), undefined, { signal });
    }
    return { length: whole.length };
  },
  'both.read': async (_input, { attachments }) =>
    Promise.all(
      attachments.map(async ({ filename, sizeBytes, sha256, open }) => {
        return { filename, sizeBytes, sha256, text: await text(await open()) };
      }),
    ),
  /** Cut within characters, with time and another channel between the halves. */
  'both.halves': async (_input, { output }) => {
    const [first, second] = '🦊'.split('');
    await output(`a ${first}`);
    await output(`b ${first}`, { channel: 'other' });
    await output(`${second} fox`);
    await output(`${second} vixen`, { channel: 'other' });
  },
  'both.trace': (_input, { traceparent }) => ({ traceparent: traceparent ?? null }),
};
