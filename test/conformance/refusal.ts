/** A refusal instead of the wanted answer. */
export class Refusal extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    readonly details: object = {},
    readonly headers: Readonly<Record<string, string>> = {},
  ) {
    super(code);
  }
}

export const invalidMembers = (...paths: readonly string[]) =>
  new Refusal(422, 'REQUEST_VALIDATION_ERROR', { errors: paths.map((path) => ({ path, message: 'is wrong' })) });

export const invalidRequest = () => new Refusal(400, 'INVALID_REQUEST');
