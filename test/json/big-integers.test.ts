import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { digitsOf, isBigInteger, marked, storedJson } from '#protocol/exact-json.js';
import { canonicalForm } from '../../src/json/canonical-json.js';
import { checkedBody } from '../../src/json/json-body.js';
import { numberFault } from '../../src/json/json-number.js';
import { JsonText } from '../../src/json/json-text.js';
import { exactTreeOf } from '../../src/json/json-tree.js';
import { type Answer, type Client, expectError, newPrincipal, uniqueId } from '../support/client.js';
import { checkInvariants, storedEnvelopes } from '../support/fold.js';
import { rawElements, transports } from '../support/follow.js';
import { jsonValue } from '../support/json-value.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { type Service, startService } from '../support/service.js';
import { startWorker, type WorkerProcess } from '../support/worker.js';
import { type Lease, WITH_WORKERS, WorkerClient } from '../support/worker-client.js';

const JUST_BEYOND = '9007199254740993';
const LARGEST_SIGNED = '9223372036854775807';
const LONGEST = '1' + '0'.repeat(307) + '7';

/** As a client may spell it, and as the service stores it. */
const SENT = `{ "id": ${JUST_BEYOND}, "ids": [ ${LARGEST_SIGNED} , -${JUST_BEYOND}, ${LONGEST} ], "zero": -0, "tenth": 0.1, "text": "${JUST_BEYOND}" }`;
const KEPT = `{"id":${JUST_BEYOND},"ids":[${LARGEST_SIGNED},-${JUST_BEYOND},${LONGEST}],"zero":0,"tenth":0.1,"text":"${JUST_BEYOND}"}`;

const LOSSY_BUT_NO_INTEGER = [
  '1e400',
  '-1e400',
  '1e-400',
  '9007199254740993.0',
  '9007199254740993e0',
  '9007199254740993.5',
];
const TOO_LARGE = ['1' + '0'.repeat(309), '9'.repeat(401), '7'.repeat(1_000_000)];

describe('A big integer in JSON', () => {
  it.each([JUST_BEYOND, `-${JUST_BEYOND}`, LARGEST_SIGNED, '1152921504606846976', '12345678901234567890', LONGEST])(
    '%s is kept by its digits',
    (literal) => {
      expect([isBigInteger(literal), marked(literal) === literal]).toEqual([true, false]);
    },
  );

  it.each([
    '0',
    '-0',
    '0.1',
    '9007199254740992',
    '1e21',
    '18446744073709552000',
    '1' + '0'.repeat(300),
    ...LOSSY_BUT_NO_INTEGER,
    TOO_LARGE[0] ?? '',
  ])('%s is none', (literal) => {
    expect([isBigInteger(literal), marked(`[${literal}]`)]).toEqual([false, `[${literal}]`]);
  });

  const literal = fc.oneof(
    fc.bigInt({ min: -(10n ** 40n), max: 10n ** 40n }).map(String),
    fc.bigInt({ min: 2n ** 53n - 4n, max: 2n ** 53n + 4n }).map(String),
    fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => JSON.stringify(value)),
  );
  /** Texts with literals of any kind among strings that look like literals. */
  const texts = fc
    .array(
      fc.oneof(
        literal,
        jsonValue().map((value) => JSON.stringify(value)),
        literal.map((text) => JSON.stringify(text)),
      ),
    )
    .map((elements) => `[${elements.join(',')}]`)
    .filter((text) => !text.includes('\\u0000'));

  it('comes back from its marked tree with every digit, and nothing else changes', () => {
    fc.assert(
      fc.property(texts, (text) => {
        const withoutBig = text.replace(/"(?:[^"\\]|\\.)*"|-?[0-9][0-9.eE+-]*/g, (token) =>
          isBigInteger(token) ? token : token.startsWith('"') ? token : JSON.stringify(Number(token)),
        );
        expect(unescaped(storedJson(JSON.parse(marked(text))))).toBe(withoutBig);
      }),
      { numRuns: 1_000 },
    );
  });

  it('is kept exactly where 0.1.0 refused an integer within the range of a double', () => {
    fc.assert(
      fc.property(literal, (text) => {
        const refused = numberFault(text) === 'a number that a double does not keep exactly';
        expect(isBigInteger(text)).toBe(refused && /^-?\d+$/.test(text));
      }),
    );
  });

  it('has one canonical form, and it is its own', () => {
    expect(canonicalForm(`{"b":${JUST_BEYOND},"a":"${JUST_BEYOND}"}`)).toBe(
      `{"a":"${JUST_BEYOND}","b":${JUST_BEYOND}}`,
    );
    expect(canonicalForm('[1152921504606846976]')).not.toBe(canonicalForm('[1152921504606847000]'));
  });

  it('is a bigint in the exact tree, wherever the slices end', async () => {
    await fc.assert(
      fc.asyncProperty(texts, fc.integer({ min: 1, max: 40 }), async (text, slice) => {
        const json = storedJson(JSON.parse(marked(text)));
        const written = JSON.stringify(await exactTreeOf(new JsonText(json), slice), (_, value: unknown) =>
          typeof value === 'bigint' ? `\0${value}` : value,
        );
        expect(storedJson(JSON.parse(written))).toBe(json);
      }),
    );
  });

  it('is not a text of the same digits', () => {
    expect([digitsOf(JUST_BEYOND), digitsOf(`\0${JUST_BEYOND}`), digitsOf('\0x')]).toEqual([
      undefined,
      JUST_BEYOND,
      undefined,
    ]);
  });
});

const unescaped = (json: string) =>
  json.replace(/\\u(0085|2028|2029)/g, (_, code: string) => String.fromCharCode(parseInt(code, 16)));

describe('A body with a big integer', () => {
  const json = `{"n":[{"id":${JUST_BEYOND}}]}`;

  it('has no tree for a route without a shape, which could not keep it', async () => {
    const body = await checkedBody(Buffer.from(json));
    expect(() => body.toJSON()).toThrow('a number that a double does not keep exactly at offset');
  });

  it('keeps it where the shape asks for text, and nowhere else', async () => {
    const body = await checkedBody(Buffer.from(json));
    const { members } = await body.members({ n: 'text' });
    expect((members['n'] as JsonText).json).toBe(`[{"id":${JUST_BEYOND}}]`);
    const flat = async () => body.members({ n: { listOf: { id: 'value' } } });
    await expect(flat()).rejects.toThrow('a number that a double does not keep exactly');
  });
});

describe('A service', () => {
  let database: TestDatabase;
  let service: Service;
  let client: Client;
  let worker: WorkerClient;
  let sdk: WorkerProcess;

  beforeAll(async () => {
    database = await createTestDatabase();
    service = await startService({ DATABASE_URL: database.appUrl, ...WITH_WORKERS }, { lifetime: 'file' });
    client = newPrincipal(service.url);
    worker = new WorkerClient(service.url);
    sdk = startWorker({ url: service.url, token: worker.token, taskTypes: ['both.digits', 'both.ask-digits'] });
  });

  afterAll(async () => {
    sdk.kill('SIGKILL');
    await service.stop();
    await database.drop();
  });

  const post = <Body = Record<string, string>>(path: string, body: string): Promise<Answer<Body>> =>
    client.request<Body>('POST', path, {
      headers: {
        'Content-Type': 'application/json',
        ...(path.startsWith('/worker') && { Authorization: `Bearer ${worker.token}` }),
      },
      body,
    });
  const create = (id: string, taskType: string, members: string) =>
    post('/api/v1/tasks', `{"clientRequestId":"${id}","taskType":"${taskType}",${members}}`);
  const claim = async (taskType: string): Promise<{ text: string; lease: Lease }> => {
    const { text, body } = await post<{ leases: Lease[] }>(
      '/worker/v1/leases',
      `{"workerId":"w","taskTypes":["${taskType}"],"waitTimeoutMs":15000}`,
    );
    return { text, lease: body.leases[0] as Lease };
  };

  it('keeps the digits in every free-form place, from the create to the replay', async () => {
    const taskType = uniqueId('digits');
    const id = uniqueId('r');
    const created = await create(id, taskType, `"input":${SENT},"metadata":${SENT}`);
    expect(created.status).toBe(201);
    const taskId = created.body['taskId'] ?? '';
    const live = Object.values(transports).map((follow) => follow(service.url, taskId, null, client.headers));
    expect((await client.snapshot(taskId)).text).toContain(`"metadata":${KEPT}`);
    expect((await client.snapshot(taskId)).text).toContain(`"input":${KEPT}`);
    expect((await client.list({ taskType })).text).toContain(`"metadata":${KEPT}`);

    const first = await claim(taskType);
    expect(first.text).toContain(`"input":${KEPT},"metadata":${KEPT}`);
    const suspend = (suspendId: string, json: string) =>
      post(
        `/worker/v1/tasks/${taskId}/suspend`,
        `{"leaseToken":"${first.lease.leaseToken}","suspendId":"${suspendId}","kind":"SYSTEM_PAUSED","reasonCode":"R","allowedActions":["ok"],"interaction":${json},"uiHints":${json}}`,
      );
    expect((await suspend('q', SENT)).status).toBe(200);
    expect((await suspend('q', KEPT)).status).toBe(200);
    expectError(await suspend('q', KEPT.replace(LARGEST_SIGNED, '9223372036854775806')), 409, 'LEASE_LOST');
    expect((await client.snapshot(taskId)).text).toContain(`"interaction":${KEPT},"uiHints":${KEPT}`);

    const act = (payload: string, metadata: string) =>
      post(
        `/api/v1/tasks/${taskId}/actions`,
        `{"clientActionId":"a","suspendId":"q","actionType":"ok","payload":${payload},"metadata":${metadata}}`,
      );
    expect((await act(SENT, SENT)).body['status']).toBe('ACCEPTED');
    expect((await act(KEPT, KEPT)).body['status']).toBe('DEDUPLICATED');
    expectError(await act(KEPT.replace(JUST_BEYOND, '9007199254740995'), KEPT), 409, 'IDEMPOTENCY_CONFLICT');

    const second = await claim(taskType);
    expect(second.text.split(`"payload":${KEPT}`)).toHaveLength(3);
    const complete = (json: string) =>
      post(`/worker/v1/tasks/${taskId}/complete`, `{"leaseToken":"${second.lease.leaseToken}","result":${json}}`);
    expect((await complete(SENT)).status).toBe(200);
    expect((await complete(KEPT)).status).toBe(200);
    expectError(
      await complete(KEPT.replace('54740993]', '54740995]').replace(JUST_BEYOND, '9007199254740995')),
      409,
      'LEASE_LOST',
    );
    expect((await client.snapshot(taskId)).text).toContain(`"result":${KEPT}`);

    const stored = await storedEnvelopes(database.superuserUrl, taskId);
    expect(stored.at(-1)).toContain(`"payload":{"result":${KEPT}}`);
    expect(stored.join()).toContain(`"interaction":${KEPT}`);
    const replayed = Object.values(transports).map((follow) => follow(service.url, taskId, null, client.headers));
    for (const reader of [...live, ...replayed]) {
      await reader.end();
      expect(reader.events.map(({ raw }) => raw)).toEqual(stored);
    }
    const page = await client.events(taskId, { waitTimeoutMs: '0' });
    expect(rawElements(page.text, 'events')).toEqual(stored);
    await checkInvariants(database.superuserUrl);
  });

  it.each([
    ['small', 0],
    ['large', 100_000],
  ])('takes a repeated create for the same, and other digits for another (%s)', async (_, filling) => {
    const taskType = uniqueId('digits');
    const id = uniqueId('r');
    const members = (json: string) => `"input":${json.replace(/\}$/, `,"fill":"${'x'.repeat(filling)}"}`)}`;
    const created = await create(id, taskType, members(SENT));
    const repeated = await create(id, taskType, members(KEPT));
    expect([created.status, repeated.status, repeated.body['taskId']]).toEqual([201, 200, created.body['taskId']]);
    for (const other of ['9007199254740992', '9007199254740994', `"${JUST_BEYOND}"`]) {
      expectError(await create(id, taskType, members(KEPT.replace(JUST_BEYOND, other))), 409, 'IDEMPOTENCY_CONFLICT');
    }
    expect((await client.snapshot(created.body['taskId'] ?? '')).text).toContain(KEPT.slice(0, -1));
  });

  it('keeps the digits of a form', async () => {
    const form = new FormData();
    const members = { clientRequestId: uniqueId(), taskType: uniqueId('digits'), input: SENT, metadata: SENT };
    for (const [name, text] of Object.entries(members)) form.set(name, text);
    form.set('attachment', new Blob(['x']), 'x.txt');
    const { status, body } = await client.request<{ taskId: string }>('POST', '/api/v1/tasks', { body: form });
    expect(status).toBe(201);
    expect((await client.snapshot(body.taskId)).text).toContain(`"input":${KEPT}`);
  });

  const resultOf = async (taskId: string): Promise<string> => {
    const reader = transports.WebSocket(service.url, taskId, null, client.headers);
    await reader.end();
    const raw = reader.events.at(-1)?.raw ?? '';
    return raw.slice(raw.indexOf('"payload":') + '"payload":'.length, -1);
  };

  it.each(['demo.echo', 'both.digits'])(
    'gives a handler the nearest double, and the digits on request (%s)',
    async (taskType) => {
      const { body } = await create(uniqueId(), taskType, `"input":${SENT},"metadata":${SENT}`);
      const result = await resultOf(body['taskId'] ?? '');
      if (taskType === 'demo.echo') expect(result).toBe(`{"result":${KEPT}}`);
      else {
        const texts = `"input":${JSON.stringify(KEPT)},"metadata":${JSON.stringify(KEPT)}`;
        expect(result).toBe(`{"result":{${texts},"nearest":9007199254740992,"written":${JUST_BEYOND}}}`);
      }
    },
  );

  it.each(['demo.approval', 'both.ask-digits'])('gives a handler the digits of an answer (%s)', async (taskType) => {
    const { body } = await create(uniqueId(), taskType, '"input":{}');
    const taskId = body['taskId'] ?? '';
    const reader = transports.WebSocket(service.url, taskId, null, client.headers);
    await reader.waitFor(({ events }) => events.some(({ raw }) => raw.includes('TASK_SUSPENDED')));
    const asked = reader.events.at(-1)?.raw ?? '';
    if (taskType !== 'demo.approval') expect(asked).toContain(`"interaction":{"id":${JUST_BEYOND}}`);
    const { suspendId } = (JSON.parse(asked) as { payload: { suspendId: string } }).payload;
    const answered = await post(
      `/api/v1/tasks/${taskId}/actions`,
      `{"clientActionId":"a","suspendId":"${suspendId}","actionType":"approve","payload":${SENT}}`,
    );
    expect(answered.status).toBe(202);
    expect(await resultOf(taskId)).toContain(taskType === 'demo.approval' ? `"payload":${KEPT}` : JSON.stringify(KEPT));
  });

  describe('still refuses with 400, and stores nothing of it,', () => {
    const places: Readonly<Record<string, (json: string, held: Lease) => [string, string]>> = {
      'an input': (json) => [
        '/api/v1/tasks',
        `{"clientRequestId":"${uniqueId()}","taskType":"demo.echo","input":{"n":${json}}}`,
      ],
      metadata: (json) => [
        '/api/v1/tasks',
        `{"clientRequestId":"${uniqueId()}","taskType":"demo.echo","metadata":{"n":${json}}}`,
      ],
      'an answer': (json, { taskId }) => [
        `/api/v1/tasks/${taskId}/actions`,
        `{"clientActionId":"a","suspendId":"q","actionType":"ok","payload":{"n":${json}}}`,
      ],
      'the metadata of an answer': (json, { taskId }) => [
        `/api/v1/tasks/${taskId}/actions`,
        `{"clientActionId":"a","suspendId":"q","actionType":"ok","metadata":{"n":${json}}}`,
      ],
      'a result': (json, { taskId, leaseToken }) => [
        `/worker/v1/tasks/${taskId}/complete`,
        `{"leaseToken":"${leaseToken}","result":[${json}]}`,
      ],
      'a question': (json, { taskId, leaseToken }) => [
        `/worker/v1/tasks/${taskId}/suspend`,
        `{"leaseToken":"${leaseToken}","kind":"SYSTEM_PAUSED","reasonCode":"R","allowedActions":["ok"],"interaction":{"n":${json}}}`,
      ],
    };
    let held: Lease;

    beforeAll(async () => {
      const taskType = uniqueId('held');
      await create(uniqueId(), taskType, '"input":{}');
      held = (await claim(taskType)).lease;
    });

    it.each(Object.keys(places))(
      'numbers in %s that are no integers, or beyond the range of a double',
      async (place) => {
        for (const literal of [...LOSSY_BUT_NO_INTEGER, ...TOO_LARGE]) {
          const [path, body] = places[place]?.(literal, held) ?? ['', ''];
          expectError(await post(path, body), 400, 'INVALID_REQUEST');
        }
      },
    );

    it.each<[string, (held: Lease) => [string, string]]>([
      [
        'the version of a question',
        ({ taskId, leaseToken }) => [
          `/worker/v1/tasks/${taskId}/suspend`,
          `{"leaseToken":"${leaseToken}","kind":"SYSTEM_PAUSED","reasonCode":"R","allowedActions":["ok"],"schemaVersion":${JUST_BEYOND}}`,
        ],
      ],
      [
        'the number of a batch',
        ({ taskId, leaseToken }) => [
          `/worker/v1/tasks/${taskId}/events`,
          `{"leaseToken":"${leaseToken}","batchSeq":${JUST_BEYOND},"events":[{"type":"TASK_STARTED","payload":{}}]}`,
        ],
      ],
      [
        'progress',
        ({ taskId, leaseToken }) => [
          `/worker/v1/tasks/${taskId}/events`,
          `{"leaseToken":"${leaseToken}","batchSeq":1,"events":[{"type":"TASK_PROGRESS","payload":{"progress":${JUST_BEYOND}}}]}`,
        ],
      ],
      [
        'a message',
        ({ taskId, leaseToken }) => [
          `/worker/v1/tasks/${taskId}/events`,
          `{"leaseToken":"${leaseToken}","batchSeq":1,"events":[{"type":"TASK_MESSAGE","payload":{"message":${JUST_BEYOND}}}]}`,
        ],
      ],
      [
        'the pause after a failure',
        ({ taskId, leaseToken }) => [
          `/worker/v1/tasks/${taskId}/fail`,
          `{"leaseToken":"${leaseToken}","code":"C","message":"m","retryable":true,"retryAfterMs":${JUST_BEYOND}}`,
        ],
      ],
      [
        'a task type of a large body',
        () => [
          '/api/v1/tasks',
          `{"clientRequestId":"a","taskType":${JUST_BEYOND},"input":{"a":"${'x'.repeat(100_000)}"}}`,
        ],
      ],
      ['a task type', () => ['/api/v1/tasks', `{"clientRequestId":"a","taskType":${JUST_BEYOND}}`]],
    ])('a big integer as %s, which is no free-form JSON', async (_, call) => {
      expectError(await post(...call(held)), 400, 'INVALID_REQUEST');
    });

    it('details of a failure, which has none', async () => {
      const { taskId, leaseToken } = held;
      const body = `{"leaseToken":"${leaseToken}","code":"C","message":"m","retryable":true,"details":{"n":${JUST_BEYOND}}}`;
      expectError(await post(`/worker/v1/tasks/${taskId}/fail`, body), 422, 'REQUEST_VALIDATION_ERROR');
    });
  });
});
