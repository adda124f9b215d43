import { Log } from '../observability/log.js';
import { withinDeadline } from '../deadline.js';
import { type Readiness, ReadinessProbe } from './readiness-probe.js';

export interface CompositeOptions {
  /** Names of probes that are shown and do not decide. Defaults to none. */
  readonly degraded?: readonly string[];
  /** How long one probe may take, in milliseconds. A later one is not ready. Defaults to 1000. */
  readonly deadlineMilliseconds?: number;
  /** How long an answer stays valid, in milliseconds. Defaults to 1000: one question a second, for any number of requests. */
  readonly cacheMilliseconds?: number;
  /** Milliseconds of a clock that never goes back. Defaults to `performance.now`. */
  readonly now?: () => number;
  /** Gets a line when a part is lost, and one when it is back. Defaults to none. */
  readonly log?: Log;
}

/**
 * Asks several probes at once, by the names that `/ready` shows. Ready when all deciding probes are ready. A probe that rejects,
 * throws or is late is not ready, and harms no other.
 */
export class CompositeReadinessProbe extends ReadinessProbe {
  private readonly underWay = new Map<string, Promise<Readiness>>();
  private readonly last = new Map<string, boolean>();
  private cached: { readonly answer: Promise<Readiness>; validUntil: number } | undefined;

  constructor(
    private readonly probes: Readonly<Record<string, ReadinessProbe>>,
    private readonly options: CompositeOptions = {},
  ) {
    super();
  }

  override checkReadiness(): Promise<Readiness> {
    const { now = () => performance.now(), cacheMilliseconds = 1000 } = this.options;
    if (this.cached !== undefined && now() < this.cached.validUntil) return this.cached.answer;
    // Valid while the questions run, and then for the time of the cache.
    const entry = { answer: this.checkAll(), validUntil: Number.POSITIVE_INFINITY };
    this.cached = entry;
    const expire = () => {
      entry.validUntil = now() + cacheMilliseconds;
    };
    void entry.answer.then(expire, expire);
    return entry.answer;
  }

  private async checkAll(): Promise<Readiness> {
    const { degraded = [] } = this.options;
    const checked = await Promise.all(
      Object.entries(this.probes).map(async ([name, probe]) => ({ name, ready: await this.check(name, probe) })),
    );
    return {
      ready: checked.every(({ name, ready }) => ready || degraded.includes(name)),
      details: Object.fromEntries(checked.map(({ name, ready }) => [name, { status: ready ? 'ready' : 'not_ready' }])),
    };
  }

  private async check(name: string, probe: ReadinessProbe): Promise<boolean> {
    const { deadlineMilliseconds = 1000 } = this.options;
    const readiness = await withinDeadline(deadlineMilliseconds, this.ask(name, probe)).catch(
      (cause: unknown): Readiness => ({ ready: false, details: {}, cause }),
    );
    this.tell(name, readiness);
    return readiness.ready;
  }

  /** A hanging probe is not asked again meanwhile, because its questions would pile up. */
  private ask(name: string, probe: ReadinessProbe): Promise<Readiness> {
    const asked = this.underWay.get(name);
    if (asked !== undefined) return asked;
    const answer = Promise.resolve()
      .then(() => probe.checkReadiness())
      .finally(() => this.underWay.delete(name));
    this.underWay.set(name, answer);
    return answer;
  }

  private tell(name: string, { ready, cause }: Readiness): void {
    const before = this.last.get(name) ?? true;
    this.last.set(name, ready);
    if (before === ready) return;
    if (ready) this.options.log?.info({ probe: name }, 'readiness.regained');
    else this.options.log?.warn({ probe: name, err: cause }, 'readiness.lost');
  }
}
