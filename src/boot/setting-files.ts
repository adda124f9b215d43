import { readFileSync, statSync } from 'node:fs';

/** Variables that libraries read themselves, and that may also come by file. */
const OF_LIBRARIES = [
  'AWS_ACCESS_KEY_ID',
  'AWS_SECRET_ACCESS_KEY',
  'AWS_SESSION_TOKEN',
  'OTEL_EXPORTER_OTLP_HEADERS',
  'OTEL_EXPORTER_OTLP_TRACES_HEADERS',
] as const;

/** Enough for a list of secrets, and for policies with their schemas. A larger file is the wrong file. */
const MAX_BYTES = 1024 * 1024;

export interface Files {
  /** By the name of the setting, without `_FILE`. */
  readonly texts: ReadonlyMap<string, string>;
  /** Problems by the name of the variable, never with the content of a file. */
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

/** Puts the values for libraries into `env`, in place of the names of their files. */
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
