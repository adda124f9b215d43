import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type Client, expectError, newPrincipal, uniqueId } from '../support/client.js';
import { connected, storedEnvelopes } from '../support/fold.js';
import {
  followLongPoll,
  followSse,
  followSseAt,
  followSwitching,
  followWebSocket,
  isTerminal,
  type Reader,
  rawElements,
  seededRandom,
  SseParser,
  transports,
} from '../support/follow.js';
import { createTestDatabase } from '../support/postgres.js';
import { dechunked, exchange, head } from '../support/raw-http.js';
import { eventually, type Service, startService } from '../support/service.js';

const full = process.env['FULL'] === '1';
const transportTable = Object.entries(transports);

describe('The three transports', () => {
  let database: Awaited<ReturnType<typeof createTestDatabase>>;
  let service: Service;
  /** Runs nothing itself: what it delivers comes from the other instance. */
  let second: Service;
  let client: Client;

  beforeAll(async () => {
    database = await createTestDatabase();
    const env = { DATABASE_URL: database.appUrl, HEARTBEAT_SECONDS: '1' };
    [service, second] = await Promise.all([
      startService(env, { lifetime: 'file' }),
      startService({ ...env, EXECUTOR: 'worker' }, { lifetime: 'file' }),
    ]);
    client = newPrincipal(service.url);
  });

  afterAll(async () => {
    await Promise.all([service.stop(), second.stop()]);
    await database.drop();
  });

  const created = async (taskType: string, input: Record<string, unknown>): Promise<string> =>
    (await client.create({ clientRequestId: uniqueId(), taskType, input })).body.taskId;

  const burst = async (events: number): Promise<string> => {
    const taskId = await created('demo.burst', { events });
    await followWebSocket(service.url, taskId, null, client.headers).end(30_000);
    return taskId;
  };

  /** A task with `events` stored events, the last one terminal. With none it waits until tomorrow. */
  const fabricated = async (events: number): Promise<string> => {
    const taskId = randomUUID();
    await connected(database.superuserUrl, async (db) => {
      await db.query(
        `INSERT INTO taskbridge.proj_tasks (task_id, tenant_id, owner_id, client_request_id, fingerprint, task_type, status,
           head_event_id, attempt, claimable_at, finished_at, correlation_id)
         VALUES ($1, '', $2, $3, repeat('0', 64), 'demo.burst', $4, $5::int, least($5::int, 1),
           CASE WHEN $5::int = 0 THEN now() + interval '1 day' END, CASE WHEN $5::int > 0 THEN now() END, $1)`,
        [taskId, client.principal, uniqueId(), events === 0 ? 'ACCEPTED' : 'CANCELLED', events],
      );
      await db.query(
        `INSERT INTO taskbridge.events (task_id, event_id, type, payload, correlation_id, principal_id)
         SELECT $1, n, CASE n WHEN $2::int THEN 'TASK_CANCELLED' WHEN 1 THEN 'TASK_STARTED' ELSE 'TASK_PROGRESS' END,
           CASE n WHEN $2::int THEN '{"reason":"cancelled_by_user"}' WHEN 1 THEN '{}'
             ELSE format('{"progress":%s}', n * 100 / $2::int) END::json, $1, $3
         FROM generate_series(1, $2::int) AS n`,
        [taskId, events, client.principal],
      );
    });
    return taskId;
  };

  const idsOf = (reader: Reader) => reader.events.map(({ eventId }) => eventId);
  const idsFrom = (first: number, last: number) =>
    Array.from({ length: last - first + 1 }, (_, n) => String(first + n));

  describe('on a task of 300 events', () => {
    let taskId: string;
    let log: string[];

    beforeAll(async () => {
      taskId = await burst(298);
      log = await storedEnvelopes(database.superuserUrl, taskId);
    });

    it('have a log of 300 events to read', () => {
      expect(log).toHaveLength(300);
    });

    it.each(transportTable)('deliver the bytes of the log by %s', async (_name, follow) => {
      const reader = follow(service.url, taskId, undefined, client.headers);
      await reader.end();
      expect(reader.events.map(({ raw }) => raw)).toEqual(log);
    });

    it.each(transportTable)(
      'deliver the same bytes by %s from an instance that did not write them',
      async (_name, follow) => {
        const reader = follow(second.url, taskId, undefined, client.headers);
        await reader.end();
        expect(reader.events.map(({ raw }) => raw)).toEqual(log);
      },
    );

    it('join to the same bytes however a client switches between them', async () => {
      for (let seed = 1; seed <= (full ? 200 : 20); seed++) {
        const joined = await followSwitching(service.url, taskId, { seed, headers: client.headers });
        expect({ seed, joined }).toEqual({ seed, joined: log });
      }
    }, 300_000);
  });

  it('join to the bytes of the log when a client switches while the task runs', async () => {
    const runs = Array.from({ length: full ? 50 : 6 }, async (_, seed) => {
      const taskId = await created('demo.greet', { steps: 60, stepMs: 5 });
      const joined = await followSwitching(service.url, taskId, { seed, headers: client.headers, maxRun: 8 });
      expect({ seed, joined }).toEqual({ seed, joined: await storedEnvelopes(database.superuserUrl, taskId) });
    });
    await Promise.all(runs);
  }, 120_000);

  it('agree byte by byte on what they deliver live', async () => {
    const taskId = await created('demo.greet', { name: 'Ada', steps: 10, stepMs: 20 });
    const readers = transportTable.map(([, follow]) => follow(service.url, taskId, undefined, client.headers));
    await Promise.all(readers.map((reader) => reader.end()));
    const log = await storedEnvelopes(database.superuserUrl, taskId);
    for (const reader of readers) expect(reader.events.map(({ raw }) => raw)).toEqual(log);
  });

  describe.each([0, 1, 99, 100, 101, 250])('on a task of %d events', (head) => {
    let taskId: string;

    beforeAll(async () => {
      taskId = await fabricated(head);
    });

    const cursors = [
      ...new Map<string, [string, string | undefined]>(
        (
          [
            ['no cursor', undefined],
            ['a cursor in the middle', Math.floor(head / 2)],
            ['a cursor one before the end', Math.max(head - 1, 0)],
            ['a cursor at the end', head],
          ] as const
        ).map(([name, cursor]) => [String(cursor), [name, cursor === undefined ? undefined : String(cursor)]]),
      ).values(),
    ];

    describe.each(cursors)('with %s', (_name, cursor) => {
      const after = Number(cursor ?? 0);

      it('WebSocket confirms, replays the rest and closes with 1000 after the terminal event', async () => {
        const reader = followWebSocket(service.url, taskId, cursor, client.headers);
        const confirmation = {
          type: 'SUBSCRIPTION_CONFIRMED',
          taskId,
          // The start is no cursor, however it is spelled.
          replayStartedAfterEventId: after === 0 ? null : cursor,
          live: true,
        };
        await reader.waitFor(({ frames }) => frames.length > head - after);
        if (head > 0) expect(await reader.end(1_000)).toMatchObject({ kind: 'close', code: 1000 });
        reader.close();
        expect(JSON.parse(reader.frames[0] ?? '')).toEqual({ ...confirmation, headEventId: String(head) });
        expect(reader.frames.slice(1, head - after + 1)).toEqual(reader.events.map(({ raw }) => raw));
        expect(idsOf(reader)).toEqual(idsFrom(after + 1, head));
      });

      it('SSE replays the rest and ends, or answers 204 at the terminal cursor', async () => {
        const reader = followSse(service.url, taskId, cursor, client.headers);
        if (head === 0) await reader.waitFor(({ frames }) => frames.some((frame) => frame.includes('retry: 2000')));
        else {
          const expected = after === head ? { kind: 'status', code: 204, reason: '' } : { kind: 'end' };
          expect(await reader.end()).toEqual(expected);
        }
        reader.close();
        expect(idsOf(reader)).toEqual(idsFrom(after + 1, head));
      });

      it('long-poll pages the rest with exact members and ends with a terminal page', async () => {
        const pages: unknown[] = [];
        let next = cursor;
        for (;;) {
          const query = { waitTimeoutMs: '0', ...(next !== undefined && { afterEventId: next }) };
          const { body } = await client.events(taskId, query);
          pages.push({ ...body, events: body.events.map(({ eventId }) => eventId) });
          next = body.nextAfterEventId;
          if (!body.hasMore) break;
        }
        const expected: unknown[] = [];
        for (let from = after; ; ) {
          const to = Math.min(from + 100, head);
          const position = to === 0 && cursor === undefined ? {} : { nextAfterEventId: String(to) };
          const flags = { hasMore: to < head, headEventId: String(head), terminal: head > 0 && to === head };
          expected.push({ taskId, events: idsFrom(from + 1, to), ...position, ...flags });
          if (to === head) break;
          from = to;
        }
        expect(pages).toEqual(expected);
      });
    });
  });

  describe('at the border of a page', () => {
    it.each([99, 100, 101])('say exactly whether there is more than %d', async (maxEvents) => {
      const taskId = await fabricated(100);
      const { body } = await client.events(taskId, { maxEvents: String(maxEvents) });
      const given = Math.min(maxEvents, 100);
      expect([body.events.length, body.hasMore, body.terminal]).toEqual([given, given < 100, given === 100]);
    });

    it('say that there is no more while the task goes on', async () => {
      const taskId = await created('demo.sleep', { ms: 60_000 });
      await eventually(
        'the start',
        async () => (await client.events(taskId, { maxEvents: '1' })).body.events.length === 1,
      );
      const { body } = await client.events(taskId, { maxEvents: '1' });
      expect([body.hasMore, body.terminal, body.headEventId]).toEqual([false, false, '1']);
      await client.cancel(taskId);
    });
  });

  describe('given a cursor', () => {
    let taskId: string;

    beforeAll(async () => {
      taskId = await fabricated(5);
    });

    it.each(['', '0'])('%j start from the beginning', async (cursor) => {
      for (const [name, follow] of transportTable) {
        const reader = follow(service.url, taskId, cursor, client.headers);
        await reader.end();
        expect([name, idsOf(reader)]).toEqual([name, idsFrom(1, 5)]);
      }
    });

    it.each(['x', '-1', '+1', '1.0', '1e1', '0x1', '1,2', '2 3', 'null', 'hb-1'])(
      '%j refuse it as malformed',
      async (cursor) => {
        const [socket, sse, poll] = await Promise.all(
          [followWebSocket, followSse, followLongPoll].map((follow) =>
            follow(service.url, taskId, cursor, client.headers).end(),
          ),
        );
        expect(socket).toEqual({ kind: 'close', code: 4400, reason: expect.stringContaining('INVALID_CURSOR') });
        for (const refused of [sse, poll]) {
          expect(refused).toEqual({
            kind: 'status',
            code: 400,
            reason: expect.stringContaining('"code":"INVALID_CURSOR"'),
          });
        }
      },
    );

    it.each(['6', '999999', '9007199254740993', '99999999999999999999999'])(
      '%s refuse it as ahead or malformed',
      async (cursor) => {
        const [socket, sse, poll] = await Promise.all(
          [followWebSocket, followSse, followLongPoll].map((follow) =>
            follow(service.url, taskId, cursor, client.headers).end(),
          ),
        );
        const ahead = cursor.length < 10;
        expect([ahead ? 4409 : expect.any(Number), ahead ? 409 : sse?.code]).toEqual([socket?.code, poll?.code]);
        expect([400, 409]).toContain(sse?.code);
        expect([4400, 4409]).toContain(socket?.code);
      },
    );

    it('that is ahead tell where the log ends', async () => {
      const { details } = expectError(await client.events(taskId, { afterEventId: '6' }), 409, 'CURSOR_AHEAD');
      expect(details).toEqual({ headEventId: '5' });
    });

    it('in both places let the Last-Event-ID header win over the query', async () => {
      const address = `${service.url}/api/v1/tasks/${taskId}/events/stream?lastEventId=1`;
      const byQuery = followSseAt(address, client.headers);
      const byHeader = followSseAt(address, { ...client.headers, 'Last-Event-ID': '3' });
      await Promise.all([byQuery.end(), byHeader.end()]);
      expect([idsOf(byQuery), idsOf(byHeader)]).toEqual([idsFrom(2, 5), idsFrom(4, 5)]);
    });
  });

  describe('subscribed at the moment of an append', () => {
    /** Comes and goes while a task writes, from the start or from the last id, alone or in company; sees each id in order. */
    const comeAndGo = async (follow: (typeof transports)['SSE'], seed: number) => {
      const random = seededRandom(seed);
      const taskId = await created('demo.greet', { steps: 40, stepMs: 2 });
      const open = (cursor: number) =>
        follow(service.url, taskId, cursor === 0 ? undefined : `${cursor}`, client.headers);
      const companion = random() < 0.5 ? open(0) : undefined;
      for (let last = 0, over = false; !over; ) {
        const cursor = random() < 0.5 ? 0 : last;
        const wanted = last - cursor + 1 + Math.floor(random() * 4);
        const reader = open(cursor);
        await reader.waitFor(({ events, outcome }) => events.length >= wanted || outcome !== undefined);
        reader.close();
        const seen = idsOf(reader);
        expect({ seed, cursor, seen }).toEqual({ seed, cursor, seen: idsFrom(cursor + 1, cursor + seen.length) });
        last = Math.max(last, cursor + seen.length);
        over = isTerminal(reader.events.at(-1)?.raw ?? '{}');
      }
      if (companion === undefined) return;
      await companion.end();
      expect(idsOf(companion)).toEqual(idsFrom(1, 42));
    };

    it.each(transportTable)(
      'have no hole by %s',
      async (_name, follow) => {
        const rounds = full ? 100 : 5;
        for (let round = 0; round < rounds; round++) {
          // Five at a time: what a task writes is then stored together with what others write.
          await Promise.all([1, 2, 3, 4, 5].map((n) => comeAndGo(follow, round * 5 + n)));
        }
      },
      300_000,
    );
  });

  describe('on text that could break their framing', () => {
    const hostile = {
      'a blank line and a field': 'a\n\ndata: {"type":"FORGED"}\n\nid: 99\n\n',
      'carriage returns': 'a\rdata: b\r\n\r\nevent: heartbeat\r\r',
      'line and paragraph separators': 'a\u2028b\u2029c\u0085d',
      'quotes, backslashes and brackets': '"}],"events":[{"\\\\"',
      'a byte order mark and other planes': '\ufeff😀\u{10ffff}',
    };

    it.each(Object.entries(hostile))('carry a result with %s through unchanged', async (_name, text) => {
      const taskId = await created('demo.echo', { text });
      for (const [name, follow] of transportTable) {
        const reader = follow(service.url, taskId, undefined, client.headers);
        await reader.end();
        const { payload } = JSON.parse(reader.events.at(-1)?.raw ?? '') as { payload: { result: unknown } };
        expect([name, idsOf(reader), payload.result]).toEqual([name, ['1', '2'], { text }]);
      }
    });

    it.each(Object.entries(hostile))('carry a failure message with %s through unchanged', async (_name, message) => {
      const taskId = await created('demo.fail', { message });
      for (const [name, follow] of transportTable) {
        const reader = follow(service.url, taskId, undefined, client.headers);
        await reader.end();
        const { payload } = JSON.parse(reader.events.at(-1)?.raw ?? '') as { payload: { message: unknown } };
        expect([name, payload.message]).toEqual([name, message]);
      }
    });
  });

  describe('while nothing happens', () => {
    let taskId: string;

    beforeAll(async () => {
      taskId = await fabricated(0);
    });

    it('show by WebSocket that they live', async () => {
      const reader = followWebSocket(service.url, taskId, null, client.headers);
      await reader.waitFor(({ frames }) => frames.length >= 3, 8_000);
      reader.close();
      const heartbeat = { type: 'HEARTBEAT', taskId, live: true };
      expect(reader.frames.slice(1).map((frame) => JSON.parse(frame))).toEqual([heartbeat, heartbeat]);
    });

    it('show by SSE that they live, without an id and unseen by onmessage', async () => {
      const reader = followSse(service.url, taskId, undefined, client.headers);
      await reader.waitFor(({ frames }) => frames.some((frame) => frame.includes('heartbeat')), 8_000);
      reader.close();
      const lines = reader.frames.find((frame) => frame.includes('heartbeat'))?.split('\n') ?? [];
      const data = lines.find((line) => line.startsWith('data:'))?.slice(5) ?? '';
      expect(lines.map((line) => line.split(':')[0]).sort()).toEqual(['data', 'event']);
      expect(lines).toContain('event: heartbeat');
      expect(JSON.parse(data)).toEqual({
        type: 'HEARTBEAT',
        taskId,
        eventId: expect.stringMatching(/^hb-/),
        createdAt: expect.stringMatching(/Z$/),
        payload: { live: true },
      });
      expect(reader.events).toEqual([]);
    });

    it('answer a long-poll with an empty page when its time is up', async () => {
      const { body } = await client.events(taskId, { waitTimeoutMs: '100' });
      expect([body.events, body.terminal]).toEqual([[], false]);
    });
  });

  describe('by SSE', () => {
    const path = (taskId: string) => `/api/v1/tasks/${taskId}/events/stream`;
    const stream = (taskId: string, headers: Record<string, string> = {}) =>
      fetch(`${service.url}${path(taskId)}`, { headers: { ...client.headers, ...headers } });

    const expectedText = async (taskId: string) => {
      const envelopes = await storedEnvelopes(database.superuserUrl, taskId);
      return ['retry: 2000\n\n', ...envelopes.map((envelope, at) => `id: ${at + 1}\ndata: ${envelope}\n\n`)].join('');
    };

    it('send the documented headers and never compress', async () => {
      const response = await stream(await fabricated(3), { 'Accept-Encoding': 'gzip, br' });
      await response.text();
      const headers = ['content-type', 'cache-control', 'x-accel-buffering', 'content-encoding'];
      expect(headers.map((name) => response.headers.get(name)?.toLowerCase() ?? null)).toEqual([
        'text/event-stream; charset=utf-8',
        'no-cache, no-transform',
        'no',
        null,
      ]);
    });

    it('begin with the reconnection time and frame an event as id and data', async () => {
      const taskId = await fabricated(2);
      const text = await (await stream(taskId)).text();
      expect(text).toBe(await expectedText(taskId));
    });

    it('come in chunks that are as long as they say, whatever is in them', async () => {
      const taskId = await created('demo.echo', { text: 'ünï\u2028 😀'.repeat(50) });
      await followWebSocket(service.url, taskId, null, client.headers).end();
      const { port } = new URL(service.url);
      const { body } = await exchange(Number(port), head(`GET ${path(taskId)}`, client.headers));
      expect(dechunked(body)).toBe(await expectedText(taskId));
    });

    it('come without chunks to a client of HTTP/1.0', async () => {
      const taskId = await fabricated(2);
      const { port } = new URL(service.url);
      const asked = head(`GET ${path(taskId)}`, client.headers).replace('HTTP/1.1', 'HTTP/1.0');
      const { headers, body } = await exchange(Number(port), asked);
      expect(headers['transfer-encoding']).toBeUndefined();
      expect(body).toBe(await expectedText(taskId));
    });

    it('wait for the answer to a request that was sent before them on the same connection', async () => {
      const [waiting, taskId] = [await fabricated(0), await fabricated(2)];
      const { port } = new URL(service.url);
      const poll = `GET /api/v1/tasks/${waiting}/events?waitTimeoutMs=300`;
      const asked = [
        head(poll, { ...client.headers, Connection: 'keep-alive' }),
        head(`GET ${path(taskId)}`, client.headers),
      ];
      const { raw } = await exchange(Number(port), asked.join(''));
      const [, first = '', second = ''] = raw.split('HTTP/1.1 200 OK\r\n');
      expect(first).toContain(`"events":[],"hasMore":false`);
      expect(dechunked(second.slice(second.indexOf('\r\n\r\n') + 4))).toBe(await expectedText(taskId));
    });
  });

  it('deliver by every transport on one instance, within 3 s and in order, what another one writes', async () => {
    const taskId = await created('demo.greet', { name: 'Ada', steps: 5, stepMs: 300 });
    const here = followWebSocket(service.url, taskId, null, client.headers);
    const there = transportTable.map(([, follow]) => follow(second.url, taskId, undefined, client.headers));
    await here.end();
    await Promise.all(there.map((reader) => reader.end(3_000)));
    for (const reader of there) expect(reader.events).toEqual(here.events);
  });
});

describe('The SSE parser of these tests', () => {
  const blocks = (text: string, cut = text.length) => {
    const bytes = Buffer.from(text);
    const parser = new SseParser();
    return [...parser.feed(bytes.subarray(0, cut)), ...parser.feed(bytes.subarray(cut))].map(({ message }) => message);
  };

  it('reads all three line ends, wherever the bytes are cut', () => {
    const text = '\ufeff: note\nid: 1\rdata: ä\r\ndata:b\n\r\nevent:heartbeat\ndata\n\n';
    const expected = [
      { event: 'message', data: 'ä\nb', lastEventId: '1' },
      { event: 'heartbeat', data: '', lastEventId: '1' },
    ];
    for (let cut = 0; cut <= Buffer.byteLength(text); cut++) expect(blocks(text, cut)).toEqual(expected);
  });

  it('dispatches nothing for a block without data, and nothing that no blank line ended', () => {
    expect(blocks('retry: 2000\n\n:\n\ndata: lost')).toEqual([undefined, undefined]);
  });
});

describe('The page reader of these tests', () => {
  it('cuts out the exact text of each element', () => {
    const elements = ['{"a":"]}\\"[","b":[1,{}]}', '{}', '{ "c" : 1.0 }'];
    expect(rawElements(`{"events":[${elements.join(' , ')}],"more":[{}]}`, 'events')).toEqual(elements);
  });
});
