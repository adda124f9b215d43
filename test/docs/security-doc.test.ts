import { readFile } from 'node:fs/promises';
import { describe, expect, it } from '@jest/globals';

const read = (path: string) => readFile(new URL(`../../${path}`, import.meta.url), 'utf8');

describe('The threats in docs/security.md', () => {
  it('are each covered by a test that exists', async () => {
    const [, section = ''] = (await read('docs/security.md')).split('## Threats, and the tests that cover them');
    const rows = [...section.matchAll(/^\| .* \| `(test\/[\w/-]+\.test\.ts)`: (.+) \|$/gm)];
    const threats = section.split('\n').filter((line) => /^\| (?!who )/.test(line));
    expect(rows.length).toBe(threats.length);
    expect(rows.length).toBeGreaterThan(10);
    for (const [, file = '', name = ''] of rows) {
      const lines = (await read(file)).split('\n');
      const named = lines.some((line) => /\b(describe|it)\b|\}\)\(|^\s*\[/.test(line) && line.includes(name));
      expect({ file, name, named }).toEqual({ file, name, named: true });
    }
  });
});
