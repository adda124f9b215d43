import { ValidationPipe, type ArgumentMetadata, type PipeTransform, type ValidationError } from '@nestjs/common';
import { InvalidRequest, RequestValidationError, type FieldError } from './http.errors.js';

const STRICT = {
  whitelist: true,
  forbidNonWhitelisted: true,
  forbidUnknownValues: true,
  transform: true,
  // Only by its target is an element of a list told from a member; Nest leaves it out unless asked for.
  validationError: { target: true },
};

/** Bodies that do not fit their DTO are 422, query parameters 400; unknown members are refused in both. */
export class EdgeValidationPipe implements PipeTransform {
  readonly #body = new ValidationPipe({
    ...STRICT,
    exceptionFactory: (errors) => new RequestValidationError(fieldErrors(errors)),
  });
  readonly #query = new ValidationPipe({
    ...STRICT,
    exceptionFactory: (errors) =>
      new InvalidRequest('The query parameters are not valid.', { errors: fieldErrors(errors) }),
  });

  async transform(value: unknown, metadata: ArgumentMetadata): Promise<unknown> {
    if (metadata.type === 'body') return this.#body.transform(value, metadata);
    return metadata.type === 'query' ? this.#query.transform(value, metadata) : value;
  }
}

/** Where in the document, in the notation of the document: `input.items[0].name`. */
function fieldErrors(errors: readonly ValidationError[], parent = ''): FieldError[] {
  return errors.flatMap((error) => {
    const name = error.property.slice(0, 64);
    const path = Array.isArray(error.target) ? `${parent}[${name}]` : parent === '' ? name : `${parent}.${name}`;
    // What a member that is missing would have to look like is of no use yet.
    if (error.constraints && error.value === undefined) return [{ path, message: 'is required' }];
    const own = Object.entries(error.constraints ?? {}).map(([constraint, message]) => ({
      path,
      message:
        constraint === 'whitelistValidation' ? 'is not a known member' : message.replace(`${error.property} `, ''),
    }));
    return [...own, ...fieldErrors(error.children ?? [], path)];
  });
}
