import { applyDecorators } from '@nestjs/common';
import { ApiResponse } from '@nestjs/swagger';
import { answers } from './api-schemas.js';

const MEANING = {
  400: 'The request is malformed',
  401: 'Who is calling is not proven',
  403: 'The caller may not do this',
  404: 'No such task for this caller',
  406: 'The client accepts no answer of the type there is',
  409: 'The request does not go with what is stored',
  410: 'What follows the cursor is not known any more',
  413: 'The body is too large',
  415: 'The body is not of a supported type',
  416: 'The range begins behind the end',
  422: 'The body does not have the members it must have',
  429: 'Too much at a time',
  503: 'The service cannot answer now',
} as const;

/** The refusals that a route may answer with, all of one shape, in OpenAPI. */
export const ApiErrors = (...statuses: readonly (keyof typeof MEANING)[]) =>
  applyDecorators(...statuses.map((status) => ApiResponse({ status, ...answers('Error', MEANING[status]) })));
