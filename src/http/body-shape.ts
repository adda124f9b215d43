import 'reflect-metadata';
import { applyDecorators } from '@nestjs/common';
import { ApiProperty, type ApiPropertyOptions } from '@nestjs/swagger';
import { getMetadataStorage, ValidateBy } from 'class-validator';
import { isMembers, type Member, type Members, type MemberShape, type Shape } from '../json/json-shape.js';
import { JsonText } from '../json/json-text.js';

type Dto = new () => object;
/** The form of a member that is no plain value: its text, its flat part, or a list of another DTO. */
type Kept = 'text' | 'shallow' | (() => Dto);

interface Plan {
  readonly shape: Shape;
  readonly lists: ReadonlyMap<string, Dto>;
  readonly readings: ReadonlyMap<string, Reading>;
}

/** The value that validators and the route get instead of the one that was sent. */
type Reading = (sent: Member) => Member | undefined;

const ANY_JSON = [
  { type: 'object', additionalProperties: true },
  { type: 'array', items: {} },
  ...['string', 'number', 'boolean', 'null'].map((type) => ({ type })),
];

const KEPT = Symbol('kept');
const READING = Symbol('reading');
const plans = new WeakMap<Dto, Plan>();

/** Free-form JSON: the member is a `JsonText`, and no validator looks into it. */
export const AsText = () => Reflect.metadata(KEPT, 'text' satisfies Kept);

/** A flat array or object. Deeper parts are left out, and the route refuses the rest. Without this the body is refused. */
export const Shallow = () => Reflect.metadata(KEPT, 'shallow' satisfies Kept);

/** The member, or each of its elements, is an instance of `dto`. `@ValidateNested()` validates it as such. */
export const Elements = (dto: () => Dto) => Reflect.metadata(KEPT, dto satisfies Kept);

/** A member with several spellings of one value. */
export const ReadAs = (reading: Reading) => Reflect.metadata(READING, reading);

/** A member that may be any JSON value, in OpenAPI: a schema without a type would become one of an object. */
export const AnyJson = (options: { readonly required?: boolean; readonly description?: string } = {}) =>
  ApiProperty({ ...options, oneOf: ANY_JSON } as ApiPropertyOptions);

/** A member that is any JSON object, kept as its text. */
export const JsonObjectText = ({ required = true } = {}) =>
  applyDecorators(
    AsText(),
    ApiProperty({ type: 'object', additionalProperties: true, selfRequired: required }),
    ValidateBy({
      name: 'isObject',
      validator: {
        validate: (value) => value instanceof JsonText && value.kind === 'object',
        defaultMessage: () => '$property must be an object',
      },
    }),
  );

/** The shape that a body is read with. Members without a decorator of class-validator are unknown. */
export function shapeOf(dto: Dto): Shape {
  return planOf(dto).shape;
}

/** The members as an instance, in the order in which they came; defaults first. */
export function instanceOf(dto: Dto, members: Members): object {
  const instance = Object.assign(new dto(), members) as Record<string, Member | undefined>;
  const { lists, readings } = planOf(dto);
  for (const [name, reading] of readings) {
    const sent = instance[name];
    if (sent !== undefined) instance[name] = reading(sent);
  }
  for (const [name, element] of lists) {
    const list = instance[name];
    const made = (one: unknown) => (isMembers(one) ? (instanceOf(element, one) as Members) : one) as Member;
    if (list !== undefined) instance[name] = Array.isArray(list) ? list.map(made) : made(list);
  }
  return instance;
}

function planOf(dto: Dto): Plan {
  let plan = plans.get(dto);
  if (plan === undefined) {
    plan = planned(dto);
    plans.set(dto, plan);
  }
  return plan;
}

function planned(dto: Dto): Plan {
  const shape: Record<string, MemberShape> = {};
  const lists = new Map<string, Dto>();
  const readings = new Map<string, Reading>();
  for (const { propertyName } of getMetadataStorage().getTargetValidationMetadatas(dto, '', false, false)) {
    const kept = Reflect.getMetadata(KEPT, dto.prototype as object, propertyName) as Kept | undefined;
    shape[propertyName] = typeof kept === 'function' ? { listOf: shapeOf(kept()) } : (kept ?? 'value');
    if (typeof kept === 'function') lists.set(propertyName, kept());
    const reading = Reflect.getMetadata(READING, dto.prototype as object, propertyName) as Reading | undefined;
    if (reading) readings.set(propertyName, reading);
  }
  return { shape, lists, readings };
}
