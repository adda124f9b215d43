import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const DOCUMENT = fileURLToPath(new URL('../../docs/log-events.md', import.meta.url));

/** The form of this event's line. */
interface Entry {
  readonly levels: ReadonlySet<string>;
  readonly required: ReadonlySet<string>;
  readonly optional: ReadonlySet<string>;
}

export interface LogCatalogue {
  /** The names of events and use-cases in the document. */
  readonly events: ReadonlySet<string>;
  readonly useCases: ReadonlySet<string>;
  /**
   * The fault of a line of the log. Undefined when it agrees with the document. With a host module there are also events of other
   * concerns.
   */
  problemOf(line: string, withHost?: boolean): string | undefined;
}

let read: LogCatalogue | undefined;

/** `docs/log-events.md`, by its tables. */
export function logCatalogue(): LogCatalogue {
  read ??= parsed(readFileSync(DOCUMENT, 'utf8'));
  return read;
}

function parsed(document: string): LogCatalogue {
  const rows = document.split('\n').flatMap((line) => {
    const [, name = '', levels = '', fields = ''] = line.split('|').map((cell) => cell.trim());
    return /^`.*`$/.test(name) ? [{ names: words(name), levels, fields }] : [];
  });
  const common = rows.find(({ names }) => names[0] === '*')?.fields ?? '';
  const ofNest = rows.find(({ names }) => names[0] === 'context')?.fields ?? '';
  const useCases = new Set(rows.flatMap(({ names, levels }) => (/command|query/.test(levels) ? names : [])));
  const entries = new Map<string, Entry>();
  const add = (name: string, levels: string, fields: string) => {
    const all = [...words(common), ...words(fields)];
    entries.set(name, {
      levels: new Set(words(levels)),
      required: new Set(all.filter((field) => !field.endsWith('?'))),
      optional: new Set(all.filter((field) => field.endsWith('?')).map((field) => field.slice(0, -1))),
    });
  };
  for (const { names, levels, fields } of rows) {
    for (const name of names) {
      if (!name.includes('.')) continue;
      if (!name.startsWith('<use-case>')) add(name, levels, fields);
      else for (const useCase of useCases) add(name.replace('<use-case>', useCase), levels, fields);
    }
  }
  return {
    events: new Set(rows.flatMap(({ names }) => names).filter((name) => /^[a-z_]+\.[a-z_]+$/.test(name))),
    useCases,
    problemOf: (line, withHost = false) => problemOf(line, entries, words(ofNest), withHost),
  };
}

function words(cell: string): string[] {
  return [...cell.matchAll(/`([^`]+)`/g)].map(([, word = '']) => word);
}

function problemOf(
  line: string,
  entries: ReadonlyMap<string, Entry>,
  ofNest: readonly string[],
  withHost: boolean,
): string | undefined {
  let fields: Readonly<Record<string, unknown>>;
  try {
    fields = JSON.parse(line) as Readonly<Record<string, unknown>>;
  } catch {
    return `is not JSON: ${line}`;
  }
  if ('context' in fields) {
    const missing = ofNest.filter((name) => !(name in fields));
    return missing.length === 0 ? undefined : `of Nest or a host lacks ${missing.join(', ')}: ${line}`;
  }
  const event = String(fields['msg']);
  const entry = entries.get(event);
  if (entry === undefined) {
    const isHosts = withHost && ![...entries.keys()].some((name) => concernOf(name) === concernOf(event));
    return isHosts ? undefined : `is an event that docs/log-events.md does not have: ${line}`;
  }
  if (!entry.levels.has(String(fields['level']))) return `${event} has the level ${String(fields['level'])}: ${line}`;
  const missing = [...entry.required].filter((name) => !(name in fields));
  if (missing.length > 0) return `${event} lacks ${missing.join(', ')}: ${line}`;
  const unknown = Object.keys(fields).filter((name) => !entry.required.has(name) && !entry.optional.has(name));
  if (unknown.length > 0) return `${event} has the unknown ${unknown.join(', ')}: ${line}`;
  return undefined;
}

function concernOf(event: string): string {
  return event.split('.', 1)[0] ?? '';
}
