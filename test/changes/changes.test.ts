import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Client, expectError, newPrincipal, uniqueId } from '../support/client.js';
import { connected } from '../support/fold.js';
import {
  FEED_READERS,
  type FeedReader,
  PollingReader,
  type SeenChange,
  SseReader,
  type Wanted,
} from '../support/follow-changes.js';
import { Metrics } from '../support/metrics.js';
import { MultiplexClient } from '../support/multiplex-client.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { RemoteTask } from '../support/remote-task.js';
import { eventually, type Service, startService } from '../support/service.js';
import { WITH_WORKERS } from '../support/worker-client.js';

let database: TestDatabase;
let service: Service;

beforeAll(async () => {
  database = await createTestDatabase();
  service = await startService({ DATABASE_URL: database.appUrl, ...WITH_WORKERS }, { lifetime: 'file' });
}, 120_000);
afterAll(async () => {
  await service.stop();
  await database.drop();
});

interface Page {
  readonly changes: readonly SeenChange[];
  readonly next: string;
}

const poll = (client: Client, query: string) => client.request<Page>('GET', `/api/v1/tasks/changes?${query}`);
const now = async (client: Client) => (await poll(client, 'waitTimeoutMs=0')).body.next;

/** The bytes of a cursor behind its epoch, as numbers in groups of 7 bits. */
function numbersIn(cursor: string): { epoch: Buffer; numbers: readonly bigint[] } {
  const bytes = Buffer.from(cursor, 'base64url');
  const numbers: bigint[] = [];
  let [number, shift] = [0n, 0n];
  for (const byte of bytes.subarray(8)) {
    number |= BigInt(byte & 127) << shift;
    shift += 7n;
    if (byte >= 128) continue;
    numbers.push(number);
    [number, shift] = [0n, 0n];
  }
  return { epoch: bytes.subarray(0, 8), numbers };
}

function cursorOf(epoch: Buffer, numbers: readonly bigint[]): string {
  const bytes = numbers.flatMap((number) => {
    const groups: number[] = [];
    for (let rest = number; groups.length === 0 || rest > 0n; rest >>= 7n) groups.push(Number(rest & 127n) | 128);
    return [...groups.slice(0, -1), (groups.at(-1) ?? 0) & 127];
  });
  return Buffer.concat([epoch, Buffer.from(bytes)]).toString('base64url');
}

/** Created and never claimed. */
async function waiting(client: Client, members: object = {}): Promise<string> {
  const { body } = await client.create({ clientRequestId: uniqueId(), taskType: 'nobody.claims', ...members });
  return body.taskId;
}

describe.each(Object.entries(FEED_READERS))('A feed by %s', (transport, Transport) => {
  const follow = async (client: Client, wanted: Wanted = {}, after?: string): Promise<FeedReader> => {
    const reader = new Transport(client.url, client.headers, wanted, after);
    await reader.connect();
    return reader;
  };

  it('brings each state of a task: created, started, asked, answered, retried, cancelled, ended', async () => {
    const client = newPrincipal(service.url);
    const reader = await follow(client);
    try {
      const task = await RemoteTask.begin(client);
      const last = (): Readonly<Record<string, unknown>> => reader.of(task.taskId).at(-1)?.task ?? {};
      await reader.until('it runs', () => last()['status'] === 'RUNNING');
      const suspendId = await task.suspend();
      await reader.until(
        'it asks',
        () => (last()['openSuspension'] as { suspendId: string } | undefined)?.suspendId === suspendId,
      );
      await client.act(task.taskId, { clientActionId: uniqueId(), suspendId, actionType: 'approve' });
      await reader.until('it is answered', () => last()['openSuspension'] === undefined);
      await task.resume();
      await reader.until('it goes on', () => last()['status'] === 'RUNNING');
      await task.fail({ code: 'X', message: 'again', retryable: true, retryAfterMs: 0 });
      await reader.until('it has one attempt less', () => last()['attemptsLeft'] === 2);
      await task.resume();
      await client.cancel(task.taskId);
      await reader.until('it is to end', () => last()['cancellationRequested'] === true);
      await task.complete({ secret: 'result' });
      await reader.until('it is over', () => last()['status'] === 'COMPLETED' || last()['status'] === 'CANCELLED');
      for (const { task: seen } of reader.of(task.taskId)) {
        expect(Object.keys(seen ?? {})).not.toEqual(expect.arrayContaining(['input']));
        expect(seen).not.toHaveProperty('result');
        expect(seen).not.toHaveProperty('attachments');
      }
      const {
        result: _,
        input: __,
        attachments: ___,
        questions: ____,
        ...rest
      } = (await client.snapshot(task.taskId)).body as unknown as Record<string, unknown>;
      expect(last()).toEqual(rest);
    } finally {
      reader.drop();
    }
  }, 60_000);

  it('brings no appends, and no task of others', async () => {
    const client = newPrincipal(service.url);
    const reader = await follow(client);
    try {
      const task = await RemoteTask.begin(client);
      await reader.until('it runs', () => reader.states[task.taskId] === 'RUNNING');
      const before = reader.changes.length;
      await task.progress(10);
      await waiting(newPrincipal(service.url));
      const mark = await waiting(client);
      await reader.until('what came later is there', () => mark in reader.states);
      expect(reader.changes.slice(before).map((change) => change.task?.taskId)).toEqual([mark]);
    } finally {
      reader.drop();
    }
  });

  it('goes on where a client was, over any number of pages', async () => {
    const client = newPrincipal(service.url);
    const after = await now(client);
    const tasks = await Promise.all(Array.from({ length: 250 }, () => waiting(client)));
    const reader = await follow(client, {}, after);
    try {
      await reader.until('all are there', () => Object.keys(reader.states).length === 250);
      expect(Object.keys(reader.states).sort()).toEqual([...tasks].sort());
      expect(new Set(reader.changes.map(({ cursor }) => cursor)).size).toBe(250);
      const middle = reader.changes[120]?.cursor;
      const second = await follow(client, {}, middle);
      await second.until('the rest is there', () => Object.keys(second.states).length >= 129);
      expect(Object.keys(second.states)).toEqual(reader.changes.slice(121).map(({ task }) => task?.taskId));
      second.drop();
    } finally {
      reader.drop();
    }
  });

  it('says what it missed behind the cursor of a change, without a further hint', async () => {
    const client = newPrincipal(service.url);
    const reader = await follow(client);
    const first = await waiting(client);
    await reader.until('it is there', () => first in reader.states);
    // Between two pages: the rest of what the client had seen, and more behind it.
    const cursor = reader.changes.at(-1)?.cursor;
    reader.drop();
    const later = await waiting(client);
    const again = await follow(client, {}, cursor);
    await again.until('the later one is there', () => later in again.states, 900);
    again.drop();
  });

  it('says what has left the filter, and drops what never was in it', async () => {
    const client = newPrincipal(service.url);
    const filters: Wanted[] = [{ status: 'ACCEPTED' }, { suspended: transport === 'websocket' ? false : 'false' }];
    const readers = await Promise.all(filters.map((wanted) => follow(client, wanted)));
    const typed = await follow(client, { taskType: 'other.type' });
    const tagged = await follow(client, { tags: { colour: 'red', n: '5' } });
    try {
      const red = await waiting(client, { taskType: 'other.type', metadata: { colour: 'red', n: 5, deep: {} } });
      const blue = await waiting(client, { metadata: { colour: 'blue', n: 5 } });
      for (const one of readers) await one.until('both are in', () => red in one.states && blue in one.states);
      await client.cancel(red);
      await client.cancel(blue);
      for (const one of [typed, tagged]) {
        await one.until('it is over', () => one.states[red] === 'CANCELLED');
        expect(Object.keys(one.states)).toEqual([red]);
      }
      await readers[0]?.until(
        'both have left',
        () => readers[0]?.states[red] === 'left' && readers[0]?.states[blue] === 'left',
      );
      expect(readers[0]?.of(red).at(-1)).toEqual({
        ...(transport === 'websocket' && { type: 'CHANGE' }),
        cursor: expect.any(String),
        taskId: red,
        left: true,
      });
      await readers[1]?.until('they are not suspended', () => readers[1]?.states[blue] === 'CANCELLED');
    } finally {
      for (const one of [...readers, typed, tagged]) one.drop();
    }
  });

  it('keeps the limit of a frame: metadata that has no room is absent', async () => {
    const client = newPrincipal(service.url);
    const reader = await follow(client);
    try {
      // U+2028 has three bytes in a request, and six as it is stored.
      const [fits, tooLarge, escaped] = [
        await waiting(client, { metadata: { text: 'x'.repeat(1_040_000) } }),
        await waiting(client, { metadata: { text: 'x'.repeat(1_048_400) } }),
        await waiting(client, { metadata: { text: '\u2028'.repeat(300_000) } }),
      ];
      await reader.until('all are there', () => [fits, tooLarge, escaped].every((taskId) => taskId in reader.states));
      const hasMetadata = (taskId: string) => 'metadata' in (reader.of(taskId)[0]?.task ?? {});
      expect([fits, tooLarge, escaped].map(hasMetadata)).toEqual([true, false, false]);
      for (const { bytes } of reader.frames) expect(bytes).toBeLessThanOrEqual(1024 * 1024);
      expect(reader.frames.length).toBe(transport === 'long_poll' ? 0 : 3);
    } finally {
      reader.drop();
    }
  });

  it('says what was removed', async () => {
    const client = newPrincipal(service.url);
    const taskId = await waiting(client);
    const reader = await follow(client);
    try {
      await connected(database.superuserUrl, (db) =>
        db.query('DELETE FROM taskbridge.proj_tasks WHERE task_id = $1', [taskId]),
      );
      await reader.until('it is gone', () => reader.states[taskId] === 'removed');
      expect(reader.of(taskId).at(-1)).toMatchObject({ taskId, removed: true });
      expect(reader.of(taskId).at(-1)).not.toHaveProperty('task');
    } finally {
      reader.drop();
    }
  });

  it('shows an operator the tasks of an owner, of a tenant, and all', async () => {
    const owner = uniqueId('owner');
    const tenant = uniqueId('tenant');
    const client = new Client(service.url, owner);
    const inTenant = await client.create(
      { clientRequestId: uniqueId(), taskType: 'nobody.claims' },
      { 'X-Tenant-Id': tenant },
    );
    const all: Wanted[] = [{ owner, tenant }, { tenant }, { all: transport === 'websocket' ? true : 'true' }];
    const readers = all.map((wanted) => new Transport(service.url, {}, wanted));
    const foreign = new Transport(service.url, {}, { owner });
    try {
      await Promise.all([...readers, foreign].map((reader) => reader.connect()));
      await client.request('POST', `/api/v1/tasks/${inTenant.body.taskId}/cancel`, {
        headers: { 'X-Tenant-Id': tenant },
      });
      for (const reader of readers)
        await reader.until('it is over', () => reader.states[inTenant.body.taskId] === 'CANCELLED');
      expect(foreign.changes).toEqual([]);
      const refused = new Transport(service.url, client.headers, { owner: 'another' });
      await refused.connect();
      await refused.until('it is refused', () => refused.refusal !== undefined);
      expect(refused.refusal).toMatch(/ACCESS_DENIED/);
      refused.drop();
    } finally {
      for (const reader of [...readers, foreign]) reader.drop();
    }
  });

  it('refuses a cursor that it did not make, and one of another database', async () => {
    const client = newPrincipal(service.url);
    const good = Buffer.from(await now(client), 'base64url');
    const other = Buffer.from(good);
    other[0] = (other[0] ?? 0) ^ 1;
    const cases: readonly (readonly [string, RegExp])[] = [
      ['7', /INVALID_CURSOR/],
      [good.subarray(0, -1).toString('base64url'), /INVALID_CURSOR/],
      [Buffer.concat([good, Buffer.from([0])]).toString('base64url'), /INVALID_CURSOR/],
      ['!'.repeat(40), /INVALID_CURSOR/],
      [other.toString('base64url'), /CURSOR_EXPIRED/],
    ];
    for (const [cursor, code] of cases) {
      const reader = await follow(client, {}, cursor);
      await reader.until('it is refused', () => reader.refusal !== undefined);
      expect([cursor, reader.refusal]).toEqual([cursor, expect.stringMatching(code)]);
      reader.drop();
    }
  });
});

describe('GET /tasks/changes', () => {
  it('answers at once with a cursor, and waits no longer than asked', async () => {
    const client = newPrincipal(service.url);
    await waiting(client);
    const first = await poll(client, 'waitTimeoutMs=0');
    expect([first.status, first.body.changes]).toEqual([200, []]);
    expect(first.headers.get('Cache-Control')).toBe('no-store');
    expect(first.body.next.length).toBeLessThanOrEqual(1_024);
    const startedAt = performance.now();
    const second = await poll(client, `waitTimeoutMs=300&after=${first.body.next}`);
    expect(second.body.changes).toEqual([]);
    expect(performance.now() - startedAt).toBeGreaterThan(290);
    expect(performance.now() - startedAt).toBeLessThan(3_000);
  });

  it.each([
    ['waitTimeoutMs=60001', 400],
    ['waitTimeoutMs=x', 400],
    ['status=DONE', 400],
    ['suspended=maybe', 400],
    ['tags=colour', 400],
    ['tags=[]', 400],
    ['tags={"a":1}', 400],
    [`tags={${Array.from({ length: 17 }, (_, n) => `"${n}":""`).join()}}`, 400],
    ['owner=', 400],
    [`after=${'a'.repeat(1_025)}`, 400],
    ['unknown=1', 400],
    ['all=true&tenant=x', 400],
    ['all=true&owner=x', 400],
    ['owner=%00', 400],
    ['tenant=a%00b', 400],
    [`tenant=${'a'.repeat(129)}`, 400],
  ])('refuses %s', async (query, status) => {
    const answer = await new Client(service.url).request('GET', `/api/v1/tasks/changes?${query}`);
    expect(answer.status).toBe(status);
  });

  it('takes a cursor for 23 hours', async () => {
    const client = newPrincipal(service.url);
    const aged = (cursor: string, hours: number) => {
      const { epoch, numbers } = numbersIn(cursor);
      const [at = 0n, ...rest] = numbers;
      return cursorOf(epoch, [at - BigInt(hours * 3_600_000), ...rest]);
    };
    const cursor = await now(client);
    expect(aged(cursor, 0)).toBe(cursor);
    expect((await poll(client, `waitTimeoutMs=0&after=${aged(cursor, 22)}`)).status).toBe(200);
    expectError(await poll(client, `waitTimeoutMs=0&after=${aged(cursor, 24)}`), 410, 'CURSOR_EXPIRED');
  });

  it('takes no numbers that PostgreSQL would refuse', async () => {
    const client = newPrincipal(service.url);
    const { epoch, numbers } = numbersIn(await now(client));
    const at = numbers[0] ?? 0n;
    const position = [1n, ...Array.from({ length: 16 }, () => 0n)];
    for (const forged of [
      [at, 0n, 0n],
      [at, 5n, 1n, 5n],
      [at, 5n, 0n, at, 0n, 0n, ...position],
      [at, 5n, 0n, at, 7n, 1n, 7n, ...position],
      [at, 1n << 63n, 0n],
      [at, 5n, 0n, at, 1n << 63n, 1n, 1n, ...position],
    ])
      expectError(await poll(client, `waitTimeoutMs=0&after=${cursorOf(epoch, forged)}`), 400, 'INVALID_CURSOR');
    for (const fair of [
      [at, (1n << 63n) - 1n, 0n],
      [at, 5n, 0n, at, (1n << 63n) - 1n, 1n, 1n, ...position],
      [at, 5n, 0n, at, 5n, 2n, 1n, 1n, ...position],
    ])
      expect((await poll(client, `waitTimeoutMs=0&after=${cursorOf(epoch, fair)}`)).status).toBe(200);
  });

  it('410 has the code of an expired cursor', async () => {
    const client = newPrincipal(service.url);
    const cursor = Buffer.from(await now(client), 'base64url');
    cursor[3] = (cursor[3] ?? 0) ^ 255;
    expectError(await poll(client, `after=${cursor.toString('base64url')}`), 410, 'CURSOR_EXPIRED');
  });
});

describe('The metrics of feeds', () => {
  const grown = async (before: Metrics) => {
    const now = await Metrics.scrape(service.url);
    return (name: string) => now.of(name) - before.of(name);
  };

  it('count how late live changes are, and not what a client comes back to', async () => {
    const client = newPrincipal(service.url);
    const after = await now(client);
    await waiting(client);
    const before = await Metrics.scrape(service.url);
    const reader = new SseReader(client.url, client.headers, {}, after);
    await reader.connect();
    await reader.until('the earlier one comes', () => reader.changes.length === 1);
    const live = await waiting(client);
    await reader.until('the live one comes', () => live in reader.states);
    const more = await grown(before);
    reader.drop();
    expect(more('changes_delivered_total')).toBe(2);
    expect(more('change_delivery_seconds_count')).toBe(1);
    expect(more('change_delivery_seconds_sum')).toBeGreaterThan(0);
    expect(more('change_delivery_seconds_sum')).toBeLessThan(2);
  });

  it('count cursors that have expired, of a request and of a stream', async () => {
    const client = newPrincipal(service.url);
    const cursor = Buffer.from(await now(client), 'base64url');
    cursor[3] = (cursor[3] ?? 0) ^ 255;
    const before = await Metrics.scrape(service.url);
    for (const path of ['changes', 'changes/stream'])
      await client.request('GET', `/api/v1/tasks/${path}?after=${cursor.toString('base64url')}`);
    expect((await grown(before))('change_cursors_expired_total')).toBe(2);
  });

  it('count reads that fail; the feed goes on behind them', async () => {
    const client = newPrincipal(service.url);
    const reader = new SseReader(client.url, client.headers);
    await reader.connect();
    const before = await Metrics.scrape(service.url);
    const rename = (from: string, to: string) =>
      connected(database.superuserUrl, (db) => db.query(`ALTER TABLE taskbridge.${from} RENAME TO ${to}`));
    await rename('proj_removed_tasks', 'away');
    try {
      await eventually('a read has failed', async () => (await grown(before))('change_reads_failed_total') > 0);
    } finally {
      await rename('away', 'proj_removed_tasks');
    }
    const taskId = await waiting(client);
    await reader.until('it comes', () => taskId in reader.states);
    reader.drop();
  });
});

describe('The stream of changes', () => {
  it('has a cursor in each id, also in the heartbeat that begins it', async () => {
    const client = newPrincipal(service.url);
    const reader = new SseReader(client.url, client.headers);
    await reader.connect();
    const first = reader.cursor;
    const taskId = await waiting(client);
    await reader.until('it is there', () => taskId in reader.states);
    reader.drop();
    expect(reader.changes.at(-1)?.cursor).toBe(reader.cursor);
    expect(reader.blocks.find((block) => block.includes('event: heartbeat'))).toBe(
      `id: ${first}\nevent: heartbeat\ndata: {"type":"HEARTBEAT","next":"${first}","live":true}`,
    );
    const again = new PollingReader(client.url, client.headers, {}, first);
    await again.connect();
    await again.until('the same comes again', () => taskId in again.states);
    again.drop();
  });

  it('answers HEAD', async () => {
    const client = newPrincipal(service.url);
    const answer = await fetch(`${client.url}/api/v1/tasks/changes/stream`, {
      method: 'HEAD',
      headers: client.headers,
    });
    expect([answer.status, answer.headers.get('Content-Type')]).toEqual([200, 'text/event-stream; charset=utf-8']);
  });
});

describe('On the multiplex', () => {
  it('one feed a connection, beside tasks, and another after its end', async () => {
    const client = newPrincipal(service.url);
    const socket = await MultiplexClient.open(client.url, client.headers);
    socket.send({ action: 'subscribe_changes' });
    socket.send({ action: 'subscribe_changes', ref: 'second' });
    expect(await socket.frame(({ ref }) => ref === 'second')).toMatchObject({
      type: 'ERROR',
      code: 'ALREADY_SUBSCRIBED',
    });
    await socket.frame(({ type }) => type === 'CHANGES_CAUGHT_UP');
    const taskId = await waiting(client);
    socket.subscribe(taskId);
    await socket.frame(({ type }) => type === 'CHANGE');
    await socket.frame(({ type }) => type === 'SUBSCRIPTION_CONFIRMED');
    socket.together(() => {
      socket.send({ action: 'unsubscribe_changes' });
      socket.send({ action: 'unsubscribe_changes' });
      socket.send({ action: 'subscribe_changes', ref: 'third' });
    });
    await socket.until(() => socket.frames.filter(({ type }) => type === 'CHANGES_CONFIRMED').length === 2);
    const types = socket.frames.map(({ type }) => type);
    expect(types.indexOf('CHANGES_ENDED')).toBeLessThan(types.lastIndexOf('CHANGES_CONFIRMED'));
    expect(socket.frames.filter(({ code }) => code === 'NOT_SUBSCRIBED')).toHaveLength(1);
    socket.leave();
  });

  it.each([
    [{ action: 'subscribe_changes', all: 'true' }, 4400],
    [{ action: 'subscribe_changes', tags: 'a' }, 4400],
    [{ action: 'subscribe_changes', owner: 'a\u0000' }, 4400],
    [{ action: 'subscribe_changes', owner: '' }, 4400],
    [{ action: 'subscribe_changes', tenant: '\ud800' }, 4400],
    [{ action: 'subscribe_changes', tags: { a: { b: 'c' } } }, 4400],
    [{ action: 'subscribe_changes', taskId: 'x' }, 4400],
    [{ action: 'unsubscribe_changes', ref: 'x' }, 4400],
  ])('refuses %j', async (frame, code) => {
    const client = newPrincipal(service.url);
    const socket = await MultiplexClient.open(client.url, client.headers);
    socket.send(frame);
    expect((await socket.close()).code).toBe(code);
  });
});
