import { applyDecorators } from '@nestjs/common';
import { Transform } from 'class-transformer';
import { IsInt, IsString, Max, MaxLength, Min } from 'class-validator';
import { Optional } from './optional.decorator.js';
import { integerText } from './query-text.js';

/** The query parameter `limit`: how many entries a page has at most. */
export function PageLimit({ minimum, maximum }: { readonly minimum: number; readonly maximum: number }) {
  return applyDecorators(Transform(integerText), IsInt(), Min(minimum), Max(maximum));
}

/** The query parameter `cursor`, or the like: where the page before ended. */
export function PageCursor(maxLength: number) {
  return applyDecorators(Optional(), IsString(), MaxLength(maxLength));
}
