import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { eventually } from './service.js';

const run = promisify(execFile);

export interface Build {
  readonly context: string;
  /** The stage; the last one unless given. */
  readonly target?: string;
  readonly tag: string;
  /** Paths of this machine that the steps of the build find there. None of them is in the image. */
  readonly volumes: Readonly<Record<string, string>>;
}

/** What an image says about its containers, in the words of the OCI. */
export interface ImageConfig {
  readonly User: string;
  readonly Env: readonly string[];
  readonly Entrypoint: readonly string[];
  readonly Cmd: readonly string[];
  readonly WorkingDir: string;
}

interface Inspected {
  readonly OCIv1: { readonly config: ImageConfig };
  readonly Docker: { readonly config: { readonly Healthcheck?: { readonly Test: readonly string[] } } };
}

/** Images of buildah in a directory of their own, by chroot and without a container engine. It needs root. */
export class Buildah {
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** Its temporary files are in the directory, too. */
  get environment(): NodeJS.ProcessEnv {
    return { ...process.env, TMPDIR: this.#directory };
  }

  /** The whole command, for a process that is not waited for here. */
  command(...parameters: string[]): string[] {
    const at = (name: string) => join(this.#directory, name);
    return ['buildah', '--root', at('root'), '--runroot', at('runroot'), '--storage-driver', 'vfs', ...parameters];
  }

  /** @returns what it wrote, without the last line end */
  async ask(...parameters: string[]): Promise<string> {
    const [program = '', ...rest] = this.command(...parameters);
    try {
      const { stdout } = await run(program, rest, { env: this.environment, maxBuffer: 2 ** 28 });
      return stdout.trimEnd();
    } catch (error) {
      const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string };
      const end = `${stdout}\n${stderr}`.trimEnd().split('\n').slice(-40).join('\n');
      throw new Error(`buildah ${parameters[0]} failed:\n${end}`, { cause: error });
    }
  }

  async build({ context, target, tag, volumes }: Build): Promise<void> {
    await this.ask(
      ...['build', '--isolation', 'chroot', '--pull=never', '--format', 'docker', '--tag', tag],
      ...(target === undefined ? [] : ['--target', target]),
      ...Object.entries(volumes).flatMap(([path, source]) => ['--volume', `${source}:${path}`]),
      context,
    );
  }

  async container(image: string): Promise<Container> {
    const name = await this.ask('from', '--pull=never', image);
    const { OCIv1, Docker } = JSON.parse(await this.ask('inspect', name)) as Inspected;
    const root = await this.ask('mount', name);
    return new Container(this, name, root, OCIv1.config, Docker.config.Healthcheck?.Test.slice(1) ?? []);
  }
}

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** Whether its root is mounted read-only, as by `docker run --read-only`. */
  readonly readOnly?: boolean;
  /** Directories of this machine by their paths in the container, which are below /run or are there. */
  readonly volumes?: Readonly<Record<string, string>>;
}

export interface Exited {
  readonly code: number | null;
  readonly output: string;
}

/** buildah has no read-only root, but keeps one that it finds. It needs /run for a file of its own. */
const AS_ROOT_DIRECTORY = `
  mount --bind "$1" "$1"
  mount -o "remount,bind,$2" "$1"
  mount -t tmpfs -o mode=755 tmpfs "$1/run"
  shift 2
  exec "$@"`;

/** A container of an image. Its processes share the network of this machine, and neither its other processes nor its files. */
export class Container {
  constructor(
    readonly buildah: Buildah,
    readonly name: string,
    /** Its root directory, as this machine sees it. */
    readonly root: string,
    readonly config: ImageConfig,
    readonly healthcheck: readonly string[],
  ) {}

  /** What `docker run IMAGE` would start: buildah by itself leaves the entry point out. */
  async serve(options: RunOptions = {}): Promise<Running> {
    return this.start([...this.config.Entrypoint, ...this.config.Cmd], options);
  }

  /** The same with another command, to its end. */
  async execute(command: readonly string[], options: RunOptions = {}): Promise<Exited> {
    return (await this.start([...this.config.Entrypoint, ...command], options)).exited;
  }

  async start(command: readonly string[], { env = {}, readOnly = true, volumes = {} }: RunOptions): Promise<Running> {
    await this.#makeMountPoints();
    const child = spawn(
      'unshare',
      [
        ...['--mount', '--pid', '--fork', '--kill-child', '--mount-proc'],
        ...['sh', '-ec', AS_ROOT_DIRECTORY, 'sh', this.root, readOnly ? 'ro' : 'rw'],
        ...this.buildah.command('run', '--isolation', 'chroot', '--cap-drop', 'all'),
        // tini is process 1 of a container, and not of buildah's.
        ...Object.entries({ TINI_SUBREAPER: '1', ...env }).flatMap(([name, value]) => ['--env', `${name}=${value}`]),
        ...Object.entries(volumes).flatMap(([path, source]) => ['--volume', `${source}:${path}`]),
        ...[this.name, '--', ...command],
      ],
      { env: this.buildah.environment, stdio: ['ignore', 'pipe', 'pipe'] },
    );
    return new Running(child);
  }

  /** buildah makes these where they are missing, which a read-only root does not allow. */
  async #makeMountPoints(): Promise<void> {
    const files = ['etc/hosts', 'etc/hostname', 'etc/resolv.conf'];
    for (const path of files.map((file) => join(this.root, file))) {
      await mkdir(dirname(path), { recursive: true });
      await writeFile(path, '', { flag: 'a' });
    }
  }
}

const running = new Set<Running>();

/** Ends what still runs. */
export function killContainers(): void {
  for (const one of running) one.kill();
}

export class Running {
  readonly #child: ChildProcess;
  /** After all of its processes have ended. */
  readonly exited: Promise<Exited>;
  #output = '';
  #ended = false;

  constructor(child: ChildProcess) {
    this.#child = child;
    running.add(this);
    for (const stream of [child.stdout, child.stderr]) stream?.on('data', (chunk) => (this.#output += chunk));
    this.exited = once(child, 'close').then(([code]) => {
      this.#ended = true;
      running.delete(this);
      return { code: code as number | null, output: this.#output };
    });
  }

  get output(): string {
    return this.#output;
  }

  get hasEnded(): boolean {
    return this.#ended;
  }

  /** Signals tini, which would be process 1 of a container. */
  async signal(signal: NodeJS.Signals): Promise<void> {
    const pid = await eventually('tini runs', () => descendant(this.#child.pid ?? 0, 'tini'));
    process.kill(pid, signal);
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }
}

/** The process of this name that is a child of `ancestor`, or a child of its children. */
async function descendant(ancestor: number, name: string): Promise<number | undefined> {
  const parents = new Map<number, { parent: number; comm: string }>();
  for (const entry of await readdir('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    const [, comm = '', parent] =
      /\((.*)\) \S (\d+)/.exec(await readFile(`/proc/${entry}/stat`, 'utf8').catch(() => '')) ?? [];
    parents.set(Number(entry), { parent: Number(parent), comm });
  }
  const descends = (pid: number): boolean => {
    const parent = parents.get(pid)?.parent;
    return parent !== undefined && (parent === ancestor || descends(parent));
  };
  return [...parents].find(([pid, { comm }]) => comm === name && descends(pid))?.[0];
}
