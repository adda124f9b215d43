// Handlers that run inside the service and in a worker alike; test/execution/handler-contract.test.ts compares what the two make of them.
import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { TaskFailure } from '@taskbridge/worker';

const told = (promise) => promise.then(() => 'stored').catch(({ code }) => code);

/** JSON from a client has no half characters; here `~` and `_` are the halves of a fox. */
const fromUnits = (text) => text.replaceAll('~', '\ud83e').replaceAll('_', '\udd8a');

function nested(depth) {
  let value = [];
  for (let around = 1; around < depth; around += 1) value = { a: value };
  return value;
}

function cycle() {
  const value = { name: 'x' };
  value.self = [value];
  return value;
}

const throwing = () => {
  throw new Error('a secret that clients must not read');
};

async function* lines() {
  for (let n = 1; n <= 3; n += 1) yield `${n},${'x'.repeat(40_000)}\n`;
}

const RESULTS = {
  nothing: () => undefined,
  function: () => () => 'not JSON',
  symbol: () => Symbol('s'),
  null: () => null,
  text: () => 'ä \u2028 🦊',
  numbers: () => [-0, 1e300, 5e-324, 2 ** 60, 0.1, 10n, 2n ** 63n],
  date: () => new Date(0),
  map: () => new Map([[1, 2]]),
  'members without a word': () => ({ a: undefined, b: () => 1, c: [undefined, Symbol('c')] }),
  'as deep as may be': () => nested(31),
  'as large as may be': () => 'x'.repeat(1_048_309 - 2),
  'one byte more': () => 'x'.repeat(1_048_309 - 1),
  'too large': () => 'x'.repeat(2 * 1024 * 1024),
  'too large in bytes': () => 'ä'.repeat(600 * 1024),
  'U+0000': () => ({ t: 'a\0b' }),
  'half a character': () => ({ t: 'cut \ud83d' }),
  'half a character in a name': () => ({ '\ude00': 1 }),
  'U+0000 in a name': () => ({ 'a\0': 1 }),
  constructor: () => ({ constructor: 'x' }),
  __proto__: () => JSON.parse('{"__proto__":{"a":1}}'),
  'too deep': () => nested(32),
  'deep enough to overflow': () => nested(100_000),
  NaN: () => ({ a: [Number.NaN] }),
  Infinity: () => Number.NEGATIVE_INFINITY,
  cycle,
  'a BigInt beyond doubles': () => 10n ** 309n,
  'a toJSON that throws': () => ({ toJSON: throwing }),
  'a getter that throws': () => Object.defineProperty({}, 'a', { enumerable: true, get: throwing }),
  'a proxy that throws': () => new Proxy({}, { ownKeys: throwing }),
};

const FAILURES = {
  ...Object.fromEntries(
    [8_190, 8_191, 8_192, 8_193].map((length) => [
      `a message cut at ${length}`,
      () => new TaskFailure('BAD', `${'m'.repeat(length - 1)}🦊`),
    ]),
  ),
  ...Object.fromEntries(
    [254, 255, 256].map((length) => [
      `a code cut at ${length}`,
      () => new TaskFailure(`${'C'.repeat(length - 1)}🦊`, 'm', { retryable: true, retryAfterMs: 1 }),
    ]),
  ),
  'a message that is not text': () => new TaskFailure('BAD', 'a\0b \ud83d', { retryable: false }),
  'a code that is not text': () => new TaskFailure('B\0\ud83d', 'm'),
  'no code': () => new TaskFailure('', 'nameless, and final'),
  'a code that is a number': () => new TaskFailure(7, 'm'),
  'options that are none': () => new TaskFailure('BAD', 'm', { retryable: 'yes', retryAfterMs: 'soon' }),
  'no options': () => new TaskFailure('BAD', 'm', null),
  'a code that throws': () => Object.defineProperty(new TaskFailure('', 'm'), 'code', { get: throwing }),
};

const REFUSED = {
  'output that is too large': ({ output }) => output('y'.repeat(70_000)),
  'output with U+0000': ({ output }) => output('a\0b'),
  'output with half a character': ({ output }) => output('\ude00 behind'),
  'output that is no text': ({ output }) => output(7),
  'output to a channel that is no text': ({ output }) => output('x', { channel: '\ud83d' }),
  'an unknown op': ({ output }) => output('x', { op: 'insert' }),
  'progress of 200': ({ progress }) => progress(200),
  'progress of NaN': ({ progress }) => progress(Number.NaN),
  'a stage with U+0000': ({ progress }) => progress(1, { stage: 'a\0' }),
  'a message that is too large': ({ message }) => message('y'.repeat(70_000)),
  'a message with half a character': ({ message }) => message('\ud83d'),
  'a message of no known level': ({ message }) => message('x', 'loud'),
  'a question without actions': ({ suspend }) => suspend({ reasonCode: 'A', allowedActions: [] }),
  'a question that is none': ({ suspend }) => suspend(),
};

const question = (members) => () => ({ reasonCode: 'ASKED', allowedActions: ['yes'], ...members });
const QUESTIONS = {
  'with everything': question({
    key: 'k',
    kind: 'SYSTEM_PAUSED',
    schemaVersion: 2,
    uiHints: { a: 1 },
    interaction: { b: [null] },
  }),
  'that expires': question({ expiresAt: new Date('2999-01-01T00:00:00Z') }),
  'without a reason': question({ reasonCode: '' }),
  'with a long reason': question({ reasonCode: 'R'.repeat(256) }),
  'with a hundred and one actions': question({ allowedActions: Array.from({ length: 101 }, (_, n) => `a${n}`) }),
  'with an action that is no text': question({ allowedActions: [7] }),
  'of an unknown kind': question({ kind: 'OTHER' }),
  'of version 0': question({ schemaVersion: 0 }),
  'with a key that is not ASCII': question({ key: 'ä' }),
  'that expires at no time': question({ expiresAt: 'soon' }),
  'that expires after all times': question({ expiresAt: 8.64e15 }),
  'with U+0000': question({ interaction: { a: '\0' } }),
  'with constructor': question({ uiHints: { constructor: 1 } }),
  'too deep': question({ interaction: nested(32) }),
  'whose interaction is a list': question({ interaction: [] }),
  'with a BigInt beyond doubles': question({ interaction: { a: 10n ** 309n } }),
  'that is too large': question({ interaction: { a: 'x'.repeat(65_536) } }),
  'with an unknown member': question({ question: 'Is it?' }),
};

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
  /** Numbers that a double does not keep: as they arrive, as texts, and as they are written. */
  'both.digits': (input, { metadata, rawJson }) => ({
    input: rawJson(input),
    metadata: rawJson(metadata),
    nearest: input.id,
    written: BigInt(/"id":([0-9]+)/.exec(rawJson(input))[1]),
  }),
  'both.ask-digits': async (_input, { suspend, rawJson }) => {
    const { payload } = await suspend({
      reasonCode: 'ID',
      allowedActions: ['approve'],
      interaction: { id: 9007199254740993n },
    });
    return rawJson(payload);
  },
  'both.throw': () => {
    throw new Error('a secret that clients must not read');
  },
  'both.nothing': () => undefined,
  /** Ends with a result that cannot come as JSON. */
  'both.result': ({ name }) => RESULTS[name](),
  /** Fails in words that cannot come as JSON. */
  'both.failure': ({ name }) => {
    throw FAILURES[name]();
  },
  /** Leaves a promise alone that rejects, and goes on. */
  'both.careless': async ({ name }, context) => {
    void REFUSED[name](context);
    await context.progress(50);
    await delay(100);
    return 'unheard';
  },
  /** Talks on after its end, and has an error that nobody can look at. */
  'both.late': (_input, { message, output }) => {
    setTimeout(() => {
      void output('x');
      void message('y');
    }, 100);
    return 'done';
  },
  'both.revoked': () => {
    const { proxy, revoke } = Proxy.revocable({}, {});
    revoke();
    throw proxy;
  },
  'both.careless-often': ({ count }, { progress }) => {
    for (let n = 0; n < count; n += 1) void progress(-1);
  },
  /** Talks on after its signal aborted, and does not listen. */
  'both.talks-on': async (_input, { message, output, signal }) => {
    await message('before');
    await delay(60_000, undefined, { signal }).catch(() => undefined);
    void output('after');
    return 'done anyway';
  },
  /** Listens to the same, and goes on. */
  'both.careful': async ({ name }, context) => {
    const code = await told(REFUSED[name](context));
    return { code };
  },
  /** Lets the same through. */
  'both.outspoken': async ({ name }, context) => {
    await REFUSED[name](context);
  },
  /** Many small pieces: awaited, or not. */
  'both.tokens': async ({ count, text: token, awaits }, { output }) => {
    for (let n = 0; n < count; n += 1) {
      const said = output(token);
      if (awaits) await said;
    }
    return { length: count * token.length };
  },
  /** Pieces as they come, cut anywhere. */
  'both.pieces': async ({ pieces }, { output }) => {
    for (const [data, options] of pieces) await output(fromUnits(data), options);
  },
  /** Sends messages that are as large as an event may be. */
  'both.large-messages': async ({ count, length }, { message, progress }) => {
    for (let n = 0; n < count; n += 1) void message(String(n % 10).repeat(length));
    await progress(100, { stage: 's'.repeat(length) });
  },
  'both.question': async ({ name }, { suspend }) => suspend(QUESTIONS[name]()),
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
  /** Steps in a row, each with its own output. Its first attempt fails where the input says. */
  'both.steps': async (
    { count = 3, failAfter, pauseMs = 0 },
    { step, output, progress, message, attempt, signal, taskId },
  ) => {
    await output('begin;');
    const results = [];
    for (let index = 0; index < count; index += 1) {
      await message(`before ${index}`);
      results.push(
        await step(
          'part',
          async ({ idempotencyKey }) => {
            console.log(`ran ${taskId} ${index} ${attempt}`);
            console.log(`effect ${idempotencyKey}`);
            await output(`${index};`);
            await delay(pauseMs, undefined, { signal });
            return { index, attempt, isNamed: idempotencyKey === `${taskId}:part#${index}` };
          },
          { index },
        ),
      );
      await progress((100 * (index + 1)) / count);
      await output('void;');
      if (attempt === 1 && failAfter === index) throw new Error('lost');
    }
    return results;
  },
  /** Streams a plan, has its draft in a step, asks, and goes on. */
  'both.agent': async (_input, { output, step, suspend }) => {
    await output('plan;');
    await output('outside;', { channel: 'log' });
    await step('draft', () => output('draft;'));
    await output('outside;', { channel: 'log' });
    await suspend({ reasonCode: 'APPROVAL', allowedActions: ['yes'] });
    await output('approved;');
  },
  /** A draft that is tried again within its attempt. */
  'both.step-retries': async (_input, { step, output }) => {
    let tries = 0;
    await output('once;');
    return step(
      'draft',
      async () => {
        tries += 1;
        await output(`try ${tries};`);
        if (tries < 3) throw new Error('not yet');
        return tries;
      },
      { retries: 2 },
    );
  },
  /** Overlaps, and does not listen. */
  'both.steps-overlap': async (_input, { step, output }) => {
    const first = step('a', async () => {
      await output('x');
      await delay(50);
    });
    await delay(10);
    void step('b', () => 1);
    await first;
  },
  'both.step-result': async ({ length }, { step }) => (await step('large', () => 'x'.repeat(length))).length,
  'both.step-digits': (_input, { step }) => step('digits', () => [9007199254740993n, 'ä \u2028']),
  /** Attaches in a step and outside of one, is interrupted once, and reads what is there. */
  'both.files': async (_input, { attach, attachments, attempt, step, suspend }) => {
    const made = await attach('plan.txt', `plan of attempt ${attempt}`, { mediaType: 'text/plain' });
    const kept = await step('draft', () => attach('draft.csv', lines(), { mediaType: 'text/csv' }));
    await suspend({ reasonCode: 'APPROVAL', allowedActions: ['yes'] });
    const last = await attach('last', new Uint8Array([1, 2, 3]));
    if (attempt === 1) throw new Error('lost');
    const texts = await Promise.all(
      attachments.map(async ({ filename, source, open }) => [filename, source, await text(await open())]),
    );
    return { made, kept, last, texts };
  },
  'both.attach': async ({ name, length, type }, { attach }) => {
    const { sizeBytes, contentType } = await attach(name, 'x'.repeat(length), type && { mediaType: type });
    return { sizeBytes, contentType };
  },
  'both.attach-careless': ({ length }, { attach }) => {
    void attach('large', 'x'.repeat(length));
    return 'done';
  },
  'both.trace': (_input, { traceparent }) => ({ traceparent: traceparent ?? null }),
};
