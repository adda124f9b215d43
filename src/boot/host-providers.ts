import type { FactoryProvider, InjectionToken, Provider, Type } from '@nestjs/common';
import { withinDeadline } from '../deadline.js';
import { asHostCode } from '../observability/host-code.js';
import { HostFaults } from '../observability/host-faults.js';
import { BootRefused } from './boot-guard.js';
import { HOST_PORTS } from './host-ports.js';
import { firstLineOf } from './host-port-failed.js';

/** How long a port may take to be made, and again to come up: whatever it connects to has had its time by then. */
const BUILD_MS = 30_000;
/** Hooks of Nest that the start waits for. */
const HOOKS = ['onModuleInit', 'onApplicationBootstrap'] as const;

type CustomProvider = Exclude<Provider, Type>;

/**
 * A provider of a port, in two: the host's own, under a token that nobody else knows, and the guarded one, under the port's.
 * Providers of anything else are left as they are.
 */
export function guardedProviders(provider: Provider): readonly Provider[] {
  if (typeof provider === 'function') return [provider];
  const wrap = HOST_PORTS.get(provider.provide);
  if (!wrap) return [provider];
  const port = nameOf(provider.provide);
  const own = Symbol(`${port} of the host module`);
  const guarded: FactoryProvider = {
    provide: provider.provide,
    useFactory: (host: unknown, faults: HostFaults) => wrap(withNamedHooks(port, host), faults),
    inject: [own, HostFaults],
  };
  return [{ ...withName(port, provider), provide: own }, guarded];
}

function nameOf(token: InjectionToken): string {
  return typeof token === 'function' ? token.name : 'TASK_HANDLERS';
}

/** The same, but that a failure to make it names the port. */
function withName(port: string, provider: CustomProvider): CustomProvider {
  const call = { port, method: 'constructor' };
  if ('useFactory' in provider) {
    const make = provider.useFactory as (...parameters: unknown[]) => unknown;
    return {
      ...provider,
      useFactory: (...parameters: unknown[]) =>
        named(port, 'be built', async () => asHostCode(call, () => make(...parameters))),
    };
  }
  if (!('useClass' in provider)) return provider;
  const made = provider.useClass;
  const useClass = function (...parameters: unknown[]): unknown {
    try {
      return asHostCode(call, () => Reflect.construct(made, parameters) as unknown);
    } catch (error) {
      throw refused(port, 'be built', error);
    }
  };
  // Nest finds what it injects by the prototype.
  Object.setPrototypeOf(useClass, made);
  useClass.prototype = made.prototype as object;
  return { ...provider, useClass: useClass as unknown as Type };
}

/** Replaces the hooks of a host's object, if it lets them be replaced. */
function withNamedHooks(port: string, host: unknown): unknown {
  if (typeof host !== 'object' || host === null) return host;
  for (const method of HOOKS) {
    const hook = (host as Readonly<Record<string, unknown>>)[method];
    if (typeof hook !== 'function') continue;
    const value = () =>
      named(port, 'start', async () => asHostCode({ port, method }, (): unknown => hook.call(host) as unknown));
    Reflect.defineProperty(host, method, { value, configurable: true, writable: true });
  }
  return host;
}

async function named(port: string, what: string, work: () => Promise<unknown>): Promise<unknown> {
  return withinDeadline(BUILD_MS, work()).catch((error: unknown) => {
    throw refused(port, what, error);
  });
}

function refused(port: string, what: string, error: unknown): BootRefused {
  return error instanceof BootRefused
    ? error
    : new BootRefused([`HOST_MODULE: ${port} cannot ${what}: ${firstLineOf(error)}`], { cause: error });
}
