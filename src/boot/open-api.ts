import type { INestApplication } from '@nestjs/common';
import { DocumentBuilder, type OpenAPIObject, SwaggerModule } from '@nestjs/swagger';
import { component } from '#protocol/json-schema.js';
import type { HeaderName } from '#protocol/requests.js';
import type { AuthConfig } from '../auth/auth.config.js';
import { AuthContextResolver } from '../auth/auth-context-resolver.js';
import { SECURITY_SCHEMES, waysToCall } from '../auth/security-schemes.js';
import { headerOf, withSchemas } from '../http/api-schemas.js';

type Operation = NonNullable<OpenAPIObject['paths'][string]['get']>;
type Security = NonNullable<Operation['security']>;
type Ways = ReturnType<typeof waysToCall>;

/** What the proxy says of a caller, besides its credentials. */
const PROXY_HEADERS: readonly HeaderName[] = ['X-Principal-Id', 'X-Principal-Scopes', 'X-Tenant-Id', 'X-App-Id'];

/** Not a host's routes: whether they mind is up to them. */
const TRACED = /^\/(api|worker)\/v1\//;

const TAGS = {
  tasks: 'Create tasks, read them, cancel them, answer their questions.',
  events: 'Follow a task to its end. `/asyncapi.json` describes what arrives on a stream.',
  changes: 'Follow what changes among tasks.',
  operators: 'See what runs in an installation, and what does not.',
  bulk: 'Do the same to many tasks, at a bounded pace.',
  schedules: 'Create tasks at times of the clock.',
  'follow tokens': 'Let a page follow what its backend created, without the credentials of the backend.',
  'task types': 'Read what applies to the tasks of a type, and pause it.',
  workers: 'Execute tasks outside of the service.',
  system: 'Read what an installation is made of, for operators.',
  service: 'What the replicas of the service know.',
  operations: 'Whether the service is alive, and ready.',
};

/** The HTTP routes of the service and of its host module, for programs: OpenAPI 3.1. */
export function openApi(app: INestApplication, config: AuthConfig): OpenAPIObject {
  const ways = waysToCall(app.get(AuthContextResolver), config);
  const document = withSchemas(withUploadForm(SwaggerModule.createDocument(app, outline(ways))));
  for (const [path, item] of Object.entries(document.paths)) {
    for (const operation of Object.values(item) as Operation[]) {
      const takesPrincipal = operation.security?.some((one) => 'principal' in one) ?? false;
      if (takesPrincipal && ways) operation.security = securityOf(operation.security ?? [], ways);
      // A host's resolver reads what it likes: OpenAPI has no word for that.
      if (takesPrincipal && !ways) delete operation.security;
      const headers: HeaderName[] = takesPrincipal && ways ? [...PROXY_HEADERS] : [];
      if (TRACED.test(path)) headers.push('traceparent');
      const parameters = headers.map((name) => ({ ...headerOf(name), in: 'header' as const, required: false }));
      if (parameters.length > 0) operation.parameters = [...(operation.parameters ?? []), ...parameters];
    }
  }
  return document;
}

/** What the routes say (a scope of the principal, or a lease), by the ways in which this service lets callers in. */
function securityOf(said: Security, ways: NonNullable<Ways>): Security {
  return said.flatMap((one) => {
    const { principal: scopes } = one;
    if (scopes === undefined) return [one];
    return ways.map((way) => Object.fromEntries(way.map((scheme) => [scheme, scheme === 'principal' ? scopes : []])));
  });
}

function outline(ways: Ways): Omit<OpenAPIObject, 'paths'> {
  const builder = new DocumentBuilder()
    .setOpenAPIVersion('3.1.0')
    .setTitle('TaskBridge')
    .setDescription('Accept a long-running task once, and follow it to its end without losing an event.')
    .setVersion('1.0')
    .setLicense('Apache-2.0', 'https://www.apache.org/licenses/LICENSE-2.0')
    .addServer('/', 'This service')
    .addSecurity('followToken', { type: 'http', scheme: 'bearer', description: 'A follow token.' })
    .addSecurity('followTokenInQuery', {
      type: 'apiKey',
      in: 'query',
      name: 'token',
      description: 'A follow token, for an `EventSource`.',
    })
    .addSecurity('workerToken', { type: 'http', scheme: 'bearer', description: 'A token of `WORKER_TOKENS`.' });
  for (const [name, description] of Object.entries(TAGS)) builder.addTag(name, description);
  for (const scheme of new Set([...(ways ?? []).flat(), 'leaseToken' as const])) {
    const { header, description } = SECURITY_SCHEMES[scheme];
    builder.addSecurity(scheme, { type: 'apiKey', in: 'header', name: header, description });
  }
  return builder.build();
}

/** Adds what decorators cannot say: a create may also be a form, with files. */
function withUploadForm(document: OpenAPIObject): OpenAPIObject {
  const body = document.paths['/api/v1/tasks']?.post?.requestBody;
  if (body && 'content' in body)
    body.content['multipart/form-data'] = { schema: { $ref: component('CreateTaskForm') } };
  return document;
}
