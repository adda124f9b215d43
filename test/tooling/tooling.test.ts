import { globSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from '@jest/globals';
import { envExample } from '../../.ci/generate.js';
import { isPhoneNumber } from 'class-validator';
import { parse, parseAllDocuments } from 'yaml';
import { SETTINGS } from '../../src/boot/settings.js';
import { MUTANTS } from '../mutants/mutants.js';
import { parseDockerfile } from '../support/dockerfile.js';

const read = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');

interface Manifest {
  readonly scripts: Record<string, string>;
  readonly engines: { readonly node: string };
  readonly allowScripts: Record<string, boolean>;
  readonly dependencies: Record<string, string>;
  readonly devDependencies: Record<string, string>;
  readonly optionalDependencies: Record<string, string>;
  readonly overrides: Record<string, string>;
}

interface Lockfile {
  readonly packages: Record<
    string,
    { readonly version?: string; readonly hasInstallScript?: boolean; readonly resolved?: string }
  >;
}

const manifest = JSON.parse(read('package.json')) as Manifest;
const lockfile = JSON.parse(read('package-lock.json')) as Lockfile;

describe('package.json', () => {
  it('pins every version exactly, because two installations of one commit must be the same service', () => {
    const { dependencies, devDependencies, optionalDependencies, overrides } = manifest;
    const all = { ...dependencies, ...optionalDependencies, ...overrides, ...devDependencies };
    // What is not pinned is a folder of this repository.
    expect(Object.entries(all).filter(([, version]) => !/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(version))).toEqual([
      ['libphonenumber-js', 'file:packages/no-phone-numbers'],
    ]);
  });

  it('admits the Node that it installs, and the one that the image is built on', () => {
    const installed = /^(\d+)\./.exec(manifest.devDependencies.node ?? '')?.[1];
    const images = [...read('Dockerfile').matchAll(/^FROM node:(\d+)/gm)].map((match) => match[1]);
    expect(manifest.engines.node).toBe('>=24.11.1 <25 || >=26.10.0 <27');
    expect(new Set([installed, ...images])).toEqual(new Set(['24']));
  });

  it('decides about each package with an install script, and about no other', () => {
    const withScript = Object.entries(lockfile.packages)
      .filter(([, { hasInstallScript }]) => hasInstallScript === true)
      .map(([path]) => path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length));
    expect(Object.keys(manifest.allowScripts).sort()).toEqual([...new Set(withScript)].sort());
  });
});

describe('packages/no-phone-numbers', () => {
  it('is what class-validator imports: no text is a phone number', () => {
    expect(['+41446681800', '044 668 18 00'].map((text) => isPhoneNumber(text, 'CH'))).toEqual([false, false]);
  });
});

describe('package-lock.json', () => {
  it('names no host, so that it installs from whatever registry a machine uses', () => {
    const resolved = Object.values(lockfile.packages).flatMap((installed) => installed.resolved ?? []);
    expect(resolved).toEqual(['packages/no-phone-numbers']);
  });
});

describe('bench/peers', () => {
  const peers = JSON.parse(read('bench/peers/package.json')) as Pick<Manifest, 'dependencies' | 'overrides'>;
  const locked = JSON.parse(read('bench/peers/package-lock.json')) as Lockfile;

  it('pins every version exactly, names no host, and is no part of what the service installs', () => {
    for (const [name, version] of Object.entries({ ...peers.dependencies, ...peers.overrides })) {
      expect(version).toMatch(/^\d+\.\d+\.\d+$/);
      expect(locked.packages[`node_modules/${name}`]?.version).toBe(version);
    }
    expect(Object.values(locked.packages).flatMap(({ resolved }) => resolved ?? [])).toEqual([]);
    const installed = Object.keys(lockfile.packages);
    const names = ['graphile-worker', 'pg-boss', 'bullmq'].map((name) => `node_modules/${name}`);
    expect(names.filter((name) => installed.includes(name))).toEqual([]);
  });
});

describe('.env.example', () => {
  it('is what `npm run generate` makes of the settings', () => {
    expect(read('.env.example')).toBe(envExample(SETTINGS));
  });
});

describe('test/mutants', () => {
  it('breaks what the source has, so a run finds no mutant that is outdated', () => {
    const changes = MUTANTS.flatMap(({ name, changes: all }) => all.map((change) => ({ name, ...change })));
    const outdated = changes.filter(({ file, from }) => read(file).split(from).length !== 2);
    expect(outdated.map(({ name }) => name)).toEqual([]);
  });
});

interface Workflow {
  readonly on: Readonly<Record<string, unknown>>;
  readonly jobs: Readonly<
    Record<
      string,
      {
        readonly steps: readonly { readonly uses?: string; readonly run?: string }[];
        readonly strategy?: { readonly matrix: Readonly<Record<string, readonly unknown[]>> };
      }
    >
  >;
}

const root = fileURLToPath(new URL('../../', import.meta.url));
const workflows = globSync('.github/workflows/*.yml', { cwd: root }).map((file) => parse(read(file)) as Workflow);
const jobs = workflows.flatMap((workflow) => Object.values(workflow.jobs));

describe('The workflows', () => {
  it('run every script of tests, each night or for each push', () => {
    const ofCiRun = [...read('.ci/run').matchAll(/^ {2}tests (test\S*)/gm)].map(([, script]) => script);
    const nightly = jobs.flatMap(({ strategy, steps }) => [
      ...(strategy?.matrix['script'] ?? []),
      ...steps.flatMap(({ run = '' }) => run.match(/(?<=npm run )test:[\w:]+/g) ?? []),
    ]);
    const scripts = Object.keys(manifest.scripts).filter((name) => /^test(:|$)/.test(name));
    expect(new Set([...ofCiRun, ...nightly])).toEqual(new Set(scripts));
    expect(jobs.flatMap(({ steps }) => steps.map(({ run }) => run))).toEqual(
      expect.arrayContaining(['bash .ci/run', 'npm run ${{ matrix.script }}']),
    );
    expect(workflows.filter(({ on }) => 'schedule' in on)).toHaveLength(1);
  });
});

describe('docs/releasing.md', () => {
  /** The values of every member of that name, wherever it is. */
  function* members(value: unknown, name: string): Generator<string> {
    if (typeof value !== 'object' || value === null) return;
    for (const [key, member] of Object.entries(value)) {
      if (key === name && typeof member === 'string') yield member;
      else yield* members(member, name);
    }
  }

  it('has every action and every image of the repository, with its version', () => {
    const actions = jobs.flatMap(({ steps }) => steps.flatMap(({ uses }) => uses ?? []));
    const manifests = globSync(['docker-compose*.yml', 'deploy/**/*.{yml,yaml}', 'examples/**/*.{yml,yaml}'], {
      cwd: root,
    });
    const images = [
      ...workflows.flatMap((workflow) => [...members(workflow, 'image')]),
      ...manifests.flatMap((file) =>
        parseAllDocuments(read(file)).flatMap((document) => [...members(document.toJS(), 'image')]),
      ),
    ];
    const bases = globSync(['Dockerfile', '{deploy,examples,packages}/**/Dockerfile'], { cwd: root }).flatMap(
      (file) => {
        const stages = parseDockerfile(read(file));
        return stages.map(({ base }) => base).filter((base) => !stages.some(({ name }) => name === base));
      },
    );
    const rows = [...read('docs/releasing.md').matchAll(/^\| `([^`]+)` \| (?:`([^`]+)`)? ?\|/gm)].map(
      ([, what, version]) => ({ what, version }),
    );
    const used = [...new Set([...actions, ...images, ...bases])].map((text) => {
      const [what, version] = text.split(/[:@]/);
      return { what, version };
    });
    const sorted = (list: typeof used) => list.map(({ what, version }) => `${what} ${version}`).sort();
    expect(sorted(used)).toEqual(sorted(rows));
  });
});
