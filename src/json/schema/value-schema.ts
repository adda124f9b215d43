import { format, type Schema, validate, dereference } from '@cfworker/json-schema';
import { RE2JS } from 're2js';
import type { JsonObject } from '#protocol/json-schema.js';
import type { FieldError } from '../../errors.js';
import { fieldErrorsOf } from './field-errors.js';
import { SchemaReader } from './schema-reader.js';

/** At most about 40 ms. A check that takes more is refused: it would keep all other requests waiting. */
const MAX_STEPS = 8_000;
/** A check that takes more CPU is refused, too: the errors of alternatives within alternatives add up. In microseconds. */
const MAX_CPU = 25_000;
/** Steps between two looks at the clock of the CPU. */
const LOOK_EVERY = 32;
/** Characters times the size of the pattern that count as one step. */
const PATTERN_STEP = 200;

/** The value may be right: the service does not spend the time to know. */
const TOO_COSTLY: FieldError = {
  path: '',
  message: 'takes too long to check against the schema',
};

class TooManySteps extends Error {}

/** What the check that is under way may still cost. Checks are synchronous, so there is one at a time. */
let stepsLeft = 0;
let beganAt = 0;
let looks = 0;
let patterns: ReadonlyMap<string, RE2JS> = new Map();

function spend(steps: number): void {
  stepsLeft -= steps;
  looks += 1;
  const isLate = looks % LOOK_EVERY === 0 && cpuTime() - beganAt > MAX_CPU;
  if (stepsLeft < 0 || isLate) throw new TooManySteps();
}

/**
 * A JSON Schema, by draft 2020-12, of inputs, results or answers. The library interprets it: nothing is compiled. Patterns are those of RE2,
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
    beganAt = Number.POSITIVE_INFINITY;
    this.#lookup = dereference(schema);
    this.#patterns = found;
  }

  /** Where the value is not as the schema says; empty where it is. */
  errorsOf(value: unknown): readonly FieldError[] {
    stepsLeft = MAX_STEPS;
    beganAt = cpuTime();
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

/** The CPU time of this thread, in microseconds. */
function cpuTime(): number {
  const { user, system } = process.threadCpuUsage();
  return user + system;
}

function matches(pattern: RE2JS, text: string): boolean {
  spend(Math.ceil((text.length * pattern.programSize()) / PATTERN_STEP));
  return pattern.matcher(text).find();
}
