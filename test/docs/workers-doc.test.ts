import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { checkInvariants } from '../support/fold.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { type Service, startService, temporaryDirectory } from '../support/service.js';
import { watched } from '../support/worker.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const page = readFileSync(join(root, 'docs/workers.md'), 'utf8');

interface Block {
  readonly language: string;
  readonly text: string;
  /** The name that an HTML comment above the block gives. */
  readonly file: string | undefined;
}

const blocks: readonly Block[] = [...page.matchAll(/(?:<!-- file: (\S+) -->\n)?^```(\w+)\n([\s\S]*?)^```$/gm)].map(
  ([, file, language = '', text = '']) => ({ language, text, file }),
);

/** Each command with what the page says comes of it. */
const steps = blocks.flatMap(({ language, text }, index) => {
  const next = blocks[index + 1];
  const expected = next && ['json', 'text'].includes(next.language) ? next : undefined;
  return language === 'sh' ? [{ command: text, expected }] : [];
});

/** `"…"` on the page stands for whatever is not null. */
function withAnything(value: unknown): unknown {
  if (value === '…') return expect.anything();
  if (Array.isArray(value)) return value.map(withAnything);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, withAnything(member)]));
}

describe('docs/workers.md', () => {
  let database: TestDatabase;
  let service: Service;
  let outputs: readonly string[];
  let script: { code: number | null; stderr: string };

  beforeAll(async () => {
    const start = blocks.find(({ language }) => language === 'console')?.text ?? '';
    const settings = Object.fromEntries([...start.matchAll(/(\w+)=(\S+)/g)].map(([, name, value]) => [name, value]));
    expect(settings).toMatchObject({ EXECUTOR: expect.any(String), WORKER_TOKENS: expect.any(String) });
    database = await createTestDatabase();
    service = await startService({ DATABASE_URL: database.appUrl, ...settings }, { lifetime: 'file' });

    const directory = await temporaryDirectory();
    await mkdir(join(directory, 'node_modules/@taskbridge'), { recursive: true });
    await symlink(join(root, 'packages/worker'), join(directory, 'node_modules/@taskbridge/worker'));
    await symlink(join(root, 'examples'), join(directory, 'examples'));
    for (const { file, text } of blocks) if (file !== undefined) await writeFile(join(directory, file), text);

    // One shell for all, as for a person who types them; a line that no command prints stands between two.
    const boundary = '--- next ---';
    const commands = steps.map(({ command }) => command.replace('http://127.0.0.1:3000', service.url));
    const bash = spawn('bash', ['-euo', 'pipefail', '-c', commands.join(`echo '${boundary}'\n`)], {
      cwd: directory,
      env: { PATH: process.env['PATH'] },
      stdio: ['ignore', 'pipe', 'pipe'],
      // A command that hangs fails with what came before it.
      timeout: 50_000,
    });
    const watching = watched(bash);
    const [code] = (await once(bash, 'close')) as [number | null];
    outputs = watching.stdout().split(`${boundary}\n`);
    script = { code, stderr: watching.stderr() };
  }, 90_000);

  afterAll(async () => {
    await checkInvariants(database.superuserUrl);
    await service.stop();
    await database.drop();
  });

  it('has commands that run, all of them', () => {
    expect(script).toEqual({ code: 0, stderr: '' });
    expect(outputs).toHaveLength(steps.length);
    expect(steps.length).toBeGreaterThan(15);
  });

  const answered = steps.flatMap(({ command, expected }, index) => {
    const lastLine = command.trim().split('\n').at(-1) ?? '';
    return expected ? [{ name: `step ${index + 1}, ${lastLine}`, index, expected }] : [];
  });

  it.each(answered)('says what comes of $name', ({ index, expected: { language, text } }) => {
    const last = (outputs[index] ?? '').trim().split('\n').at(-1) ?? '';
    if (language === 'text') expect(last).toBe(text.trim());
    else expect(JSON.parse(last)).toEqual(withAnything(JSON.parse(text)));
  });

  it('shows every call of the protocol', () => {
    const calls = [
      'leases',
      'events',
      'heartbeat',
      'suspend',
      'complete',
      'fail',
      'cancelled',
      'release',
      'attachments',
    ];
    const commands = steps.map(({ command }) => command).join('');
    expect(calls.filter((call) => !new RegExp(`(worker |/)${call}\\b`).test(commands))).toEqual([]);
  });
});
