import type { OpenAPIObject } from '@nestjs/swagger';
import { component } from '#protocol/json-schema.js';

/** Adds what decorators cannot say: a create may also be a form, with files. */
export function withUploadForm(document: OpenAPIObject): OpenAPIObject {
  const body = document.paths['/api/v1/tasks']?.post?.requestBody;
  if (body && 'content' in body)
    body.content['multipart/form-data'] = { schema: { $ref: component('CreateTaskForm') } };
  return document;
}
