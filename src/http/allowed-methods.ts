import type { Request } from 'express';

/** The part of each route in Express' router. Express has no public way from a path to its routes. */
interface Layer {
  readonly route?: { readonly methods: Readonly<Record<string, boolean>> };
  match(path: string): unknown;
}

/** The methods of the routes at the request's path, for `Allow`. Empty when nothing is there. */
export function allowedMethods(req: Request): readonly string[] {
  const { router } = req.app as unknown as { router?: { stack?: readonly Layer[] } };
  const path = req.originalUrl.split('?', 1)[0] ?? '';
  const methods = new Set<string>();
  for (const layer of router?.stack ?? []) {
    if (layer.route === undefined || !matches(layer, path)) continue;
    // `_all` is middleware on a path, or Nest's own answer to what is not found.
    for (const method of Object.keys(layer.route.methods)) if (method !== '_all') methods.add(method.toUpperCase());
  }
  // Express answers HEAD with the route of GET.
  if (methods.has('GET')) methods.add('HEAD');
  return [...methods].sort();
}

function matches(layer: Layer, path: string): boolean {
  try {
    return Boolean(layer.match(path));
  } catch {
    // The path cannot be decoded.
    return false;
  }
}
