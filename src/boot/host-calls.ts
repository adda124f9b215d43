import { tangible } from '#handler/tangible.js';
import { DeadlineExceeded, withinDeadline } from '../deadline.js';
import { asHostCode } from '../observability/host-code.js';
import type { HostFaults } from '../observability/host-faults.js';
import { HostPortFailed } from './host-port-failed.js';
import { refusalOfHost } from './host-refusal.js';

/**
 * How long a request waits for a host's answer. Clients and proxies wait for 30 s and longer, so they still learn what happened;
 * and whatever a policy asks elsewhere has had its own time-outs by then.
 */
export const PATIENCE_MS = 10_000;

/** An answer that the port does not know. The message says what was answered and what belongs there, never the value. */
export class Nonsense extends Error {
  override readonly name = 'Nonsense';
}

/** Takes an answer apart, once, into one of the service's own. Throws `Nonsense`; `complain` tells of it and goes on. */
export type Check<Answer> = (answer: unknown, complain: (what: string) => void) => Answer;

export interface AskOptions {
  /** Defaults to `PATIENCE_MS`; infinite where the caller bounds it. */
  readonly patienceMs?: number;
  /** What went wrong elsewhere, and made the host fail; then that is thrown. */
  readonly excuse?: () => Error | undefined;
  /** Takes an answer that came when nobody waited for it any more. */
  readonly late?: (answer: unknown) => void;
}

type Method = (...parameters: readonly unknown[]) => unknown;

/** The one way in which the service calls a host's implementation of a port: nothing that it does gets past its own caller. */
export class HostCalls {
  constructor(
    readonly port: string,
    private readonly host: object,
    private readonly faults: HostFaults,
  ) {}

  has(method: string): boolean {
    try {
      return typeof this.member(method) === 'function';
    } catch {
      // It is there, and each call of it will say what is wrong.
      return true;
    }
  }

  /** Calls a sink and waits for nothing. Never throws. */
  tell(method: string, ...parameters: readonly unknown[]): void {
    const call = { port: this.port, method };
    try {
      const answer = asHostCode(call, () => this.run(method, parameters));
      if (typeof answer !== 'object' || answer === null) return;
      Promise.resolve(answer).catch((error: unknown) => this.faults.report(call, 'threw', tangible(error)));
    } catch (error) {
      this.faults.report(call, 'threw', tangible(error));
    }
  }

  /** @throws HostPortFailed, and what a host throws to refuse */
  async ask<Answer>(
    method: string,
    parameters: readonly unknown[],
    check: Check<Answer>,
    { patienceMs = PATIENCE_MS, excuse, late }: AskOptions = {},
  ): Promise<Answer> {
    let asked: unknown;
    let answer: unknown;
    try {
      asked = asHostCode({ port: this.port, method }, () => this.run(method, parameters));
      const waits = isObject(asked) && Number.isFinite(patienceMs);
      answer = waits ? await withinDeadline(patienceMs, Promise.resolve(asked)) : await asked;
    } catch (thrown) {
      const error = tangible(thrown);
      if (error instanceof DeadlineExceeded && late) Promise.resolve(asked).then(late, () => undefined);
      throw excuse?.() ?? refusalOfHost(error) ?? this.failed(method, error);
    }
    return this.checked(method, answer, check);
  }

  /** Says what is wrong, and goes on. */
  complain(method: string, what: string): void {
    this.faults.report({ port: this.port, method }, 'nonsense', new Nonsense(what));
  }

  failed(method: string, error: unknown): HostPortFailed {
    const call = { port: this.port, method };
    const problem = error instanceof DeadlineExceeded ? 'timeout' : error instanceof Nonsense ? 'nonsense' : 'threw';
    this.faults.report(call, problem, error);
    return new HostPortFailed(call, error);
  }

  private run(method: string, parameters: readonly unknown[]): unknown {
    return (this.member(method) as Method).apply(this.host, [...parameters]);
  }

  private member(name: string): unknown {
    return (this.host as Readonly<Record<string, unknown>>)[name];
  }

  private checked<Answer>(method: string, answer: unknown, check: Check<Answer>): Answer {
    try {
      return check(answer, (what) => this.complain(method, what));
    } catch (error) {
      throw this.failed(
        method,
        error instanceof Nonsense ? error : new Nonsense('the answer cannot be read', { cause: error }),
      );
    }
  }
}

export function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}

/** What a value is, for a log: its kind and never its content. */
export function kindOf(value: unknown): string {
  return value === null ? 'null' : Array.isArray(value) ? 'an array' : `a value of type ${typeof value}`;
}
