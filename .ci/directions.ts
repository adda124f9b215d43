// Which part of src imports which, as dependency-cruiser finds it. `npm run generate` writes it into docs/architecture.md.
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { withTable } from './generate.js';

/** A file that imports a file of another part. Paths are below src. */
export interface Arrow {
  readonly from: string;
  readonly to: string;
}

interface Cruised {
  readonly modules: readonly {
    readonly source: string;
    readonly dependencies: readonly { readonly resolved: string }[];
  }[];
}

/** A part is a folder of src, or a file directly in it. Files that import nothing of src are for everybody, and are left out. */
export function arrowsOfSrc(): readonly Arrow[] {
  const root = fileURLToPath(new URL('../', import.meta.url));
  const depcruise = fileURLToPath(new URL('../node_modules/.bin/depcruise', import.meta.url));
  const options = ['--config', '.dependency-cruiser.cjs', '--output-type', 'json', 'src'];
  const json = execFileSync(process.execPath, [depcruise, ...options], { cwd: root, maxBuffer: 2 ** 28 });
  const { modules } = JSON.parse(json.toString()) as Cruised;
  const all = modules.flatMap(({ source, dependencies }) =>
    dependencies.flatMap(({ resolved }) =>
      [source, resolved].every((path) => path.startsWith('src/'))
        ? { from: source.slice('src/'.length), to: resolved.slice('src/'.length) }
        : [],
    ),
  );
  const importing = new Set(all.map(({ from }) => from));
  return all.filter(({ from, to }) => partOf(from) !== partOf(to) && (to.includes('/') || importing.has(to)));
}

/** The text of docs/architecture.md, with its two tables of directions made anew. */
export function withDirections(page: string, arrows: readonly Arrow[]): string {
  return Object.entries(directionTables(arrows)).reduce((made, [name, rows]) => withTable(made, name, rows), page);
}

/** The rows of the two tables: each part with the parts that it imports, lowest first; each arrow that runs back up. */
function directionTables(arrows: readonly Arrow[]): Readonly<Record<string, readonly string[]>> {
  const back = arrows.filter((arrow) => runsBack(arrow, arrows));
  const below = new Map<string, Set<string>>();
  for (const { from, to } of arrows.filter((arrow) => !back.includes(arrow))) {
    for (const part of [partOf(from), partOf(to)]) if (!below.has(part)) below.set(part, new Set());
    below.get(partOf(from))?.add(partOf(to));
  }
  const floors = new Map<string, number>();
  const floorOf = (part: string, above: readonly string[] = []): number => {
    if (above.includes(part)) throw new Error(`a circle of folders: ${[...above, part].join(' imports ')}`);
    const known = floors.get(part);
    if (known !== undefined) return known;
    const floor = Math.max(-1, ...[...(below.get(part) ?? [])].map((one) => floorOf(one, [...above, part]))) + 1;
    floors.set(part, floor);
    return floor;
  };
  const parts = [...below.keys()].sort((a, b) => floorOf(a) - floorOf(b) || a.localeCompare(b));
  return {
    directions: [
      'part | imports',
      '--- | ---',
      ...parts.map((part) => {
        const imports = [...(below.get(part) ?? [])].sort((a, b) => parts.indexOf(a) - parts.indexOf(b));
        return `\`${part}\` | ${imports.map((one) => `\`${one}\``).join(', ') || 'nothing'}`;
      }),
    ],
    'arrows back up': [
      'file | imports',
      '--- | ---',
      ...back.map(({ from, to }) => `\`${from}\` | \`${to}\``).sort(),
      ...(back.length === 0 ? ['none | nothing'] : []),
    ],
  };
}

function partOf(path: string): string {
  return path.split('/', 1)[0] ?? '';
}

/** Of two parts that import each other, the one with fewer imports of the other is the lower. */
function runsBack({ from, to }: Arrow, arrows: readonly Arrow[]): boolean {
  const count = (a: string, b: string) => arrows.filter((one) => partOf(one.from) === a && partOf(one.to) === b).length;
  const [there, again] = [count(partOf(from), partOf(to)), count(partOf(to), partOf(from))];
  return again > 0 && (there < again || (there === again && partOf(from) < partOf(to)));
}

if (import.meta.main) {
  const page = new URL('../docs/architecture.md', import.meta.url);
  writeFileSync(page, withDirections(readFileSync(page, 'utf8'), arrowsOfSrc()));
}
