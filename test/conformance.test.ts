import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { CLAUSES } from '../packages/conformance/src/clauses.js';
import { MEMORY_WORKER_TOKEN, MemoryServer } from './conformance/memory-server.js';
import { type Mutant, MUTANTS } from './conformance/mutants.js';
import { createTestDatabase } from './support/postgres.js';
import { type Service, startService, temporaryDirectory } from './support/service.js';
import { WITH_WORKERS, WORKER_TOKEN } from './support/worker-client.js';

const CLI = fileURLToPath(new URL('../packages/conformance/dist/cli.js', import.meta.url));
const PROXY_SECRET = 'the-secret-of-the-proxy-in-tests';
/** Mutants at one time: most of a run is waiting. */
const AT_ONE_TIME = 4;

interface Report {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  readonly clauses: readonly { readonly id: string; readonly outcome: string; readonly detail?: string }[];
}

async function kit(args: readonly string[], env: Record<string, string> = {}): Promise<Report> {
  const file = join(await temporaryDirectory(), 'report.json');
  await writeFile(file, '{"clauses":[]}');
  const child = spawn(process.execPath, [CLI, ...args, '--json', file], {
    env: { PATH: process.env['PATH'], ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const [stdout, stderr, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')]);
  const { clauses } = JSON.parse(await readFile(file, 'utf8')) as Pick<Report, 'clauses'>;
  return { code: code as number, stdout, stderr, clauses };
}

const idsOf = ({ clauses }: Report, outcome: string) =>
  clauses.filter((clause) => clause.outcome === outcome).map(({ id }) => id);
const failures = ({ clauses, stderr }: Report) => ({
  stderr,
  failed: clauses.filter(({ outcome }) => outcome === 'failed').map(({ id, detail }) => `${id}: ${detail}`),
});
const notCheckable = CLAUSES.filter(({ check }) => check === undefined).map(({ id }) => id);

/** A file of headers, as an operator would hand over credentials. */
async function headerFile(principal: string): Promise<string> {
  const file = join(await temporaryDirectory(), principal);
  await writeFile(file, `X-Principal-Id: ${principal}\nX-Auth-Proxy-Secret: ${PROXY_SECRET}\n`);
  return `@${file}`;
}

async function onMemory(mutant?: Pick<Mutant, 'make' | 'clocks' | 'options'>): Promise<Report & { left: string[] }> {
  const server = new MemoryServer(mutant?.clocks);
  mutant?.make(server);
  const url = await server.start();
  try {
    const args = [url, '--patience', '2', ...(mutant?.options ?? [])];
    const report = await kit(args, {
      CONFORMANCE_HEADERS: 'X-Principal-Id: a',
      CONFORMANCE_OTHER_HEADERS: 'X-Principal-Id: b',
      CONFORMANCE_WORKER_TOKEN: MEMORY_WORKER_TOKEN,
    });
    const left = server.tasks.all.filter(({ isOver }) => !isOver).map(({ taskId, status }) => `${taskId} ${status}`);
    return { ...report, left };
  } finally {
    await server.stop();
  }
}

describe('The conformance kit', () => {
  let database: Awaited<ReturnType<typeof createTestDatabase>>;
  let service: Service;
  let young: Service;
  let serviceReport: Promise<Report>;
  const onMutants = new Map<Mutant, Promise<Awaited<ReturnType<typeof onMemory>>>>();

  beforeAll(async () => {
    database = await createTestDatabase();
    const env = {
      DATABASE_URL: database.appUrl,
      ...WITH_WORKERS,
      REQUIRE_AUTHENTICATED_PRINCIPAL: 'true',
      AUTH_PROXY_SECRET: PROXY_SECRET,
    };
    [service, young] = await Promise.all([
      startService({ ...env, HEARTBEAT_SECONDS: '2', LEASE_SECONDS: '15' }, { lifetime: 'file' }),
      startService({ ...env, STREAM_MAX_SECONDS: '2' }, { lifetime: 'file' }),
    ]);
    // From here on everything runs beside everything: the slowest clauses wait half a minute for a clock of the service.
    serviceReport = onService(service);
    const waiting = [...MUTANTS];
    const settle = new Map<Mutant, (report: ReturnType<typeof onMemory>) => void>();
    for (const mutant of MUTANTS) onMutants.set(mutant, new Promise((resolve) => settle.set(mutant, resolve)));
    const lane = async () => {
      for (let mutant = waiting.shift(); mutant !== undefined; mutant = waiting.shift()) {
        const report = onMemory(mutant);
        settle.get(mutant)?.(report);
        await report.catch(() => undefined);
      }
    };
    lanes = Promise.all(Array.from({ length: AT_ONE_TIME }, lane));
  }, 60_000);
  let lanes: Promise<unknown> = Promise.resolve();

  afterAll(async () => {
    await Promise.all([lanes, serviceReport]);
    await Promise.all([service.stop(), young.stop()]);
    await database.drop();
  }, 60_000);

  const onService = async ({ url }: Service, ...options: readonly string[]) =>
    kit([
      url,
      '--header',
      await headerFile('conformance-a'),
      '--other-header',
      await headerFile('conformance-b'),
      '--worker-token',
      WORKER_TOKEN,
      ...options,
    ]);

  it('finds every clause kept by the service', async () => {
    const report = await serviceReport;
    expect(failures(report)).toEqual({ stderr: '', failed: [] });
    const unsaid = idsOf(report, 'not checked').filter((id) => !notCheckable.includes(id));
    expect(unsaid).toEqual(['create.unknown-type', 'sse.maximal-age', 'websocket.maximal-age']);
    expect(report.code).toBe(0);
  }, 60_000);

  it('leaves no task, no stream and no claim behind in the service', async () => {
    await serviceReport;
    const headers = { 'X-Principal-Id': 'conformance-a', 'X-Auth-Proxy-Secret': PROXY_SECRET };
    for (const status of ['ACCEPTED', 'RUNNING']) {
      const answer = await fetch(`${service.url}/api/v1/tasks?status=${status}`, { headers });
      expect(await answer.json()).toEqual({ items: [], nextCursor: null });
    }
    const metrics = await (await fetch(`${service.url}/metrics`)).text();
    expect(metrics.match(/^taskbridge_streams_active.* (?!0$).*$/gm)).toBeNull();
  }, 60_000);

  it('finds the close at the maximal age kept by a service whose streams grow old soon', async () => {
    const only = 'websocket.maximal-age,sse.maximal-age';
    const report = await onService(young, '--stream-max-seconds', '2', '--only', only);
    expect(failures(report)).toEqual({ stderr: '', failed: [] });
    expect(idsOf(report, 'passed')).toEqual(['sse.maximal-age', 'websocket.maximal-age']);
  }, 60_000);

  it('finds every clause kept by the server in memory', async () => {
    const report = await onMemory();
    expect(failures(report)).toEqual({ stderr: '', failed: [] });
    expect(report).toMatchObject({ code: 0, left: [] });
  }, 60_000);

  it.each(MUTANTS.map((mutant) => [mutant.name, mutant] as const))(
    'finds %s',
    async (_name, mutant) => {
      const report = await (onMutants.get(mutant) as ReturnType<typeof onMemory>);
      const demanded = [mutant.breaks, ...(mutant.follows ?? [])].sort();
      if (idsOf(report, 'failed').sort().join() !== demanded.join()) console.log(_name, failures(report));
      expect(idsOf(report, 'failed').sort()).toEqual(demanded);
      expect(report.code).toBe(1);
    },
    60_000,
  );
});

describe('The table of clauses', () => {
  const sections = (document: string): ReadonlyMap<string, string> => {
    const markdown = readFileSync(new URL(`../${document}`, import.meta.url), 'utf8').replace(
      /^```[\s\S]*?^```$/gm,
      (code) => code.replace(/^#/gm, ' #'),
    );
    const parts = markdown.split(/^#+ (.*)$/m).slice(1);
    return new Map(
      parts.flatMap((title, at) =>
        at % 2 === 0 ? [[title, (parts[at + 1] ?? '').replace(/\s+/g, ' ')] as const] : [],
      ),
    );
  };

  it('quotes what stands in the documents, under the headings that it names', () => {
    const untrue = CLAUSES.filter(({ document, section, sentence }) => {
      return !sections(document).get(section)?.includes(sentence);
    });
    expect(untrue.map(({ id, section, sentence }) => ({ id, section, sentence }))).toEqual([]);
  });

  it('has every section of PROTOCOL.md, and says of each clause that nobody can check why', () => {
    const covered = new Set(CLAUSES.filter(({ document }) => document === 'PROTOCOL.md').map(({ section }) => section));
    const [, ...headings] = sections('PROTOCOL.md').keys();
    expect(headings.filter((heading) => !covered.has(heading))).toEqual([]);
    for (const { id, check, reason } of CLAUSES)
      expect({ id, isSaid: check !== undefined || reason !== undefined }).toEqual({ id, isSaid: true });
  });

  it('names each clause once', () => {
    const ids = CLAUSES.map(({ id }) => id);
    expect(ids.filter((id, at) => ids.indexOf(id) !== at)).toEqual([]);
  });

  it('breaks by a mutant a clause that it has', () => {
    const named = MUTANTS.flatMap(({ breaks, follows = [] }) => [breaks, ...follows]);
    expect(named.filter((id) => !CLAUSES.some((clause) => clause.id === id))).toEqual([]);
  });
});
