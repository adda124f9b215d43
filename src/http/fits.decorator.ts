import { Matches } from 'class-validator';
import { patternOf } from '#protocol/ids.js';
import type { JsonSchema } from '#protocol/json-schema.js';

/** A text, or each text of a list, that a shape of the protocol describes. The refusal has the title of the shape, and no pattern. */
export function Fits(shape: JsonSchema, { each = false } = {}): PropertyDecorator {
  if (shape.title === undefined) throw new Error(`the shape ${shape.pattern} has no title for refusals`);
  return Matches(patternOf(shape), { each, message: `${each ? 'each value ' : ''}must be ${shape.title}` });
}
