import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { CLAUSES } from '../../packages/conformance/src/clauses.js';
import { MEMORY_WORKER_TOKEN, MemoryServer } from './memory-server.js';
import { MUTANTS } from './mutants.js';
import { createTestDatabase } from '../support/postgres.js';
import { eventually, type Service, startService, temporaryDirectory } from '../support/service.js';
import { WITH_WORKERS, WORKER_TOKEN } from '../support/worker-client.js';

const CLI = fileURLToPath(new URL('../../packages/conformance/dist/conformance/src/cli.js', import.meta.url));
const PROXY_SECRET = 'the-secret-of-the-proxy-in-tests';
const HOOKS = new URL('../support/typescript-hooks.js', import.meta.url).href;
const RUN = fileURLToPath(new URL('./run.ts', import.meta.url));
/** What is waited for runs beside everything else of this file. */
const WAIT_MS = 180_000;
/** Processes that share the mutants. */
const SHARES = 2;

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

/** What the kit said of a mutant. */
interface Verdict {
  readonly name: string;
  readonly failed: readonly string[];
  readonly seen: readonly string[];
}

/** The kit against all mutants. A promise for each name, which rejects when its process ends without a word about it. */
function onMutants(): ReadonlyMap<string, Promise<Verdict>> {
  const verdicts = new Map<string, Promise<Verdict>>();
  for (let share = 1; share <= SHARES; share += 1) {
    const args = ['--disable-warning=ExperimentalWarning', '--import', HOOKS, RUN, '--share', `${share}/${SHARES}`];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    const said = text(child.stderr);
    const lines = createInterface({ input: child.stdout });
    // Each mutant of the share listens.
    for (const emitter of [lines, child]) emitter.setMaxListeners(0);
    for (const { name } of MUTANTS.filter((_, at) => at % SHARES === share - 1)) {
      const verdict = new Promise<Verdict>((resolve, reject) => {
        lines.on('line', (line) => {
          const found = JSON.parse(line) as Verdict;
          if (found.name === name) resolve(found);
        });
        child.once('close', () => void said.then((why) => reject(new Error(`nothing was said of ${name}: ${why}`))));
      });
      verdict.catch(() => undefined);
      verdicts.set(name, verdict);
    }
  }
  return verdicts;
}

describe('The conformance kit', () => {
  let database: Awaited<ReturnType<typeof createTestDatabase>>;
  let service: Service;
  let young: Service;
  let serviceReport: Promise<Report>;
  let verdicts: ReturnType<typeof onMutants>;

  beforeAll(async () => {
    database = await createTestDatabase();
    const env = {
      DATABASE_URL: database.appUrl,
      ...WITH_WORKERS,
      REQUIRE_AUTHENTICATED_PRINCIPAL: 'true',
      AUTH_PROXY_SECRET: PROXY_SECRET,
      FOLLOW_TOKEN_KEYS: '0123456789abcdef0123456789abcdef',
    };
    [service, young] = await Promise.all([
      startService({ ...env, HEARTBEAT_SECONDS: '2', LEASE_SECONDS: '15' }, { lifetime: 'file' }),
      startService({ ...env, STREAM_MAX_SECONDS: '2' }, { lifetime: 'file' }),
    ]);
    // From here on everything runs beside everything: the slowest clauses wait half a minute for a clock of the service.
    serviceReport = onService(service);
    verdicts = onMutants();
  }, WAIT_MS);

  afterAll(async () => {
    await Promise.allSettled([serviceReport, ...verdicts.values()]);
    await Promise.all([service.stop(), young.stop()]);
    await database.drop();
  }, WAIT_MS);

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

  it(
    'finds every clause kept by the service',
    async () => {
      const report = await serviceReport;
      expect(failures(report)).toEqual({ stderr: '', failed: [] });
      const unsaid = idsOf(report, 'not checked').filter((id) => !notCheckable.includes(id));
      expect(unsaid).toEqual(['create.unknown-type', 'sse.maximal-age', 'websocket.maximal-age']);
      expect(report.code).toBe(0);
    },
    WAIT_MS,
  );

  it(
    'leaves no task, no stream and no claim behind in the service',
    async () => {
      await serviceReport;
      const headers = { 'X-Principal-Id': 'conformance-a', 'X-Auth-Proxy-Secret': PROXY_SECRET };
      for (const status of ['ACCEPTED', 'RUNNING']) {
        const answer = await fetch(`${service.url}/api/v1/tasks?status=${status}`, { headers });
        expect(await answer.json()).toEqual({ items: [], nextCursor: null });
      }
      const metrics = await (await fetch(`${service.url}/metrics`)).text();
      expect(metrics.match(/^taskbridge_streams_active.* (?!0$).*$/gm)).toBeNull();
    },
    WAIT_MS,
  );

  it(
    'finds the close at the maximal age kept by a service whose streams grow old soon',
    async () => {
      const only = 'websocket.maximal-age,sse.maximal-age';
      const report = await onService(young, '--stream-max-seconds', '2', '--only', only);
      expect(failures(report)).toEqual({ stderr: '', failed: [] });
      expect(idsOf(report, 'passed')).toEqual(['sse.maximal-age', 'websocket.maximal-age']);
    },
    WAIT_MS,
  );

  it(
    'finds every clause kept by the server in memory, and leaves nothing behind in it',
    async () => {
      const server = new MemoryServer();
      const url = await server.start();
      const report = await kit([url], {
        CONFORMANCE_HEADERS: 'X-Principal-Id: a',
        CONFORMANCE_OTHER_HEADERS: 'X-Principal-Id: b',
        CONFORMANCE_WORKER_TOKEN: MEMORY_WORKER_TOKEN,
      });
      await eventually('no connection is open', () => server.openConnections === 0);
      await server.stop();
      expect(failures(report)).toEqual({ stderr: '', failed: [] });
      expect(report.code).toBe(0);
      expect(server.tasks.all.filter(({ isOver }) => !isOver).map(({ taskId, status }) => [taskId, status])).toEqual(
        [],
      );
    },
    WAIT_MS,
  );

  it(
    'needs no more than a principal, and says what it could not check',
    async () => {
      const server = new MemoryServer();
      const url = await server.start();
      const report = await kit([
        url,
        '--header',
        'X-Principal-Id: a',
        '--patience',
        '1',
        '--only',
        'errors,create,callers',
      ]);
      await server.stop();
      expect(failures(report)).toEqual({ stderr: '', failed: [] });
      const reasons = new Map(report.clauses.map(({ id, detail }) => [id, detail]));
      expect(reasons.get('create.created')).toContain('demo.greet');
      expect(reasons.get('create.members')).toContain('--worker-token');
      expect(reasons.get('callers.foreign-read')).toMatch(/--worker-token.*--other-header/);
      expect(idsOf(report, 'passed')).toContain('errors.shape');
    },
    WAIT_MS,
  );

  it.each(MUTANTS)(
    'finds $name',
    async ({ name, breaks, follows = [], mayFollow = [] }) => {
      const { failed, seen } = (await verdicts.get(name)) as Verdict;
      const demanded = [breaks, ...follows].sort();
      const others = failed.filter((id) => demanded.includes(id) || !mayFollow.includes(id));
      expect({ failed: others.sort(), seen }).toEqual({ failed: demanded, seen });
    },
    WAIT_MS,
  );

  it.each([
    ['no address', [], 'name one BASE_URL'],
    ['two addresses', ['http://a', 'http://b'], 'name one BASE_URL'],
    ['an address of another kind', ['ftp://127.0.0.1'], 'is no http or https URL'],
    ['an unknown clause', ['http://127.0.0.1:9', '--only', 'sse.nothing'], 'there is no clause sse.nothing'],
    ['a header without a value', ['http://127.0.0.1:9', '--header', 'X-Principal-Id'], "is of the form 'Name: value'"],
    ['a file that is not there', ['http://127.0.0.1:9', '--worker-token', '@/nowhere'], 'ENOENT'],
    ['nobody at the address', ['http://127.0.0.1:9'], 'was not answered'],
  ])('ends with 2 and says why for %s', async (_what, args, why) => {
    const { code, stdout, stderr } = await kit(args);
    expect({ code, stdout, stderr }).toEqual({ code: 2, stdout: '', stderr: expect.stringContaining(why) });
  });

  it('prints its usage', async () => {
    const { code, stdout } = await kit(['--help']);
    expect({ code, stdout }).toEqual({ code: 0, stdout: expect.stringContaining('taskbridge-conformance BASE_URL') });
  });
});

describe('The table of clauses', () => {
  const sections = (document: string): ReadonlyMap<string, string> => {
    const markdown = readFileSync(new URL(`../../${document}`, import.meta.url), 'utf8').replace(
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
