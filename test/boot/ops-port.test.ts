import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type ErrorBody, newPrincipal, uniqueId } from '../support/client.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { eventually, runToExit, type Service, startService } from '../support/service.js';

let database: TestDatabase;

beforeAll(async () => {
  database = await createTestDatabase();
});

afterAll(() => database.drop());

async function get(url: string): Promise<{ status: number; text: string }> {
  const response = await fetch(url);
  return { status: response.status, text: await response.text() };
}

/** The address of the second port, in the log line `service.listening`. */
function opsUrlOf(service: Service): string {
  const line = service
    .stdout()
    .split('\n')
    .find((text) => text.includes('"service.listening"'));
  return (JSON.parse(line ?? '{}') as { ops_url: string }).ops_url;
}

const accepts = async (url: string) => {
  const { port, hostname } = new URL(url);
  const socket = connect(Number(port), hostname);
  const opened = await once(socket, 'connect').then(
    () => true,
    () => false,
  );
  socket.destroy();
  return opened;
};

describe('With OPS_PORT', () => {
  let service: Service;
  let ops: string;

  beforeAll(async () => {
    service = await startService({ DATABASE_URL: database.appUrl, OPS_PORT: '0' }, { lifetime: 'file' });
    ops = opsUrlOf(service);
  });

  it.each(['/metrics', '/METRICS', '/metrics/'])('PORT does not have %s', async (path) => {
    const { status, text } = await get(service.url + path);
    expect([status, (JSON.parse(text) as ErrorBody).code]).toEqual([404, 'NOT_FOUND']);
  });

  it('PORT says whether it is ready, and no more', async () => {
    expect(await get(`${service.url}/ready`)).toEqual({ status: 200, text: '{"status":"ready"}' });
    expect(await get(`${service.url}/health`)).toEqual({ status: 200, text: '{"status":"ok"}' });
  });

  it('the other port has the details, the metrics and the liveness', async () => {
    const details = { postgres: { status: 'ready' }, executor: { status: 'ready' }, attachments: { status: 'ready' } };
    const ready = await get(`${ops}/ready`);
    expect([ready.status, JSON.parse(ready.text)]).toEqual([200, { status: 'ready', details }]);
    expect((await get(`${ops}/metrics`)).text).toContain('taskbridge_task_starts_total 0');
    expect((await get(`${ops}/health`)).status).toBe(200);
  });

  it.each(['/api/v1/tasks', '/openapi.json', '/docs', '/asyncapi.json', '/nowhere', '/metrics/x'])(
    'the other port does not have %s',
    async (path) => {
      const { status, text } = await get(ops + path);
      expect([status, (JSON.parse(text) as ErrorBody).code]).toEqual([404, 'NOT_FOUND']);
    },
  );

  it('the other port takes no task and no claim', async () => {
    const client = newPrincipal(ops);
    expect((await client.create({ clientRequestId: uniqueId(), taskType: 'demo.echo' })).status).toBe(404);
    expect((await client.post('/worker/v1/leases', { workerId: 'w', taskTypes: ['t'] })).status).toBe(404);
  });

  it('the other port is there until the drain is over', async () => {
    const { port, hostname } = new URL(service.url);
    // A request that does not come to its end: the drain waits for it.
    const unfinished = connect(Number(port), hostname).on('error', () => {});
    unfinished.write(
      'POST /api/v1/tasks HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{',
    );
    await once(unfinished, 'connect');
    const stopped = service.stop();
    await eventually('PORT is closed', async () => !(await accepts(service.url)));
    const ready = await get(`${ops}/ready`);
    expect([ready.status, JSON.parse(ready.text)]).toMatchObject([
      503,
      { status: 'not_ready', details: { service: { status: 'draining' } } },
    ]);
    expect((await get(`${ops}/metrics`)).status).toBe(200);
    unfinished.destroy();
    expect(await stopped).toEqual({ code: 0, signal: null });
    expect(await accepts(ops)).toBe(false);
  });
});

it('OPS_PORT that somebody else has is refused in one line, before PORT opens', async () => {
  const other = createServer().listen(0, '127.0.0.1');
  await once(other, 'listening');
  const { port } = other.address() as AddressInfo;
  const exit = await runToExit({ DATABASE_URL: database.appUrl, OPS_PORT: String(port) });
  other.close();
  expect([exit.code, exit.listened]).toEqual([1, false]);
  expect(exit.stderr).toBe(`OPS_PORT: ${port} is taken by another process; set OPS_PORT to another port\n`);
});

it('OPS_PORT that is PORT is refused by name', async () => {
  const exit = await runToExit({ DATABASE_URL: database.appUrl, OPS_PORT: '3000', PORT: '3000' });
  expect([exit.code, exit.stderr]).toEqual([1, 'OPS_PORT: must not be PORT\n']);
});
