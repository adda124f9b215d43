import { storedJson } from '#protocol/exact-json.js';

export type JsonKind = 'object' | 'array' | 'string' | 'number' | 'boolean' | 'null';

const KINDS: Readonly<Record<string, JsonKind>> = {
  '{': 'object',
  '[': 'array',
  '"': 'string',
  t: 'boolean',
  f: 'boolean',
  n: 'null',
};

/**
 * A JSON value that the service passes on as text. It is checked on arrival, and never walked on its way to PostgreSQL or to a
 * reader. The time for a tree depends on its shape, which a client chooses.
 */
export class JsonText {
  constructor(
    /** As `storedJson` writes it: on one line, and big integers by their digits. */
    readonly json: string,
    /** By RFC 8785, for fingerprints. Absent where no fingerprint is needed. */
    readonly canonical?: string,
  ) {}

  get kind(): JsonKind {
    return KINDS[this.json.charAt(0)] ?? 'number';
  }
}

/** An object of the wire, whose members that are objects may be a text. */
export type WithText<T> = {
  readonly [N in keyof T]: NonNullable<T[N]> extends readonly unknown[]
    ? T[N]
    : NonNullable<T[N]> extends object
      ? T[N] | JsonText
      : T[N];
};

/** The object as `storedJson` writes it, with each `JsonText` inserted as it is. */
export function writeObject(members: object): string {
  const written: string[] = [];
  for (const [name, member] of Object.entries(members) as [string, unknown][]) {
    // JSON has no word for it.
    if (member === undefined) continue;
    written.push(`${storedJson(name)}:${member instanceof JsonText ? member.json : storedJson(member)}`);
  }
  return `{${written.join(',')}}`;
}

/** The texts as the elements of an array. */
export function arrayOf(elements: readonly JsonText[]): JsonText {
  return new JsonText(`[${elements.map(({ json }) => json).join(',')}]`);
}
