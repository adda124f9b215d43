import { AsyncLocalStorage } from 'node:async_hooks';

/** A method of a port that a host module brought. */
export interface HostCall {
  readonly port: string;
  readonly method: string;
}

const running = new AsyncLocalStorage<HostCall>();

/** Runs `work`, and whatever it leaves behind (timers, promises that nobody awaits), under the name of the host's method. */
export function asHostCode<T>(call: HostCall, work: () => T): T {
  return running.run(call, work);
}

/** Runs `work` as the service's own again: for what a host calls back. */
export function asOwnCode<T>(work: () => T): T {
  return running.exit(work);
}

/** Whose code this is; undefined when it is the service's own. */
export function currentHostCall(): HostCall | undefined {
  return running.getStore();
}
