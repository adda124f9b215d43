import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Client, uniqueId } from '../support/client.js';
import { followSse } from '../support/follow.js';
import { eventually, temporaryDirectory } from '../support/service.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const { scripts } = createRequire(import.meta.url)('../../package.json') as { scripts: Record<string, string> };

const host = (body: string) => `import { TASK_HANDLERS } from 'taskbridge';
const handlers = {
  'dev.work': async (input) => {
    ${body}
  },
};
export default { module: class HostModule {}, providers: [{ provide: TASK_HANDLERS, useValue: handlers }] };
`;

type Line = Readonly<Record<string, unknown>>;

describe('`npm run dev`', () => {
  let module: string;
  let stdout = '';
  let ended: Promise<unknown>;
  let stop: () => void;
  let client: Client;

  const lines = () =>
    stdout
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line) as Line);
  const listening = () => lines().filter(({ msg }) => msg === 'service.listening');

  beforeAll(async () => {
    const directory = await temporaryDirectory();
    module = join(directory, 'host.mjs');
    await writeFile(module, host('return input.text.length;'));
    const { PATH, HOME } = process.env;
    const env = { PATH: `${root}node_modules/.bin:${PATH}`, HOME, PORT: '0', DATA_DIR: directory, HOST_MODULE: module };
    const child = spawn('/bin/sh', ['-c', scripts['dev'] ?? ''], {
      cwd: root,
      env,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
    ended = once(child, 'exit');
    stop = () => void child.kill('SIGTERM');
    await eventually('it listens', () => listening().length === 1, 60_000);
    client = new Client(String(listening()[0]?.['url']), 'developer');
  }, 90_000);

  afterAll(async () => {
    stop();
    await ended;
  });

  async function lastOf(input: Record<string, unknown>) {
    const { taskId } = (await client.create({ clientRequestId: uniqueId(), taskType: 'dev.work', input })).body;
    const reader = followSse(client.url, taskId, null, client.headers);
    await reader.end(60_000);
    const { type, payload } = JSON.parse(reader.events.at(-1)?.raw ?? '{}') as { type: string; payload: unknown };
    return { type, payload };
  }

  it('begins with one line about its settings, and has no warning', () => {
    expect(lines()[0]).toMatchObject({
      level: 'info',
      msg: 'settings.local',
      settings: expect.arrayContaining(['REQUIRE_AUTHENTICATED_PRINCIPAL', 'DATABASE_URL']),
    });
    expect(lines().filter(({ level }) => level !== 'info')).toEqual([]);
  });

  it('tells clients what a handler threw, and where', async () => {
    expect(await lastOf({})).toEqual({
      type: 'TASK_FAILED',
      payload: {
        code: 'HANDLER_ERROR',
        message:
          "The handler threw TypeError: Cannot read properties of undefined (reading 'length'), at host.mjs:4:23.",
        retryable: true,
      },
    });
  });

  it('has one line for a request', async () => {
    const { headers } = await client.create({ clientRequestId: uniqueId(), taskType: 'dev.work', input: { text: '' } });
    const story = () => lines().filter(({ correlation_id: id }) => id === headers.get('x-correlation-id'));
    await eventually('the request is logged', () => story().some(({ msg }) => msg === 'http_request.completed'));
    expect(story().map(({ msg }) => msg)).toEqual(['http_request.completed']);
  });

  it('starts again with a handler that was changed', async () => {
    await writeFile(module, host("return 'changed';"));
    await eventually('it listens again', () => listening().length === 2, 60_000);
    client = new Client(String(listening()[1]?.['url']), 'developer');
    expect(await lastOf({})).toEqual({ type: 'TASK_COMPLETED', payload: { result: 'changed' } });
  }, 90_000);
});
