import { format, type Schema, type ValidationResult, validate, dereference } from '@cfworker/json-schema';
import { RE2JS } from 're2js';
import type { JsonObject } from '#protocol/json-schema.js';
import type { FieldError } from '../../errors.js';
import { fieldErrorsOf, valueAt } from './field-errors.js';
import { comparisonCosts } from './list-comparisons.js';
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
let listCosts: ReadonlyMap<number, number> = new Map();

function spend(steps: number): void {
  stepsLeft -= steps;
  looks += 1;
  const isLate = looks % LOOK_EVERY === 0 && cpuTime() - beganAt > MAX_CPU;
  if (stepsLeft < 0 || isLate) throw new TooManySteps();
}

function spendOnList(length: number): void {
  spend(listCosts.get(length) ?? 0);
}

/**
 * A JSON Schema, by draft 2020-12, of inputs, results or answers. The library interprets it: nothing is compiled. Patterns are those of RE2,
 * which takes linear time, and stand in the place of the library's formats. Formats themselves are annotations.
 */
export class ValueSchema {
  readonly #schema: Schema | boolean;
  readonly #lookup: Record<string, Schema | boolean>;
  readonly #patterns: ReadonlyMap<string, RE2JS>;
  readonly #comparesLists: boolean;

  /** @throws SchemaProblem */
  constructor(sent: JsonObject) {
    const { schema, patterns: found, comparesLists } = new SchemaReader(spend, spendOnList).read(sent);
    this.#schema = schema;
    // Reading is bounded by the size of a policy.
    stepsLeft = Number.POSITIVE_INFINITY;
    beganAt = Number.POSITIVE_INFINITY;
    this.#lookup = dereference(schema);
    this.#patterns = found;
    this.#comparesLists = comparesLists;
  }

  /** Where the value is not as the schema says; empty where it is. */
  errorsOf(value: unknown): readonly FieldError[] {
    stepsLeft = MAX_STEPS;
    beganAt = cpuTime();
    patterns = this.#patterns;
    if (this.#comparesLists) listCosts = comparisonCosts(value);
    const first = this.result(value, { untilWrong: true });
    if (!first) return [TOO_COSTLY];
    if (first.valid) return [];
    // What is left of the budget finds the other places.
    const { errors } = this.result(value, { untilWrong: false }) ?? first;
    return fieldErrorsOf(errors, (location) => valueAt(this.#schema, this.#lookup, location));
  }

  /** Undefined: it takes too long. `untilWrong`: a list or an object is left at its first wrong part. */
  private result(value: unknown, { untilWrong }: { readonly untilWrong: boolean }): ValidationResult | undefined {
    try {
      return validate(value, this.#schema, '2020-12', this.#lookup, untilWrong);
    } catch (error) {
      // A schema that refers to itself without end.
      if (error instanceof TooManySteps || error instanceof RangeError) return undefined;
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
