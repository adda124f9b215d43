import { RequestMethod, type INestApplicationContext } from '@nestjs/common';
import { MetadataScanner, ModulesContainer } from '@nestjs/core';
import { PUBLIC, REQUIRED_SCOPE } from '../../src/auth/route.decorators.js';

export interface Route {
  readonly method: string;
  /** The path as Express has it, such as `/tasks/:taskId`. */
  readonly path: string;
}

export interface Handler extends Route {
  readonly scope: unknown;
  readonly isPublic: boolean;
  readonly guards: readonly unknown[];
}

export const nameOf = ({ method, path }: Route): string => `${method} ${path}`;

/** What the controllers declare, from their decorators. */
export function handlersOf(app: INestApplicationContext): Handler[] {
  const { controllers } = partsOf(app);
  return controllers.flatMap((controller) =>
    methodsOf(controller).flatMap((handler) => {
      const method = Reflect.getMetadata('method', handler) as RequestMethod | undefined;
      if (method === undefined) return [];
      // The handler's own word comes before its controller's, as in Nest's Reflector.
      const read = (key: string) => Reflect.getMetadata(key, handler) ?? Reflect.getMetadata(key, controller);
      const parts = [Reflect.getMetadata('path', controller), Reflect.getMetadata('path', handler)] as string[];
      return {
        method: RequestMethod[method],
        path: `/${parts.join('/')}`.replace(/\/+/g, '/').replace(/(.)\/$/, '$1'),
        scope: read(REQUIRED_SCOPE),
        isPublic: read(PUBLIC) === true,
        guards: [
          ...((Reflect.getMetadata('__guards__', controller) as unknown[] | undefined) ?? []),
          ...((Reflect.getMetadata('__guards__', handler) as unknown[] | undefined) ?? []),
        ],
      };
    }),
  );
}

/** The kinds of frames that the gateways take. */
export function framesOf(app: INestApplicationContext): string[] {
  const { providers } = partsOf(app);
  return providers.flatMap((gateway) =>
    methodsOf(gateway).flatMap((handler) => {
      const event = Reflect.getMetadata('message', handler) as unknown;
      return typeof event === 'string' ? [event] : [];
    }),
  );
}

type Class = new (...args: never) => object;

function partsOf(app: INestApplicationContext): { readonly controllers: Class[]; readonly providers: Class[] } {
  const modules = [...app.get(ModulesContainer).values()];
  const classesIn = (parts: Iterable<{ readonly metatype: unknown }>) =>
    [...parts].flatMap(({ metatype }) => (isClass(metatype) ? [metatype] : []));
  return {
    controllers: modules.flatMap(({ controllers }) => classesIn(controllers.values())),
    providers: [...new Set(modules.flatMap(({ providers }) => classesIn(providers.values())))],
  };
}

function isClass(value: unknown): value is Class {
  return typeof value === 'function' && typeof value.prototype === 'object' && value.prototype !== null;
}

function methodsOf({ prototype }: Class): object[] {
  const methods = prototype as Record<string, object>;
  return new MetadataScanner().getAllMethodNames(methods).map((name) => methods[name] as object);
}
