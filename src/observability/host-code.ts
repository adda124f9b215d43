import { AsyncLocalStorage } from 'node:async_hooks';

/** A method of a port that a host module brought. */
export interface HostCall {
  readonly port: string;
  readonly method: string;
}

const running = new AsyncLocalStorage<HostCall>();

/** Runs `work` under the name of the host's method, with everything that it leaves behind (timers, promises without an await). */
export function asHostCode<T>(call: HostCall, work: () => T): T {
  return running.run(call, work);
}

/** Runs `work` as the service's own code again, for callbacks from a host. */
export function asOwnCode<T>(work: () => T): T {
  return running.exit(work);
}

/** The host's method that runs now. Undefined in the service's own code. */
export function currentHostCall(): HostCall | undefined {
  return running.getStore();
}
