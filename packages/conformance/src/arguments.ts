import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import type { HeaderMap } from './api-client.js';
import type { Clause } from './clause.js';
import type { Access } from './installation.js';

export const USAGE = `Checks a TaskBridge service, or another implementation of its protocol, from outside.

  taskbridge-conformance BASE_URL [options]

  BASE_URL                   where the service is, with a path if it has one; or the variable BASE_URL
  --header 'Name: value'     credentials of a principal; any number of times
  --other-header 'N: v'      credentials of a second principal, who may not see the tasks of the first
  --worker-token TOKEN       a token of the worker protocol, with which the checks execute their own tasks
  --stream-max-seconds N     the STREAM_MAX_SECONDS of the service, where it is small enough to wait for
  --only CLAUSE[,CLAUSE]     only these clauses, or those that begin so: sse, websocket.pings; any number of times
  --patience SECONDS         how long to wait for what has to come; 5 unless said
  --json FILE                write the report to a file, too
  --list                     print the clauses and check nothing
  --help

A value that begins with @ names a file: its lines are headers, or its text is the token. The variables CONFORMANCE_HEADERS
and CONFORMANCE_OTHER_HEADERS (a header a line) and CONFORMANCE_WORKER_TOKEN do the same, so that no secret is on a command line.

Exit code: 0 when no clause failed, 1 when one did, 2 when nothing could be checked.
`;

export class UsageProblem extends Error {
  override readonly name = 'UsageProblem';
}

export interface Arguments {
  readonly access: Access;
  readonly clauses: readonly Clause[];
  readonly jsonFile: string | undefined;
}

type Environment = Readonly<Record<string, string | undefined>>;

const OPTIONS = {
  header: { type: 'string', multiple: true },
  'other-header': { type: 'string', multiple: true },
  'worker-token': { type: 'string' },
  'stream-max-seconds': { type: 'string' },
  only: { type: 'string', multiple: true },
  patience: { type: 'string' },
  json: { type: 'string' },
  list: { type: 'boolean' },
  help: { type: 'boolean' },
} as const;

/** @throws UsageProblem */
export function parsedArguments(
  args: readonly string[],
  env: Environment,
  all: readonly Clause[],
): Arguments | 'help' | 'list' {
  const { values, positionals } = parsed(args);
  if (values.help) return 'help';
  if (values.list) return 'list';
  const [url = env['BASE_URL'], ...more] = positionals;
  if (url === undefined || more.length > 0) throw new UsageProblem('name one BASE_URL');
  const headers = headersFrom(values.header, env['CONFORMANCE_HEADERS'], '--header');
  const others = headersFrom(values['other-header'], env['CONFORMANCE_OTHER_HEADERS'], '--other-header');
  const token = values['worker-token'] ?? env['CONFORMANCE_WORKER_TOKEN'];
  const maxSeconds = values['stream-max-seconds'];
  return {
    access: {
      baseUrl: baseUrlFrom(url),
      headers,
      patienceMs: 1000 * numberFrom(values.patience ?? '5', '--patience'),
      ...(Object.keys(others).length > 0 && { otherHeaders: others }),
      ...(token !== undefined && token !== '' && { workerToken: textFrom(token).trim() }),
      ...(maxSeconds !== undefined && { streamMaxSeconds: numberFrom(maxSeconds, '--stream-max-seconds') }),
    },
    clauses: chosen(all, values.only ?? []),
    jsonFile: values.json,
  };
}

function parsed(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], options: OPTIONS, allowPositionals: true });
  } catch (error) {
    throw new UsageProblem((error as Error).message);
  }
}

function baseUrlFrom(text: string): string {
  if (!URL.canParse(text) || !/^https?:\/\//.test(text)) throw new UsageProblem(`${text} is no http or https URL`);
  const { origin, pathname, search, hash, username, password } = new URL(text);
  if (username !== '' || password !== '') throw new UsageProblem('put credentials into --header, not into BASE_URL');
  if (search !== '' || hash !== '') throw new UsageProblem(`${text} has more than a path`);
  return origin + pathname.replace(/\/+$/, '');
}

function headersFrom(values: readonly string[] = [], variable: string | undefined, option: string): HeaderMap {
  const lines = [...(variable ?? '').split('\n'), ...values.flatMap((value) => textFrom(value).split('\n'))];
  const entries = lines
    .filter((line) => line.trim() !== '')
    .map((line) => {
      const [, name, value] = /^([!#$%&'*+.^_`|~\w-]+):\s*(.*?)\s*$/.exec(line) ?? [];
      if (name === undefined || value === undefined) throw new UsageProblem(`${option} is of the form 'Name: value'`);
      return [name, value] as const;
    });
  return Object.fromEntries(entries);
}

/** The value itself, or the text of the file that it names. */
function textFrom(value: string): string {
  if (!value.startsWith('@')) return value;
  try {
    return readFileSync(value.slice(1), 'utf8');
  } catch (error) {
    throw new UsageProblem((error as Error).message);
  }
}

function numberFrom(text: string, option: string): number {
  const number = Number(text);
  if (!(number > 0 && number <= 3600)) throw new UsageProblem(`${option} is a number of seconds, and not ${text}`);
  return number;
}

function chosen(all: readonly Clause[], only: readonly string[]): readonly Clause[] {
  const wanted = only.flatMap((names) => names.split(','));
  if (wanted.length === 0) return all;
  const fits = (name: string, { id }: Clause) => id === name || id.startsWith(`${name}.`);
  const unknown = wanted.filter((name) => !all.some((clause) => fits(name, clause)));
  if (unknown.length > 0) throw new UsageProblem(`there is no clause ${unknown.join(', ')}; --list prints them`);
  return all.filter((clause) => wanted.some((name) => fits(name, clause)));
}
