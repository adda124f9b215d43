import type { HttpConnection } from './http-connection.js';
import { append, claim, complete, create, type Lease } from './requests.js';
import { TEXT } from './text.js';
import { cpuSeconds, familyCpuSeconds } from './usage.js';

/** They run in this order, because each uses the tasks that the one before it left. */
export const OPERATIONS = ['create', 'claim', 'append', 'end'] as const;
export type Operation = (typeof OPERATIONS)[number];

/** Seconds of CPU. */
export interface Cpu {
  readonly service: number;
  readonly postgres: number;
}

/** The cost of a claim depends on the number of waiting owners. Few owners do not hide its other costs. */
const OWNERS = 20;
/** Tasks of a claim, and events of an append: one and a few, in turn. */
const AT_ONCE = [1, 4];
const DEADLINE_MS = 60_000;

/** One process of the service, warm or not, with clients and workers. */
export class Contender {
  readonly #claimed: Lease[] = [];
  readonly #appended: Lease[] = [];

  constructor(
    private readonly connections: readonly HttpConnection[],
    private readonly admin: { query(sql: string): Promise<unknown> },
    private readonly pids: { readonly service: number; readonly postmaster: number },
  ) {}

  async tidy(): Promise<void> {
    await this.admin.query('VACUUM (ANALYZE)');
    await this.admin.query('CHECKPOINT');
  }

  async cpu(): Promise<Cpu> {
    return { service: await cpuSeconds(this.pids.service), postgres: await familyCpuSeconds(this.pids.postmaster) };
  }

  async work(operation: Operation, count: number): Promise<void> {
    const deadline = performance.now() + DEADLINE_MS;
    let left = count;
    let requests = 0;
    const perform = async (connection: HttpConnection) => {
      while (left > 0) {
        if (performance.now() > deadline) throw new Error(`${operation}: ${left} are left after ${DEADLINE_MS} ms`);
        const few = AT_ONCE[requests++ % AT_ONCE.length] as number;
        const wanted = operation === 'claim' ? Math.min(few, left) : 1;
        left -= wanted;
        if (operation === 'claim') {
          const claimed = await this.claim(connection, wanted);
          left += wanted - claimed;
        } else await this.request(operation, connection, few);
      }
    };
    await Promise.all(this.connections.map(perform));
  }

  private async claim(connection: HttpConnection, tasks: number): Promise<number> {
    const leases = await claim(connection, tasks, 0);
    this.#claimed.push(...leases);
    return leases.length;
  }

  private async request(
    operation: Exclude<Operation, 'claim'>,
    connection: HttpConnection,
    few: number,
  ): Promise<void> {
    if (operation === 'create') return create(connection, OWNERS);
    if (operation === 'end') return complete(connection, next(this.#appended));
    const lease = next(this.#claimed);
    await append(connection, lease, 1, Array<string>(few).fill(TEXT));
    this.#appended.push(lease);
  }
}

function next(leases: Lease[]): Lease {
  const lease = leases.shift();
  if (!lease) throw new Error('there is no lease left');
  return lease;
}
