import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { cpuSeconds } from './usage.js';

const HOOKS = fileURLToPath(new URL('../test/support/typescript-hooks.js', import.meta.url));

interface Call {
  readonly id: number;
  readonly method: string;
  readonly args: readonly unknown[];
}

interface Answer {
  readonly id: number;
  readonly result?: unknown;
  readonly error?: string;
}

/** A program of the bench in a process of its own, whose methods are called from here. */
export class Child {
  readonly #calls = new Map<number, PromiseWithResolvers<unknown>>();
  #lastId = 0;

  private constructor(private readonly process: ChildProcess) {
    process.on('message', (answer: Answer) => {
      const call = this.#calls.get(answer.id);
      this.#calls.delete(answer.id);
      if (answer.error === undefined) call?.resolve(answer.result);
      else call?.reject(new Error(answer.error));
    });
    process.on('exit', (code) => {
      for (const call of this.#calls.values()) call.reject(new Error(`a process of the bench ended with ${code}`));
    });
  }

  /** `program` is the name of a file in bench/. */
  static start(program: string): Child {
    const file = fileURLToPath(new URL(program, import.meta.url));
    return new Child(fork(file, { execArgv: ['--disable-warning=ExperimentalWarning', '--import', HOOKS] }));
  }

  get pid(): number {
    return this.process.pid ?? 0;
  }

  async call<Result = undefined>(method: string, ...args: readonly unknown[]): Promise<Result> {
    const id = ++this.#lastId;
    const call = Promise.withResolvers<unknown>();
    this.#calls.set(id, call);
    this.process.send({ id, method, args } satisfies Call);
    return (await call.promise) as Result;
  }

  cpuSeconds(): Promise<number> {
    return cpuSeconds(this.pid);
  }

  async stop(): Promise<void> {
    if (this.process.exitCode !== null || this.process.signalCode !== null) return;
    const exited = once(this.process, 'exit');
    this.process.kill('SIGKILL');
    await exited;
  }
}

/** The child runs this. It names what the parent may call, and ends with its parent. */
export function answerCalls(methods: Readonly<Record<string, (...args: never[]) => unknown>>): void {
  process.on('disconnect', () => process.exit());
  process.on('message', async ({ id, method, args }: Call) => {
    const answer = (answered: Omit<Answer, 'id'>) => process.send?.({ id, ...answered } satisfies Answer);
    try {
      answer({ result: await methods[method]?.(...(args as never[])) });
    } catch (error) {
      answer({ error: error instanceof Error ? (error.stack ?? error.message) : String(error) });
    }
  });
}
