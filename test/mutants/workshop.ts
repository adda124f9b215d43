import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { cp, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import type { Mutant } from './mutants.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
/** A test run does not need these, or makes them. The packages and a fetched Redis are linked. */
const LEFT_OUT = ['.git', '.taskbridge', 'coverage', 'dist'];
const LINKED = ['node_modules', '.cache'];
const RUN_MS = 600_000;

/** Tests by their full names; undefined for a run that did not come to its end. */
export type Results = ReadonlyMap<string, 'passed' | 'failed'> | undefined;

export interface Selection {
  readonly file: string;
  /** A regular expression for their full names. */
  readonly tests: string;
}

/** The source is no longer the one that the mutant was made for. */
export class MutantOutdated extends Error {}

/** A copy of the project in which tests import src, and start dist, as they are there. */
export class Workshop {
  #endRun: () => void = () => {};

  private constructor(readonly directory: string) {}

  static async open(): Promise<Workshop> {
    const directory = await mkdtemp(join(tmpdir(), 'taskbridge-mutants-'));
    const isLeftOut = (name: string) => LEFT_OUT.includes(name) || LINKED.includes(name);
    for (const name of await readdir(root)) {
      if (!isLeftOut(name)) await cp(join(root, name), join(directory, name), { recursive: true });
    }
    for (const name of LINKED) await symlink(join(root, name), join(directory, name));
    execFileSync('npm', ['run', '--silent', 'build'], { cwd: directory, stdio: 'inherit' });
    return new Workshop(directory);
  }

  close(): Promise<void> {
    this.#endRun();
    return rm(this.directory, { recursive: true, force: true });
  }

  /**
   * Breaks the source and the build, runs `work`, and repairs both. It rebuilds only the broken files.
   * @throws MutantOutdated
   */
  async broken<T>({ changes }: Pick<Mutant, 'changes'>, work: () => Promise<T>): Promise<T> {
    const whole = new Map<string, string>();
    const put = async (path: string, text: string) => {
      if (!whole.has(path)) whole.set(path, await readFile(path, 'utf8'));
      await writeFile(path, text);
    };
    try {
      for (const { file, from, to } of changes) {
        const source = join(this.directory, file);
        const text = await readFile(source, 'utf8');
        if (text.split(from).length !== 2) throw new MutantOutdated(`${file} does not have once: ${from}`);
        const mutated = text.replace(from, () => to);
        await put(source, mutated);
        // A migration is read as it is.
        if (!file.endsWith('.ts')) continue;
        const build = join(this.directory, file.replace(/(?<=^|\/)src(?=\/)/, 'dist').replace(/\.ts$/, '.js'));
        // The set-up of a test run builds the packages for applications, from sources that are newer than their builds.
        if (existsSync(build)) await put(build, await this.#compiled(mutated, file));
      }
      // Newer than the source: the set-up of a test run builds what is not.
      await this.#touchBuild();
      return await work();
    } finally {
      for (const [path, text] of whole) await writeFile(path, text);
      await this.#touchBuild();
    }
  }

  /** Runs these tests, and perhaps others of the same files. */
  run(...selections: readonly Selection[]): Promise<Results> {
    const report = join(this.directory, 'report.json');
    const files = new Set(selections.map(({ file }) => file));
    const pattern = selections.map(({ tests }) => tests).join('|');
    const jest = [
      '--disable-warning=ExperimentalWarning',
      '--experimental-vm-modules',
      'node_modules/jest/bin/jest.js',
    ];
    const options = ['--runInBand', '--forceExit', '--json', `--outputFile=${report}`, '-t', pattern, ...files];
    const child = spawn(process.execPath, [...jest, ...options], {
      cwd: this.directory,
      stdio: 'ignore',
      detached: true,
    });
    this.#endRun = () => endGroup(child);
    const timer = setTimeout(this.#endRun, RUN_MS);
    return new Promise((resolve) => {
      child.once('exit', () => {
        clearTimeout(timer);
        this.#endRun();
        resolve(resultsOf(report));
      });
    });
  }

  /** What `nest build` would make of the file: none of those that are broken has what its plugin adds to DTOs. */
  async #compiled(source: string, file: string): Promise<string> {
    const { config } = ts.parseConfigFileTextToJson(
      'tsconfig.json',
      await readFile(join(root, 'tsconfig.json'), 'utf8'),
    );
    const { options } = ts.convertCompilerOptionsFromJson(config.compilerOptions, this.directory);
    // Without package.json at hand NodeNext would make CommonJS of it, which fails every test that starts the service.
    const compilerOptions = {
      ...options,
      module: ts.ModuleKind.ESNext,
      moduleResolution: ts.ModuleResolutionKind.Bundler,
    };
    return ts.transpileModule(source, { compilerOptions, fileName: join(this.directory, file) }).outputText;
  }

  async #touchBuild(): Promise<void> {
    const main = join(this.directory, 'dist/main.js');
    await writeFile(main, await readFile(main));
  }
}

/** Ends also the services that its tests left behind. */
function endGroup({ pid }: ChildProcess): void {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL');
  } catch {
    // No process is left.
  }
}

async function resultsOf(report: string): Promise<Results> {
  interface Report {
    readonly testResults: readonly {
      readonly assertionResults: readonly { readonly status: string; readonly fullName: string }[];
    }[];
  }
  const text = await readFile(report, 'utf8').catch(() => undefined);
  await rm(report, { force: true });
  if (text === undefined) return undefined;
  const tests = (JSON.parse(text) as Report).testResults.flatMap(({ assertionResults }) => assertionResults);
  return new Map(
    tests.flatMap(({ fullName, status }) =>
      status === 'passed' || status === 'failed' ? [[fullName, status] as const] : [],
    ),
  );
}
