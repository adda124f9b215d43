import { format, type Schema, validate, dereference } from '@cfworker/json-schema';
import { RE2JS } from 're2js';
import type { JsonObject } from '#protocol/json-schema.js';
import type { FieldError } from '../../errors.js';
import { fieldErrorsOf } from './field-errors.js';
import { SchemaReader } from './schema-reader.js';

/** At most about 40 ms. A check that takes more is refused: it would keep all other requests waiting. */
const MAX_STEPS = 8_000;
/** Characters times the size of the pattern that count as one step. */
const PATTERN_STEP = 200;

/** The value may be right: the service does not spend the time to know. */
const TOO_COSTLY: FieldError = {
  path: '',
  message: `takes more than ${MAX_STEPS} steps to check against the schema of the type`,
};

class TooManySteps extends Error {}

/** What the check that is under way may still cost. Checks are synchronous, so there is one at a time. */
let stepsLeft = 0;
let patterns: ReadonlyMap<string, RE2JS> = new Map();

function spend(steps: number): void {
  stepsLeft -= steps;
  if (stepsLeft < 0) throw new TooManySteps();
}

/**
 * A JSON Schema, by draft 2020-12, of inputs or results. The library interprets it: nothing is compiled. Patterns are those of RE2,
 * which takes linear time, and stand in the place of the library's formats. Formats themselves are annotations.
 */
export class ValueSchema {
  readonly #schema: Schema | boolean;
  readonly #lookup: Record<string, Schema | boolean>;
  readonly #patterns: ReadonlyMap<string, RE2JS>;

  /** @throws SchemaProblem */
  constructor(sent: JsonObject) {
    const { schema, patterns: found } = new SchemaReader(spend).read(sent);
    this.#schema = schema;
    // Reading is bounded by the size of a policy.
    stepsLeft = Number.POSITIVE_INFINITY;
    this.#lookup = dereference(schema);
    this.#patterns = found;
  }

  /** Where the value is not as the schema says; empty where it is. */
  errorsOf(value: unknown): readonly FieldError[] {
    stepsLeft = MAX_STEPS;
    patterns = this.#patterns;
    try {
      return fieldErrorsOf(validate(value, this.#schema, '2020-12', this.#lookup));
    } catch (error) {
      // A schema that refers to itself without end.
      if (error instanceof TooManySteps || error instanceof RangeError) return [TOO_COSTLY];
      throw error;
    }
  }
}

/** The library looks for a format by its name, and knows none of ours: they are found here, in the patterns of the present schema. */
Object.setPrototypeOf(
  format,
  new Proxy(
    {},
    {
      get: (_, name) => {
        const pattern = typeof name === 'string' ? patterns.get(name) : undefined;
        return pattern && ((text: string) => matches(pattern, text));
      },
    },
  ),
);

function matches(pattern: RE2JS, text: string): boolean {
  spend(Math.ceil((text.length * pattern.programSize()) / PATTERN_STEP));
  return pattern.matcher(text).find();
}
