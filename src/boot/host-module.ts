import { registerHooks } from 'node:module';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { DynamicModule, InjectionToken, Provider, Type } from '@nestjs/common';
import { TaskExecutor } from '../tasks/ports/task-executor.js';
import type { Hosted } from '../hosted.js';
import { asHostCode } from '../observability/host-code.js';
import { BootRefused } from './boot-guard.js';
import { firstLineOf, HostPortFailed } from './host-port-failed.js';
import { HOST_PORTS } from './host-ports.js';
import { guardedProviders } from './host-providers.js';

export interface HostModule {
  readonly modules: readonly DynamicModule[];
  /** The tokens it provides: their defaults are left out. */
  readonly hosted: Hosted;
}

/**
 * Loads the ES module that a deployment mounts beside the service. What it imports is looked for beside it first, and then in
 * the service, so that a single file needs nothing installed; `taskbridge`, Nest, its metadata, its logger and its metrics always come
 * from the service, because two copies of them would not know each other's classes.
 * @throws BootRefused
 */
export async function loadHostModule(path: string | undefined): Promise<HostModule> {
  if (path === undefined) return { modules: [], hosted: new Set() };
  const url = pathToFileURL(resolve(path)).href;
  resolveFromService();
  const call = { port: 'HOST_MODULE', method: 'import' };
  const loaded = (await asHostCode(call, () => import(url)).catch((error: unknown) => {
    throw refused(`cannot be loaded: ${firstLineOf(error)}`, error);
  })) as { default?: unknown };
  const host = asDynamicModule(loaded.default);
  const ofClass = (Reflect.getMetadata('providers', host.module) as Provider[] | undefined) ?? [];
  const ofObject = host.providers ?? [];
  const tokens = [...ofClass, ...ofObject].map(tokenOf);
  if (tokens.includes(TaskExecutor)) throw refused('TaskExecutor is internal and cannot be replaced');
  // Those of the class come first, and a later one takes the place of an earlier one.
  const providers = [...ofClass.filter(isOfPort), ...ofObject].flatMap(guardedProviders);
  return { modules: [{ ...host, providers, global: true, exports: tokens }], hosted: new Set(tokens) };
}

/** What kept the application from being built. It is built in every test without a host module, so with one it is the host's. */
export function refusedWithHost({ modules }: HostModule, error: unknown): unknown {
  if (modules.length === 0 || error instanceof BootRefused) return error;
  if (error instanceof HostPortFailed) return refused(error.told, error);
  return refused(`cannot be built: ${firstLineOf(error)}`, error);
}

function resolveFromService(): void {
  const shared =
    /^(@nestjs\/|reflect-metadata$|rxjs(\/|$)|class-validator$|class-transformer$|nestjs-pino$|prom-client$|@willsoto\/nestjs-prometheus$)/;
  const api = new URL('../host-api.js', import.meta.url).href;
  // A file of handlers that also runs in remote workers imports what it needs from their SDK; here that is the service.
  const ours = new Set(['taskbridge', '@taskbridge/worker']);
  registerHooks({
    resolve(specifier, context, next) {
      if (ours.has(specifier)) return { url: api, shortCircuit: true };
      const fromService = { ...context, parentURL: import.meta.url };
      if (shared.test(specifier)) return next(specifier, fromService);
      try {
        return next(specifier, context);
      } catch (error) {
        const isBare = !/^(\.|\/|[a-z]+:)/.test(specifier);
        if (!isBare || (error as NodeJS.ErrnoException).code !== 'ERR_MODULE_NOT_FOUND') throw error;
        try {
          return next(specifier, fromService);
        } catch {
          // It names the file that imports, which is the one to look at.
          throw error;
        }
      }
    },
  });
}

function asDynamicModule(value: unknown): DynamicModule {
  if (typeof value === 'function') return { module: value as Type };
  if (typeof value === 'object' && value !== null && typeof (value as DynamicModule).module === 'function') {
    return value as DynamicModule;
  }
  throw refused('must have a Nest module as its default export: a class, or an object with a member "module"');
}

function isOfPort(provider: Provider): boolean {
  return HOST_PORTS.has(tokenOf(provider));
}

function tokenOf(provider: Provider): InjectionToken {
  return typeof provider === 'function' ? provider : provider.provide;
}

function refused(problem: string, cause?: unknown): BootRefused {
  return new BootRefused([`HOST_MODULE: ${problem}`], { cause });
}
