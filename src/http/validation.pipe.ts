import { ValidationPipe, type ArgumentMetadata, type PipeTransform, type ValidationError } from '@nestjs/common';
import { validate } from 'class-validator';
import { instanceOf, shapeOf } from './body-shape.js';
import { InvalidRequest, RequestValidationError, type FieldError } from '../errors.js';
import { JsonBody } from '../json/json-body.js';
import { membersOf } from '../json/json-shape.js';

const STRICT = {
  whitelist: true,
  forbidNonWhitelisted: true,
  forbidUnknownValues: true,
  // Only the target distinguishes an element of a list from a member. By default class-validator omits it.
  validationError: { target: true },
};

/** Errors in one answer. A client with more wrong members has made one mistake often. */
const MAX_ERRORS = 100;
const TOO_DEEP = 'is larger than this route takes, or nests deeper';
/** A parameter of these types is no DTO. */
const NO_DTO: readonly unknown[] = [undefined, Object, Array, String, Number, Boolean, Buffer];

/** Bodies that do not fit their DTO are 422, query parameters 400; unknown members are refused in both. */
export class EdgeValidationPipe implements PipeTransform {
  readonly #query = new ValidationPipe({
    ...STRICT,
    transform: true,
    exceptionFactory: (errors) =>
      new InvalidRequest('The query parameters are not valid.', { errors: fieldErrors(errors) }),
  });

  async transform(value: unknown, metadata: ArgumentMetadata): Promise<unknown> {
    if (metadata.type === 'body') return this.body(value, metadata.metatype);
    return metadata.type === 'query' ? this.#query.transform(value, metadata) : value;
  }

  /** Not by class-transformer, which walks the whole body in quadratic time of an object's members. */
  private async body(value: unknown, dto: ArgumentMetadata['metatype']): Promise<unknown> {
    if (NO_DTO.includes(dto)) return value instanceof JsonBody ? value.toJSON() : value;
    const expected = dto as new () => object;
    const shape = shapeOf(expected);
    const taken = value instanceof JsonBody ? value.members(shape) : membersOf((value ?? {}) as object, shape);
    const { members, cut } = await taken;
    const body = instanceOf(expected, members);
    const errors = await validate(body, STRICT);
    if (errors.length > 0) throw new RequestValidationError(fieldErrors(errors));
    // Its validators have passed what is left of it.
    if (cut.length > 0) throw new RequestValidationError(cut.map((path) => ({ path, message: TOO_DEEP })));
    return body;
  }
}

/** The rules about types. Where one is broken, the others of the member say nothing. */
const TYPES = ['isString', 'isInt', 'isBoolean', 'isArray', 'isObject'];

/** One rule of a member is enough. Undefined: all are in its parts. */
function messageOf({ property, constraints = {} }: ValidationError): string | undefined {
  if (constraints['whitelistValidation'] !== undefined) return 'is not a known member';
  const [broken] = [...TYPES.filter((type) => constraints[type] !== undefined), ...Object.keys(constraints)];
  if (broken === 'nestedValidation') return 'must be an object';
  return broken === undefined
    ? undefined
    : constraints[broken]
        ?.replace(`each value in ${property} `, 'each value ')
        .replace(`${property} `, '')
        .replace(/\b1 (element|character)s$/, '1 $1');
}

/** Where in the document, in the notation of the document: `input.items[0].name`. */
function fieldErrors(errors: readonly ValidationError[]): readonly FieldError[] {
  return foundIn(errors, '').take(MAX_ERRORS).toArray();
}

function* foundIn(errors: readonly ValidationError[], parent: string): Generator<FieldError> {
  for (const error of errors) {
    const name = error.property.slice(0, 64);
    const path = Array.isArray(error.target) ? `${parent}[${name}]` : parent === '' ? name : `${parent}.${name}`;
    // The other rules of a missing member are of no use.
    if (error.constraints && error.value === undefined) {
      yield { path, message: 'is required' };
      continue;
    }
    const message = messageOf(error);
    if (message !== undefined) yield { path, message };
    yield* foundIn(error.children ?? [], path);
  }
}
