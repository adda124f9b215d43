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
 * A JSON value that is passed on as its text. It is checked where it comes in and never walked on its way to PostgreSQL or to a
 * reader: how long a tree takes depends on its shape, which a client chooses.
 */
export class JsonText {
  constructor(
    /** As `JSON.stringify` writes it. */
    readonly json: string,
    /** By RFC 8785, for fingerprints; absent where nobody needs one. */
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

/** What `JSON.stringify` writes of an object, with the members that are a `JsonText` as they are. */
export function writeObject(members: object): string {
  const written: string[] = [];
  for (const [name, member] of Object.entries(members) as [string, unknown][]) {
    const json = member instanceof JsonText ? member.json : JSON.stringify(member);
    // There is none of undefined.
    if (json !== undefined) written.push(`${JSON.stringify(name)}:${json}`);
  }
  return `{${written.join(',')}}`;
}

/** The texts as the elements of an array. */
export function arrayOf(elements: readonly JsonText[]): JsonText {
  return new JsonText(`[${elements.map(({ json }) => json).join(',')}]`);
}
