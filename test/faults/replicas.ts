import type { TcpBalancer } from '../support/tcp-balancer.js';
import { type Service, startService } from '../support/service.js';

/** Replicas of the service behind a balancer, which can be killed and come back. */
export class Replicas {
  readonly #live: Service[] = [];

  constructor(
    private readonly balancer: TcpBalancer,
    private readonly env: Record<string, string>,
  ) {}

  async add(): Promise<void> {
    const service = await startService(this.env, { lifetime: 'file', deadlineMs: 60_000 });
    this.#live.push(service);
    this.balancer.add(service.url);
  }

  /** `kill -9` of the oldest. The balancer finds out by itself, as it would have to. */
  async kill(): Promise<void> {
    const service = this.#live.shift();
    service?.kill('SIGKILL');
    await service?.exited;
    if (service) this.balancer.remove(service.url);
  }

  async stop(): Promise<void> {
    await Promise.all(this.#live.splice(0).map((service) => service.stop()));
  }
}
