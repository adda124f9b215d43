import { format } from '@cfworker/json-schema';
import { RE2JS } from 're2js';

/** Before a pattern that stands where the validator expects the name of a format. */
export const PATTERN = 'pattern ';
const MAX_PATTERN_CHARACTERS = 200;
/** Repetitions are written out, and those within others multiply. */
const MAX_REPETITIONS = 64;
export const PATTERN_LIMITS = `with at most ${MAX_PATTERN_CHARACTERS} characters, and repetitions up to ${MAX_REPETITIONS}`;
/** A longer text matches no pattern. */
const MAX_MATCHED_CHARACTERS = 1_000;
/** Compiled patterns that are kept. */
const MAX_KEPT = 256;

const compiled = new Map<string, RE2JS | undefined>();
let spent: (work: number) => void = () => undefined;

/** Runs `judge`, and tells `spend` of the work that each match takes, in about as many microseconds. */
export function metered<T>(spend: (work: number) => void, judge: () => T): T {
  spent = spend;
  try {
    return judge();
  } finally {
    spent = () => undefined;
  }
}

/** Whether the pattern is one of RE2, whose time is linear in the text. */
export function isLinear(pattern: string): boolean {
  return engineOf(pattern) !== undefined;
}

/** Whether the pattern is found in the text. */
export function matches(pattern: string, text: string): boolean {
  spent(1 + (pattern.length * Math.min(text.length, MAX_MATCHED_CHARACTERS)) / 30);
  return text.length <= MAX_MATCHED_CHARACTERS && (engineOf(pattern)?.matcher(text).find() ?? false);
}

function engineOf(pattern: string): RE2JS | undefined {
  if (!compiled.has(pattern)) {
    const oldest = compiled.size >= MAX_KEPT ? compiled.keys().next().value : undefined;
    if (oldest !== undefined) compiled.delete(oldest);
    compiled.set(pattern, compile(pattern));
  }
  return compiled.get(pattern);
}

function compile(pattern: string): RE2JS | undefined {
  const repetitions = [...pattern.matchAll(/\{(\d*),?(\d*)\}/g)].map(([, from, to]) =>
    Math.max(Number(from), Number(to), 1),
  );
  const isSmall = repetitions.reduce((product, n) => product * n, 1) <= MAX_REPETITIONS;
  if (pattern.length > MAX_PATTERN_CHARACTERS || !isSmall) return undefined;
  try {
    return RE2JS.compile(pattern);
  } catch {
    return undefined;
  }
}

// The validator looks a format up by its name, and takes an unknown one for an annotation.
Object.setPrototypeOf(
  format,
  new Proxy(
    {},
    {
      get: (_, name) =>
        typeof name === 'string' && name.startsWith(PATTERN)
          ? (text: string) => matches(name.slice(PATTERN.length), text)
          : undefined,
    },
  ),
);
