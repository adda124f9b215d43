import { readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import { HOST_PORTS } from '../../src/boot/host-ports.js';
import { ChangedProgram } from '../support/changed-program.js';

const read = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');

describe('docs/hosting.md', () => {
  const document = read('docs/hosting.md');
  const sections = new Map(
    document.split(/^### /m).map((section) => [section.split('\n', 1)[0] ?? '', section] as const),
  );
  const ports = [...HOST_PORTS.keys()].map((token) => (typeof token === 'function' ? token.name : 'TASK_HANDLERS'));

  it('has a section for every port, and for nothing else', () => {
    const inTheTable = [...document.matchAll(/^\| `(\w+)` \| (?:yes|no) \|/gm)].map(([, port]) => port);
    expect([...sections.keys()].slice(1).sort()).toEqual([...ports].sort());
    expect(inTheTable.sort()).toEqual([...ports].sort());
  });

  it.each(ports)('says of %s what it promises, and what it costs when it fails', (port) => {
    const section = sections.get(port);
    for (const part of ['**Promise.**', '```ts', '**Throws**', '**Is slow**|**is slow**', 'nonsense']) {
      expect({ part, found: part.split('|').some((text) => section?.includes(text)) }).toEqual({ part, found: true });
    }
  });

  it('names everything that a host can import', () => {
    const exported = new ChangedProgram().exportsOf('src/host-api.ts');
    expect(exported.length).toBeGreaterThan(50);
    expect(exported.filter((name) => !new RegExp(`\\b${name}\\b`).test(document))).toEqual([]);
  });
});
