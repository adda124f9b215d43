import { readFileSync, statSync } from 'node:fs';

/** What libraries read from the environment on their own, and may come by file all the same. */
const OF_LIBRARIES = [
  'AWS_ACCESS_KEY_ID',
  'AWS_SECRET_ACCESS_KEY',
  'AWS_SESSION_TOKEN',
  'OTEL_EXPORTER_OTLP_HEADERS',
  'OTEL_EXPORTER_OTLP_TRACES_HEADERS',
] as const;

/** A secret, or a list of them; not a log that grew into the wrong place. */
const MAX_BYTES = 64 * 1024;

export interface Files {
  /** By the name of the setting, without `_FILE`. */
  readonly texts: ReadonlyMap<string, string>;
  /** By the name of the variable. Never what is in a file. */
  readonly problems: ReadonlyMap<string, string>;
}

/** NAME_FILE names a file that holds NAME, as Docker and Kubernetes mount secrets. */
export function readFiles(env: NodeJS.ProcessEnv, names: readonly string[]): Files {
  const texts = new Map<string, string>();
  const problems = new Map<string, string>();
  for (const name of names) {
    const path = env[`${name}_FILE`]?.trim();
    if (!path) continue;
    if (env[name]?.trim()) {
      problems.set(name, `is set, and so is ${name}_FILE`);
      continue;
    }
    const content = contentOf(path);
    if ('text' in content) texts.set(name, content.text);
    else problems.set(`${name}_FILE`, content.problem);
  }
  return { texts, problems };
}

/** Puts what libraries are to find into `env`, in place of the name of its file. */
export function adoptFilesOfLibraries(env: NodeJS.ProcessEnv): Files['problems'] {
  const { texts, problems } = readFiles(env, OF_LIBRARIES);
  for (const [name, text] of texts) {
    env[name] = text;
    delete env[`${name}_FILE`];
  }
  return problems;
}

export const isAdopted = (name: string): boolean => (OF_LIBRARIES as readonly string[]).includes(name);

function contentOf(path: string): { text: string } | { problem: string } {
  try {
    const stats = statSync(path);
    if (stats.isDirectory()) return { problem: 'names a directory, not a file' };
    if (!stats.isFile()) return { problem: 'names something that is no file' };
    if (stats.size > MAX_BYTES) return { problem: `the file has more than ${MAX_BYTES} bytes` };
    const text = readFileSync(path, 'utf8').trim();
    return text === '' ? { problem: 'the file is empty' } : { text };
  } catch (error) {
    return { problem: `the file cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown'})` };
  }
}
