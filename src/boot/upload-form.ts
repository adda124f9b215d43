import type { OpenAPIObject } from '@nestjs/swagger';

/** Adds what decorators cannot say: a create may also be a form, with the members of the JSON body as fields, and with files. */
export function withUploadForm(document: OpenAPIObject): OpenAPIObject {
  const body = document.paths['/api/v1/tasks']?.post?.requestBody;
  const json = body && 'content' in body ? body.content['application/json']?.schema : undefined;
  if (!body || !('content' in body) || json === undefined) return document;
  const files = { type: 'array', items: { type: 'string', contentMediaType: 'application/octet-stream' } };
  const attached = { type: 'object', properties: { attachment: files, attachments: files } };
  body.content['multipart/form-data'] = { schema: { allOf: [json, attached] } };
  return document;
}
