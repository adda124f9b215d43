import { applyDecorators } from '@nestjs/common';
import { IsString, MaxLength } from 'class-validator';
import { ReadAs } from './body-shape.js';
import { Optional } from './optional.decorator.js';

/** An optional text. Clients send null or an empty text for none. */
export const Reason = (maxLength: number) =>
  applyDecorators(
    ReadAs((sent) => (sent === null || sent === '' ? undefined : sent)),
    Optional(),
    IsString(),
    MaxLength(maxLength),
  );
