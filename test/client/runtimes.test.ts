import { execFile } from 'node:child_process';
import { globSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { createContext, runInContext } from 'node:vm';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { createClient, TaskSummary } from '../../packages/client/src/client-api.js';
import type { EventPage } from '../support/client.js';
import { installLocked } from '../support/locked-folder.js';
import { temporaryDirectory } from '../support/service.js';
import { chaosInNode } from './chaos.js';
import { followStory } from './follow-story.js';
import { judgeStory } from './judge-story.js';
import { type Stage, startStage } from './stage.js';

const path = (name: string) => fileURLToPath(new URL(`../../${name}`, import.meta.url));
/** The package of this machine is the one that was installed. */
const node22 = (): string =>
  path(String(globSync('test/client/node-22/node_modules/node-*/bin/node', { cwd: path('.') })[0]));

/** What edge runtimes have in common, and the client needs: no WebSocket, no EventSource, no page, nothing of Node. */
const EDGE = {
  ...{ AbortController, AbortSignal, Blob, crypto, fetch, File, FormData, Headers, ReadableStream, Response },
  ...{ clearTimeout, setTimeout, TextDecoder, TextEncoder, URL, URLSearchParams },
};

let stage: Stage;

beforeAll(async () => {
  await Promise.all(['packages/client', 'test/client/node-22'].map((name) => installLocked(path(name))));
  stage = await startStage();
}, 300_000);

afterAll(() => stage.end());

describe('The client', () => {
  it('runs on Node 22', async () => {
    const { stdout } = await promisify(execFile)(node22(), ['--version']);
    expect(stdout).toMatch(/^v22\./);
    const sizes = { port: stage.nginx.port, headers: stage.headersOf('alice'), runs: 10, seed: 22, atATime: 10 };
    const verdicts = await chaosInNode(sizes, undefined, node22());
    expect(verdicts.filter(({ wrong }) => wrong.length > 0)).toEqual([]);
    expect(verdicts).toHaveLength(10);
  }, 240_000);

  it.each([
    ['22', node22],
    ['24', () => process.execPath],
  ])('ends what it has begun on Node %s, also after a collection of garbage', async (_version, node) => {
    const script = path('test/client/linked-signals.mjs');
    const { stdout } = await promisify(execFile)(node(), [
      '--expose-gc',
      script,
      path('packages/client/dist/client/src/waiting.js'),
    ]);
    expect(stdout.trim()).toBe('cut,closed');
  });

  it('runs with fetch alone, as in edge runtimes', async () => {
    const outfile = join(await temporaryDirectory(), 'client.js');
    const options = ['--bundle', '--format=iife', '--global-name=taskbridge', `--outfile=${outfile}`];
    const entry = path('packages/client/dist/client/src/client-api.js');
    await promisify(execFile)(path('packages/client/node_modules/.bin/esbuild'), [entry, ...options]);
    const edge = createContext({ ...EDGE }) as { taskbridge: { createClient: typeof createClient } };
    runInContext(await readFile(outfile, 'utf8'), edge);
    const client = edge.taskbridge.createClient({ url: stage.nginx.url, headers: () => stage.headersOf('alice') });
    const used = new Set<string | undefined>();
    client.connection.subscribe(() => {
      const { status, transport } = client.connection.get();
      if (status === 'open') used.add(transport);
    });
    const requestId = `edge-${Math.random()}`;
    const seen = await followStory(client, requestId);
    const listed: TaskSummary[] = [];
    for await (const task of client.list({ clientRequestId: requestId })) listed.push(task);
    const log = await fetch(`${stage.nginx.url}/api/v1/tasks/${seen.taskId}/events?maxEvents=500&waitTimeoutMs=0`, {
      headers: stage.headersOf('alice'),
    });
    expect(judgeStory(seen, ((await log.json()) as EventPage).events, listed.length)).toEqual([]);
    expect([...used]).toEqual(['sse']);
    client.close();
  }, 60_000);
});
