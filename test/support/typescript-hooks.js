// Lets plain Node run the TypeScript of src and test: outside of Jest's own module system (global set-up, programs that
// tests start) './x.js' has to find x.ts, and decorators have to be compiled.
import { existsSync, readFileSync } from 'node:fs';
import { registerHooks } from 'node:module';
import { fileURLToPath } from 'node:url';
import { transformSync } from '@swc/core';
import { swcOptions } from '../../jest.config.js';

const ours = new URL('../../', import.meta.url).href;
const withoutJest = new URL('without-jest.ts', import.meta.url).href;
const isOurs = (url) => url?.startsWith(ours) && !url.includes('/node_modules/');

registerHooks({
  resolve(specifier, context, next) {
    if (specifier === '@jest/globals' && isOurs(context.parentURL)) return next(withoutJest, context);
    const [, name, file] = /^#(protocol|handler)\/(.*)\.js$/.exec(specifier) ?? [];
    if (name && isOurs(context.parentURL)) return next(new URL(`packages/${name}/src/${file}.ts`, ours).href, context);
    if (/^\.{1,2}\/.*\.js$/.test(specifier) && isOurs(context.parentURL)) {
      const typescript = new URL(specifier.replace(/\.js$/, '.ts'), context.parentURL);
      if (existsSync(typescript)) return next(typescript.href, context);
    }
    return next(specifier, context);
  },
  load(url, context, next) {
    if (!isOurs(url) || !url.endsWith('.ts')) return next(url, context);
    const filename = fileURLToPath(url);
    const { code } = transformSync(readFileSync(filename, 'utf8'), {
      ...swcOptions(),
      filename,
      module: { type: 'es6' },
      sourceMaps: 'inline',
      swcrc: false,
    });
    return { format: 'module', source: code, shortCircuit: true };
  },
});
