import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { ShownOutput } from '#protocol/snapshots.js';
import { type Client, expectError, newPrincipal, type Snapshot, uniqueId } from '../support/client.js';
import { connected } from '../support/fold.js';
import { followSseAt, followWebSocket, type Headers } from '../support/follow.js';
import { Metrics } from '../support/metrics.js';
import { MultiplexClient } from '../support/multiplex-client.js';
import { createTestDatabase } from '../support/postgres.js';
import { eventually, type Service, startService } from '../support/service.js';
import { type Lease, output, progress, question, WITH_WORKERS, WorkerClient } from '../support/worker-client.js';

describe('A stream or a page that begins elsewhere than at the start', () => {
  let database: Awaited<ReturnType<typeof createTestDatabase>>;
  let service: Service;
  let client: Client;
  let worker: WorkerClient;

  beforeAll(async () => {
    database = await createTestDatabase();
    service = await startService({ DATABASE_URL: database.appUrl, ...WITH_WORKERS }, { lifetime: 'file' });
    client = newPrincipal(service.url);
    worker = new WorkerClient(service.url);
  });

  afterAll(async () => {
    await service.stop();
    await database.drop();
  });

  /** A task that runs, with these texts in one event each. Its head is one more than their number. */
  async function running(...texts: readonly string[]): Promise<Lease> {
    const taskType = uniqueId('begin');
    await client.create({ clientRequestId: uniqueId(), taskType, input: { secret: 1 }, metadata: { screen: 'x' } });
    const lease = await worker.lease(taskType);
    for (const [n, text] of texts.entries()) await worker.events(lease, n + 1, [output(text)]);
    return lease;
  }

  const streamed = (taskId: string, query: string, headers: Headers = {}) =>
    followSseAt(`${service.url}/api/v1/tasks/${taskId}/events/stream${query}`, { ...client.headers, ...headers });
  const withOutput = (taskId: string, query = 'include=output', headers: Headers = {}) =>
    client.request<Snapshot & ShownOutput>('GET', `/api/v1/tasks/${taskId}?${query}`, { headers });

  describe('by SSE', () => {
    it('has the snapshot first, with its id, and then the events behind it', async () => {
      const lease = await running('a', 'b');
      const reader = streamed(lease.taskId, '?from=snapshot');
      await reader.waitFor(({ frames }) => frames.length >= 2);
      const [retry, block = ''] = reader.frames;
      expect(retry).toBe('retry: 2000');
      const [, data = ''] = /^id: 3\nevent: snapshot\ndata: (.*)$/.exec(block) ?? [];
      const { body } = await withOutput(lease.taskId);
      const { input: _, ...shown } = body;
      expect(JSON.parse(data)).toEqual({ type: 'TASK_SNAPSHOT', ...shown });
      await worker.events(lease, 3, [output('c')]);
      await worker.complete(lease);
      await reader.end();
      expect(reader.events.map(({ eventId }) => eventId)).toEqual(['4', '5']);
    });

    it('says with from=now where it is, so that a break before the first event loses nothing', async () => {
      const lease = await running('a', 'b');
      const reader = streamed(lease.taskId, '?from=now');
      await reader.waitFor(({ frames }) => frames.length >= 2);
      expect(reader.frames[1]).toBe('id: 3');
      await worker.events(lease, 3, [output('c')]);
      await reader.waitFor(({ events }) => events.length === 1);
      expect(reader.events[0]?.eventId).toBe('4');
      reader.close();
    });

    it.each([
      ['the header', '?from=snapshot', { 'Last-Event-ID': '1' }],
      ['the header 0', '?from=now', { 'Last-Event-ID': '0' }],
      ['the parameter', '?from=snapshot&lastEventId=1', {}],
    ])('resumes from the cursor in %s', async (_, query, headers) => {
      const lease = await running('a', 'b');
      const reader = streamed(lease.taskId, query, headers);
      await reader.waitFor(({ events }) => events.some(({ eventId }) => eventId === '3'));
      expect(reader.frames.some((frame) => frame.includes('snapshot'))).toBe(false);
      reader.close();
    });

    it.each(['', '0'])(
      'begins with the snapshot of a task without events, with the empty cursor "%s" beside it',
      async (cursor) => {
        const { taskId } = (await client.create({ clientRequestId: uniqueId(), taskType: uniqueId('wait') })).body;
        const reader = streamed(taskId, `?from=snapshot${cursor === '' ? '&lastEventId=' : ''}`);
        await reader.waitFor(({ frames }) => frames.some((frame) => frame.startsWith('id: 0\nevent: snapshot')));
        reader.close();
      },
    );

    it('ends behind the snapshot of a task that is over, and is 204 with from=now', async () => {
      const lease = await running('a');
      await worker.complete(lease, { large: 'x' });
      const reader = streamed(lease.taskId, '?from=snapshot');
      expect(await reader.end()).toEqual({ kind: 'end' });
      expect(reader.frames[1]).toMatch(/^id: 3\nevent: snapshot\ndata: \{"type":"TASK_SNAPSHOT".*"status":"COMPLETED"/);
      expect(reader.frames[1]).toContain('"result":{"large":"x"}');
      expect(await streamed(lease.taskId, '?from=now').end()).toMatchObject({ kind: 'status', code: 204 });
      const again = streamed(lease.taskId, '?from=snapshot', { 'Last-Event-ID': '3' });
      expect(await again.end()).toMatchObject({ kind: 'status', code: 204 });
    });

    it('keeps the limit of a frame beside a large question', async () => {
      const lease = await running('\u0001'.repeat(10_000), '\u0001'.repeat(10_000), 'end');
      const interaction = { text: 'x'.repeat(60_000) };
      expect((await worker.suspend(lease, question({ interaction }))).status).toBe(200);
      // As if the operator allowed larger events.
      await connected(database.superuserUrl, async (db) => {
        const large = JSON.stringify({ ...question(), suspendId: 'q', interaction: { text: 'x'.repeat(950_000) } });
        await db.query('UPDATE taskbridge.proj_suspensions SET question = $2 WHERE task_id = $1', [
          lease.taskId,
          large,
        ]);
      });
      const reader = streamed(lease.taskId, '?from=snapshot');
      await reader.waitFor(({ frames }) => frames.length >= 2);
      reader.close();
      const bytes = Buffer.byteLength(`${reader.frames[1]}\n\n`);
      expect(bytes).toBeLessThanOrEqual(1024 * 1024);
      expect(reader.frames[1]).toContain('"truncated":true');
      expect(reader.frames[1]).toContain('end"');
    });

    it.each([
      // As much as fits beside the other members, and more.
      ['a result that fits', 1_000_000, 100, ['metadata', 'output', 'result']],
      ['a result that does not fit', 1_048_300, 100, ['metadata', 'output']],
      ['metadata that fits beside the text', 100, 500_000, ['metadata', 'output', 'result']],
      ['metadata that does not', 100, 1_000_000, ['output', 'result']],
      ['metadata that does not beside a result', 900_000, 500_000, ['output', 'result']],
    ])('keeps the limit of a frame with %s', async (_, resultBytes, metadataBytes, members) => {
      const taskType = uniqueId('large');
      const metadata = { text: 'm'.repeat(metadataBytes) };
      await client.create({ clientRequestId: uniqueId(), taskType, metadata });
      const lease = await worker.lease(taskType);
      for (let n = 1; n <= 6; n++) await worker.events(lease, n, [output(`${n}${'x'.repeat(60_000)}`)]);
      expect((await worker.complete(lease, 'r'.repeat(resultBytes))).status).toBe(200);
      const reader = streamed(lease.taskId, '?from=snapshot');
      await reader.end();
      const [, block = ''] = reader.frames;
      expect(Buffer.byteLength(`${block}\n\n`)).toBeLessThanOrEqual(1024 * 1024);
      const shown = JSON.parse(block.replace(/^.*\n.*\ndata: /, '')) as Record<string, unknown>;
      expect(['metadata', 'output', 'result'].filter((name) => name in shown)).toEqual(members);
      const { body } = await withOutput(lease.taskId);
      for (const name of ['metadata', 'result'] as const) if (name in shown) expect(shown[name]).toEqual(body[name]);
    });

    it.each(['?from=yesterday', '?from=', '?from=snapshot&from=now', '?include=output'])(
      'refuses %s',
      async (query) => {
        const lease = await running();
        const ended = await streamed(lease.taskId, query).end();
        expect(ended).toMatchObject({ kind: 'status', code: 400 });
        expect(ended.reason).toContain('"INVALID_REQUEST"');
      },
    );

    it('shows a stranger nothing', async () => {
      const lease = await running('a');
      const stranger = newPrincipal(service.url);
      const ended = await streamed(lease.taskId, '?from=snapshot', stranger.headers).end();
      expect(ended).toMatchObject({ kind: 'status', code: 404 });
      for (const path of [
        `/api/v1/tasks/${lease.taskId}?include=output`,
        `/api/v1/tasks/${lease.taskId}/events?beforeEventId=2`,
      ])
        expectError(await stranger.request('GET', path), 404, 'TASK_NOT_FOUND');
    });
  });

  describe('on a WebSocket', () => {
    it('has the snapshot between its confirmation and CAUGHT_UP', async () => {
      const [one, other] = [await running('a', 'b'), await running('c')];
      const socket = await MultiplexClient.open(service.url, client.headers);
      socket.subscribe(one.taskId, { from: 'snapshot' });
      socket.subscribe(other.taskId, { from: 'now' });
      await socket.until(() => socket.frames.filter(({ type }) => type === 'CAUGHT_UP').length === 2);
      const told = (taskId: string) => socket.of(taskId).map(({ type, headEventId }) => [type, headEventId]);
      expect(told(one.taskId)).toEqual([
        ['SUBSCRIPTION_CONFIRMED', '3'],
        ['TASK_SNAPSHOT', '3'],
        ['CAUGHT_UP', '3'],
      ]);
      expect(told(other.taskId)).toEqual([
        ['SUBSCRIPTION_CONFIRMED', '2'],
        ['CAUGHT_UP', '2'],
      ]);
      await worker.complete(one);
      await socket.until(() => socket.ended(one.taskId));
      expect(socket.envelopes(one.taskId).map((raw) => (JSON.parse(raw) as { eventId: string }).eventId)).toEqual([
        '4',
      ]);
      // It is over now.
      socket.subscribe(one.taskId, { from: 'snapshot' });
      await socket.until(() => socket.of(one.taskId).filter(({ type }) => type === 'SUBSCRIPTION_ENDED').length === 2);
      expect(
        told(one.taskId)
          .slice(-4)
          .map(([type]) => type),
      ).toEqual(['SUBSCRIPTION_CONFIRMED', 'TASK_SNAPSHOT', 'CAUGHT_UP', 'SUBSCRIPTION_ENDED']);
      socket.leave();
    });

    it('lets a cursor win', async () => {
      const lease = await running('a', 'b');
      const socket = await MultiplexClient.open(service.url, client.headers);
      socket.subscribe(lease.taskId, { from: 'snapshot', lastEventId: '2' });
      await socket.frame(({ type }) => type === 'CAUGHT_UP');
      expect(socket.of(lease.taskId).map(({ type }) => type)).toEqual([
        'SUBSCRIPTION_CONFIRMED',
        'TASK_OUTPUT',
        'CAUGHT_UP',
      ]);
      socket.leave();
    });

    it('closes with 4400 on another value, and on `from` without the subprotocol', async () => {
      const lease = await running('a');
      const socket = await MultiplexClient.open(service.url, client.headers);
      socket.subscribe(lease.taskId, { from: 'yesterday' });
      expect((await socket.close()).code).toBe(4400);
      const plain = followWebSocket(service.url, lease.taskId, undefined, client.headers);
      await plain.waitFor(({ events }) => events.length === 2);
      plain.close();
      const { WebSocket } = await import('ws');
      const refused = new WebSocket(`${service.url.replace('http', 'ws')}/api/v1/tasks/ws`, {
        headers: client.headers,
      });
      const code = await new Promise<number>((resolve) => {
        refused.on('open', () =>
          refused.send(JSON.stringify({ action: 'subscribe', taskId: lease.taskId, from: 'now' })),
        );
        refused.on('close', resolve);
      });
      expect(code).toBe(4400);
    });
  });

  describe('over HTTP', () => {
    it('has an ETag that changes with the boundary, and 304 without a read', async () => {
      const lease = await running('a');
      const first = await withOutput(lease.taskId);
      expect(first.body).toMatchObject({
        output: { text: { data: 'a', settled: '', truncated: false } },
        settledEventId: '1',
        outputAfterEventId: '0',
      });
      const tag = first.headers.get('etag') ?? '';
      expect((await withOutput(lease.taskId, 'include=output', { 'If-None-Match': tag })).status).toBe(304);
      await worker.fail(lease, { retryable: true, retryAfterMs: 0 });
      const retrying = await withOutput(lease.taskId, 'include=output', { 'If-None-Match': tag });
      expect(retrying.body).toMatchObject({ output: {}, settledEventId: '1' });
      // The claim stores no event, and moves the boundary.
      await worker.lease(lease.taskType);
      const again = { 'If-None-Match': retrying.headers.get('etag') ?? '' };
      const claimed = await withOutput(lease.taskId, 'include=output', again);
      expect(claimed.body).toMatchObject({ output: {}, settledEventId: '3', headEventId: '3' });
    });

    it('keeps progress that is void', async () => {
      const lease = await running('a');
      await worker.events(lease, 2, [progress(40)]);
      await worker.fail(lease, { retryable: true });
      expect((await withOutput(lease.taskId)).body).toMatchObject({ progress: 40, output: {} });
    });

    it('leaves a snapshot without `include` as it was', async () => {
      const lease = await running('a');
      const { body } = await client.snapshot(lease.taskId);
      expect(['output', 'settledEventId', 'outputAfterEventId'].filter((name) => name in body)).toEqual([]);
    });

    it.each(['include=', 'include=input', 'include=output&include=output', 'from=snapshot'])(
      'refuses ?%s',
      async (query) => {
        const lease = await running();
        expectError(await withOutput(lease.taskId, query), 400, 'INVALID_REQUEST');
      },
    );

    it('pages backwards from the end to the first event', async () => {
      const lease = await running('a', 'b', 'c', 'd');
      const page = async (before: string, maxEvents = '2') => {
        const { body } = await client.events(lease.taskId, { beforeEventId: before, maxEvents });
        return { ...body, taskId: undefined, events: body.events.map(({ eventId }) => eventId) };
      };
      expect(await page('6')).toEqual({
        events: ['4', '5'],
        nextAfterEventId: '5',
        nextBeforeEventId: '4',
        hasMore: true,
        headEventId: '5',
        terminal: false,
      });
      expect(await page('4')).toMatchObject({ events: ['2', '3'], hasMore: true, nextBeforeEventId: '2' });
      expect(await page('2')).toMatchObject({ events: ['1'], hasMore: false, nextBeforeEventId: '1' });
      expect(await page('1')).toEqual({ events: [], hasMore: false, headEventId: '5', terminal: false });
      await worker.complete(lease);
      expect(await page('7')).toMatchObject({ events: ['5', '6'], terminal: true });
      expect(await page('6')).toMatchObject({ events: ['4', '5'], terminal: false });
    });

    it.each([
      [{ beforeEventId: '' }, 400, 'INVALID_CURSOR'],
      [{ beforeEventId: '0' }, 400, 'INVALID_CURSOR'],
      [{ beforeEventId: '01' }, 400, 'INVALID_CURSOR'],
      [{ beforeEventId: '1e3' }, 400, 'INVALID_CURSOR'],
      [{ beforeEventId: '9'.repeat(300) }, 400, 'INVALID_CURSOR'],
      [{ beforeEventId: '4' }, 409, 'CURSOR_AHEAD'],
      [{ beforeEventId: '9'.repeat(40) }, 409, 'CURSOR_AHEAD'],
      [{ beforeEventId: '2', afterEventId: '1' }, 400, 'INVALID_REQUEST'],
      [{ beforeEventId: '2', waitTimeoutMs: '0' }, 400, 'INVALID_REQUEST'],
      [{ beforeEventId: '2', maxEvents: '0' }, 400, 'INVALID_REQUEST'],
      [{ afterEventId: '1', from: 'snapshot' }, 400, 'INVALID_REQUEST'],
    ])('answers %j with %i %s', async (query, status, code) => {
      const lease = await running('a');
      expectError(await client.events(lease.taskId, query as Record<string, string>), status, code);
    });

    it('lists the task of a request, in any normal form, beside other filters', async () => {
      const clientRequestId = `${uniqueId()} é`;
      const { taskId } = (await client.create({ clientRequestId, taskType: 'begin.list' })).body;
      await client.create({ clientRequestId: uniqueId(), taskType: 'begin.list' });
      const listed = async (query: Record<string, string>) =>
        (await client.list(query)).body.items.map((item) => item.taskId);
      expect(await listed({ clientRequestId })).toEqual([taskId]);
      expect(await listed({ clientRequestId: clientRequestId.normalize('NFD'), taskType: 'begin.list' })).toEqual([
        taskId,
      ]);
      expect(await listed({ clientRequestId, status: 'COMPLETED' })).toEqual([]);
      expect(await listed({ clientRequestId: 'unknown' })).toEqual([]);
      const other = newPrincipal(service.url);
      expect((await other.list({ clientRequestId })).body.items).toEqual([]);
      for (const wrong of ['', 'a\u0000b', 'x'.repeat(256)])
        expectError(await client.list({ clientRequestId: wrong }), 400, 'INVALID_REQUEST');
    });

    it('counts how long a snapshot takes, and those that are truncated', async () => {
      const before = await Metrics.scrape(service.url);
      const lease = await running(...Array.from({ length: 12 }, (_, n) => `${n}${'x'.repeat(60_000)}`));
      expect((await withOutput(lease.taskId)).body.output['text']?.truncated).toBe(true);
      await eventually('both are counted', async () => {
        const metrics = await Metrics.scrape(service.url);
        const grown = (name: string) => metrics.of(name) - before.of(name);
        return grown('snapshot_output_seconds_count') > 0 && grown('snapshot_outputs_truncated_total') === 1;
      });
    });
  });
});
