import { readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import { envExample } from '../.ci/generate.js';
import { SETTINGS } from '../src/boot/settings.js';

const read = (path: string) => readFileSync(new URL(`../${path}`, import.meta.url), 'utf8');

interface Manifest {
  readonly engines: { readonly node: string };
  readonly allowScripts: Record<string, boolean>;
  readonly dependencies: Record<string, string>;
  readonly devDependencies: Record<string, string>;
  readonly optionalDependencies: Record<string, string>;
  readonly overrides: Record<string, string>;
}

interface Lockfile {
  readonly packages: Record<string, { readonly hasInstallScript?: boolean }>;
}

const manifest = JSON.parse(read('package.json')) as Manifest;
const lockfile = JSON.parse(read('package-lock.json')) as Lockfile;

describe('package.json', () => {
  it('pins every version exactly, because two installations of one commit must be the same service', () => {
    const { dependencies, devDependencies, optionalDependencies, overrides } = manifest;
    const all = { ...dependencies, ...devDependencies, ...optionalDependencies, ...overrides };
    expect(Object.entries(all).filter(([, version]) => !/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(version))).toEqual([]);
  });

  it('admits the Node that it installs, and the one that the image is built on', () => {
    const installed = /^(\d+)\./.exec(manifest.devDependencies.node ?? '')?.[1];
    const images = [...read('Dockerfile').matchAll(/^FROM node:(\d+)/gm)].map((match) => match[1]);
    expect(manifest.engines.node).toBe('>=24.11.1 <25');
    expect(new Set([installed, ...images])).toEqual(new Set(['24']));
  });

  it('decides about each package with an install script, and about no other', () => {
    const withScript = Object.entries(lockfile.packages)
      .filter(([, { hasInstallScript }]) => hasInstallScript === true)
      .map(([path]) => path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length));
    expect(Object.keys(manifest.allowScripts).sort()).toEqual([...new Set(withScript)].sort());
  });
});

describe('package-lock.json', () => {
  it('names no host, so that it installs from whatever registry a machine uses', () => {
    const ours = read('package-lock.json')
      .split('\n')
      .filter((line) => line.includes('"resolved"'));
    expect(ours).toEqual([]);
  });
});

describe('.env.example', () => {
  it('is what `npm run generate` makes of the settings', () => {
    expect(read('.env.example')).toBe(envExample(SETTINGS));
  });
});
