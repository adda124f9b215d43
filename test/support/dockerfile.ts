import { execFile } from 'node:child_process';
import { cp, mkdir, readFile, rename, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';

export interface Instruction {
  /** The name in capitals. */
  readonly name: string;
  /** The text on one line, without comments. */
  readonly text: string;
}

export interface Stage {
  readonly name: string;
  readonly base: string;
  readonly instructions: readonly Instruction[];
}

export function parseDockerfile(text: string): readonly Stage[] {
  const stages: (Stage & { instructions: Instruction[] })[] = [];
  const lines = text
    .replace(/^\s*#.*\n/gm, '')
    .replaceAll(/\\\n\s*/g, ' ')
    .split('\n');
  for (const line of lines) {
    const [, name, rest] = /^([A-Z]+)\s+(.*?)\s*$/.exec(line) ?? [];
    if (name === undefined || rest === undefined) continue;
    if (name === 'FROM') {
      const [base = '', , alias] = rest.split(/\s+/);
      stages.push({ name: alias ?? '', base, instructions: [] });
    } else stages.at(-1)?.instructions.push({ name, text: rest });
  }
  return stages;
}

/** The words of the last instruction of this name, which has to be in exec form: no shell stands between. */
export function execForm(stage: Stage, name: string): readonly string[] {
  const text = stage.instructions.findLast((instruction) => instruction.name === name)?.text ?? '';
  return JSON.parse(text.slice(text.indexOf('['))) as string[];
}

export interface Build {
  /** The files that go to the engine. */
  readonly context: string;
  /** Each stage becomes a folder of its own in here: its root file system, without what the base image has. */
  readonly directory: string;
  /** Performs a step in the folder of its WORKDIR. False: it is not for this machine, and is only reported. */
  run(command: string, workingDirectory: string): Promise<boolean>;
}

export interface Built {
  readonly root: string;
  readonly workingDirectory: string;
  readonly env: Readonly<Record<string, string>>;
  /** The steps that were not performed. */
  readonly left: readonly string[];
}

/** The parts of `docker build` that need no engine: COPY by the rules of .dockerignore, RUN, WORKDIR, ENV. */
export async function build(stages: readonly Stage[], { context, directory, run }: Build): Promise<Built> {
  const admits = admittedBy(await readFile(join(context, '.dockerignore'), 'utf8'));
  const rootOf = (stage: Stage) => join(directory, stage.name || 'image');
  const built: Built[] = [];
  for (const stage of stages) {
    const root = rootOf(stage);
    const env: Record<string, string> = {};
    const left: string[] = [];
    let workingDirectory = root;
    for (const { name, text } of stage.instructions) {
      if (name === 'WORKDIR') workingDirectory = join(root, text);
      await mkdir(workingDirectory, { recursive: true });
      if (name === 'ENV') for (const [, key = '', value = ''] of text.matchAll(/(\w+)=(\S+)/g)) env[key] = value;
      if (name === 'RUN' && !(await run(text, workingDirectory))) left.push(text);
      if (name === 'COPY') {
        const [, from, paths = ''] = /^(?:--from=(\S+)\s+)?(.*)$/.exec(text) ?? [];
        const [target = '', ...sources] = paths.split(/\s+/).reverse();
        const source = stages.find((other) => other.name === from);
        for (const path of sources) {
          const origin = source === undefined ? join(context, path) : join(rootOf(source), path);
          if (source === undefined && !admits(path)) throw new Error(`COPY ${path}: .dockerignore keeps it back`);
          const isDirectory = (await stat(origin)).isDirectory();
          const destination = join(workingDirectory, target, isDirectory ? '' : (path.split('/').at(-1) ?? ''));
          await mkdir(dirname(destination), { recursive: true });
          // What a stage made is not needed there any more.
          if (source === undefined) await cp(origin, destination, { recursive: true });
          else await rename(origin, destination);
        }
      }
    }
    built.push({ root, workingDirectory, env, left });
  }
  return built.at(-1) as Built;
}

/** The paths that a .dockerignore admits, which first keeps everything back. */
function admittedBy(dockerignore: string): (path: string) => boolean {
  const lines = dockerignore.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  const admitted = lines.slice(1).map((line) => /^!([\w./-]+)$/.exec(line)?.[1]);
  if (lines[0] !== '*' || admitted.includes(undefined))
    throw new Error('.dockerignore is not a list of what is admitted');
  return (path) => admitted.some((entry) => path === entry || path.startsWith(`${entry}/`));
}

/** A shell command, with what it wrote to standard error in the error. */
export async function shell(command: string, cwd: string, env: NodeJS.ProcessEnv): Promise<void> {
  await promisify(execFile)('sh', ['-c', command], { cwd, env, maxBuffer: 2 ** 24 });
}
