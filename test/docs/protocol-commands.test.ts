import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Client, uniqueId } from '../support/client.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { eventually, type Service, startService } from '../support/service.js';

const PAGE = readFileSync(new URL('../../PROTOCOL.md', import.meta.url), 'utf8');

interface Command {
  readonly text: string;
  /** Its lines with `-i`, without the headers. */
  readonly status: string | undefined;
  readonly body: unknown;
}

/** The commands of a section, each with the answer that stands below it. `…` on the page stands for more. */
function commandsOf(heading: string): readonly Command[] {
  const section = new RegExp(`^### ${heading}.*?(?=^##)`, 'ms').exec(PAGE)?.[0] ?? '';
  const parts = [...section.matchAll(/^```\n(.*?)^```$/gms)].flatMap(([, block = '']) => block.trim().split('\n\n'));
  return parts.flatMap((text, index) => {
    if (!text.startsWith('curl ')) return [];
    const end = parts.findIndex((part, at) => at > index && part.startsWith('curl '));
    const answer = parts.slice(index + 1, end === -1 ? undefined : end);
    const json = answer.find((part) => part.startsWith('{'));
    return [
      {
        text,
        status: answer.find((part) => part.startsWith('HTTP/1.1'))?.split('\n')[0],
        body: json === undefined ? undefined : (JSON.parse(json.replaceAll(',…]', ']')) as unknown),
      },
    ];
  });
}

/** What an answer has to be like: its members, and each value that is not a matter of chance. */
function likeThis(value: unknown): unknown {
  if (typeof value === 'number') return expect.any(Number);
  if (typeof value === 'string') return /…|^\d{4}-/.test(value) ? expect.any(String) : value;
  if (Array.isArray(value)) return expect.any(Array);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, likeThis(member)]));
}

describe('PROTOCOL.md', () => {
  let database: TestDatabase;
  let service: Service;
  let client: Client;

  beforeAll(async () => {
    database = await createTestDatabase();
    service = await startService({ DATABASE_URL: database.appUrl }, { lifetime: 'file' });
    client = new Client(service.url);
  });

  afterAll(async () => {
    await service.stop();
    await database.drop();
  });

  async function over(taskType: string, by = client): Promise<string> {
    const { taskId } = (await by.create({ clientRequestId: uniqueId(), taskType, input: { stepMs: 1 } })).body;
    await eventually('it is over', async () =>
      ['COMPLETED', 'FAILED'].includes((await by.snapshot(taskId)).body.status),
    );
    return taskId;
  }

  /** Runs the command as it stands, but for these words. */
  async function run({ text }: Command, words: Readonly<Record<string, string>>) {
    const all = { 'http://127.0.0.1:3000': service.url, ...words };
    const command = Object.entries(all).reduce((sent, [from, to]) => sent.replaceAll(from, to), text);
    const { stdout } = await promisify(execFile)('bash', ['-c', command.replace(/^curl /, 'curl -sS ')]);
    const json = stdout.split(/\r?\n/).find((line) => line.startsWith('{'));
    return {
      status: /^HTTP\/1\.1 .*/.exec(stdout)?.[0].trim(),
      body: json === undefined ? undefined : (JSON.parse(json) as Record<string, unknown>),
    };
  }

  async function answersAsShown(command: Command | undefined, words: Readonly<Record<string, string>>) {
    if (!command) throw new Error('the section has fewer commands');
    const { status, body } = await run(command, words);
    expect({ status, body }).toEqual({ status: command.status, body: likeThis(command.body) });
    return body;
  }

  it('runs a task again', async () => {
    const [again, ...more] = commandsOf('Run again');
    expect(more).toEqual([]);
    await answersAsShown(again, { '01a2…': await over('demo.steps') });
  });

  it('shows a bulk, runs what it showed, and runs one at once', async () => {
    const [shows, runs, atOnce, ...more] = commandsOf('Many tasks at once');
    expect(more).toEqual([]);
    await Promise.all([over('demo.fail'), over('demo.fail')]);
    const shown = await answersAsShown(shows, { '"report"': '"demo.fail"', '2026-12-01': '2099-12-01' });
    expect(shown).toMatchObject({ matched: 2 });
    const bulkId = String(shown?.['bulkId']);
    await answersAsShown(runs, { '5f1c…': bulkId });
    await eventually('both ran again', async () => {
      const { body } = await client.request<{ outcomes: unknown }>('GET', `/api/v1/bulks/${bulkId}`);
      return JSON.stringify(body.outcomes) === '{"RETRIED":2}';
    });
    await answersAsShown(atOnce, {});
  });

  it('erases', async () => {
    const [one, all, ...more] = commandsOf('Erase');
    expect(more).toEqual([]);
    await answersAsShown(one, { '01a2…': await over('demo.echo') });
    await over('demo.echo', new Client(service.url, 'ada'));
    expect(await answersAsShown(all, {})).toEqual({ erased: 1, hasMore: false });
  });

  it('makes a schedule', async () => {
    const [made, ...more] = commandsOf('Schedules');
    expect(more).toEqual([]);
    const { nextAt } = (await answersAsShown(made, {})) ?? {};
    expect(nextAt).toMatch(/T0[01]:30:00\.000Z$/);
  });
});
