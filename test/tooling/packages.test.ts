import { globSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from '@jest/globals';

const root = fileURLToPath(new URL('../../', import.meta.url));
const read = (file: string) => readFileSync(`${root}${file}`, 'utf8');

interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly private: boolean;
  readonly license: string;
  readonly repository: { readonly type: string; readonly url: string; readonly directory: string };
  readonly peerDependencies?: Readonly<Record<string, string>>;
}

const { version } = JSON.parse(read('package.json')) as Manifest;
const published = globSync('packages/*/package.json', { cwd: root })
  .map((file) => ({ folder: file.slice(0, -'/package.json'.length), manifest: JSON.parse(read(file)) as Manifest }))
  .filter(({ manifest }) => !manifest.private);

describe('What would be published', () => {
  it('is known here', () => {
    const names = published.map(({ manifest }) => manifest.name).sort();
    expect(names).toEqual(
      ['ai', 'checker', 'client', 'conformance', 'react', 'worker'].map((name) => `@taskbridge/${name}`),
    );
  });

  it.each(published)('has the one version, its licence and its origin: $folder', ({ folder, manifest }) => {
    const { name, license, repository, peerDependencies = {} } = manifest;
    expect([manifest.version, license, repository.directory]).toEqual([version, 'Apache-2.0', folder]);
    expect(new Set(published.map((other) => other.manifest.repository.url))).toEqual(new Set([repository.url]));
    const siblings = Object.entries(peerDependencies).filter(([peer]) => peer.startsWith('@taskbridge/'));
    expect(siblings.filter(([, wanted]) => wanted !== version)).toEqual([]);
    expect(read('CHANGELOG.md')).toContain(name);
  });

  it('is named by no page as a package of the registry', () => {
    const pages = globSync(['*.md', 'docs/**/*.md', 'packages/*/*.md', 'examples/**/*.md'], { cwd: root });
    const wrong = pages
      .filter((page) => !/node_modules|docs\/decisions/.test(page))
      .filter((page) =>
        /(npm (install|i|add)|pnpm add|yarn add)[^\n`]*[ ](@taskbridge\/|taskbridge\b(?!-\d))/.test(read(page)),
      );
    expect(wrong).toEqual([]);
  });
});
