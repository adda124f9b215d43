import { currentHostCall, type HostCall } from '../observability/host-code.js';
import type { HostFaults } from '../observability/host-faults.js';

/** A promise whose rejection nobody handles, and whose maker is not known: with a host module it is most likely the host's. */
const UNKNOWN: HostCall = { port: 'HOST_MODULE', method: 'unknown' };

export interface Containment {
  /** Reports faults to `faults` from now on, and those that came before. */
  tell(faults: HostFaults): void;
}

/**
 * What a host's code leaves behind (a promise that nobody awaits, a timer, a listener) and fails later would end the process, and
 * everybody's work with it. It costs a line instead. `crash` is for exceptions of the service's own, and ends the process.
 */
export function containHostFaults(crash: (error: unknown) => void): Containment {
  const early: [HostCall, unknown][] = [];
  let report = (call: HostCall, error: unknown): void => void early.push([call, error]);
  process.on('unhandledRejection', (error) => report(currentHostCall() ?? UNKNOWN, error));
  process.on('uncaughtException', (error) => {
    const call = currentHostCall();
    if (call) report(call, error);
    else crash(error);
  });
  return {
    tell(faults) {
      report = (call, error) => faults.report(call, 'threw', error);
      for (const [call, error] of early) report(call, error);
    },
  };
}
