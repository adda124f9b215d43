import { storedJson } from '../../protocol/src/exact-json.js';
import { MAX_HELD_LEASES } from '../../protocol/src/limits.js';
import type { RenewedLease } from '../../protocol/src/snapshots.js';
import { UnknownThere, unlessUnknown } from './feature-call.js';
import type { Lease, SignOfLease } from './lease.js';
import type { Answer, Service } from './service.js';

/** A lease that is extended together with others. */
export interface Beating {
  readonly lease: Pick<Lease, 'taskId' | 'leaseToken'>;
  /** How long a call about it may take. */
  readonly timeoutMs: number;
  /** It was extended. */
  heard(answer: Answer<SignOfLease>): void;
}

interface Extended {
  /** In the order of the request. `code`: it was not extended. */
  readonly leases: readonly (RenewedLease | { readonly code: string })[];
}

/** By lease token, whether the lease was extended. */
type Outcomes = ReadonlyMap<string, boolean>;

/** Signs of life of all leases of a worker in one call, when one of them is due. */
export class Heartbeats {
  readonly #held = new Set<Beating>();
  #round: Promise<Outcomes> | undefined;

  constructor(private readonly service: Service) {}

  add(held: Beating): void {
    this.#held.add(held);
  }

  remove(held: Beating): void {
    this.#held.delete(held);
  }

  /**
   * Whether this lease was extended, together with all others that are held; undefined where the service knows no such call.
   * @throws ServiceRefused, Unavailable
   */
  async beat(held: Beating): Promise<boolean | undefined> {
    // A heartbeat does not wait for another question. Each claim has asked.
    if (!this.service.knew('heartbeats')) return undefined;
    try {
      return await this.outcomeOf(held);
    } catch (error) {
      if (error instanceof UnknownThere) return undefined;
      throw error;
    }
  }

  private async outcomeOf({ lease }: Beating): Promise<boolean> {
    for (;;) {
      this.#round ??= this.send().finally(() => {
        this.#round = undefined;
      });
      // A round that had begun before this lease says nothing about it.
      const isExtended = (await this.#round).get(lease.leaseToken);
      if (isExtended !== undefined) return isExtended;
    }
  }

  private async send(): Promise<Outcomes> {
    const held = [...this.#held];
    const parts = Array.from({ length: Math.ceil(held.length / MAX_HELD_LEASES) }, (_, i) =>
      this.sendPart(held.slice(i * MAX_HELD_LEASES, (i + 1) * MAX_HELD_LEASES)),
    );
    return new Map((await Promise.all(parts)).flat());
  }

  private async sendPart(held: readonly Beating[]): Promise<(readonly [string, boolean])[]> {
    const leases = held.map(({ lease: { taskId, leaseToken } }) => ({ taskId, leaseToken }));
    const timeoutMs = Math.min(...held.map((one) => one.timeoutMs));
    const post = () => this.service.post<Extended>('heartbeats', storedJson({ leases }), timeoutMs);
    const { body, serviceTime } = await unlessUnknown(this.service, post);
    return held.map((one, i) => {
      const extended = body.leases[i];
      const isExtended = extended !== undefined && !('code' in extended);
      if (isExtended) one.heard({ body: extended, serviceTime });
      return [one.lease.leaseToken, isExtended];
    });
  }
}
