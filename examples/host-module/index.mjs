// A host module: callers by JWT, tasks that belong to a tenant, and a task type of your own. See README.md.
import { createLocalJWKSet, createRemoteJWKSet, errors, jwtVerify } from 'jose';
import {
  AuthContextResolver,
  NotAuthenticated,
  OwnershipPolicy,
  TASK_HANDLERS,
  TaskBridgeError,
  TaskFailure,
} from 'taskbridge';

const { JWT_JWKS_URL, JWT_JWKS, JWT_ISSUER: issuer, JWT_AUDIENCE: audience } = process.env;
// Thrown while the module is loaded, so the service does not start: one line that names HOST_MODULE.
if (!issuer || !audience) throw new Error('JWT_ISSUER and JWT_AUDIENCE are required');
if (!JWT_JWKS_URL && !JWT_JWKS) throw new Error('JWT_JWKS_URL or JWT_JWKS is required');

const keys = JWT_JWKS ? createLocalJWKSet(JSON.parse(JWT_JWKS)) : createRemoteJWKSet(new URL(JWT_JWKS_URL));
// Asymmetric algorithms only: a service that checks tokens must not be able to make one.
const rules = { issuer, audience, algorithms: ['RS256', 'PS256', 'ES256', 'EdDSA'], requiredClaims: ['sub', 'exp'] };

/** Names that are fit for logs and URLs. The id of nobody, all zeros, is the service's own. */
const NAME = /^(?!00000000-0000-0000-0000-000000000000$)[A-Za-z0-9][A-Za-z0-9._:@|-]{0,127}$/;

/** A 401 makes clients throw their credentials away: not for a key server that is down. */
class KeysUnavailable extends TaskBridgeError {
  code = 'SERVICE_UNAVAILABLE';
  kind = 'unavailable';
  retryAfterSeconds = 2;
}

const isTheirFault = (error) =>
  error instanceof errors.JOSEError &&
  !['ERR_JOSE_GENERIC', 'ERR_JWKS_TIMEOUT', 'ERR_JWKS_INVALID'].includes(error.code);

class JwtResolver extends AuthContextResolver {
  /** HTTP requests and WebSocket upgrades alike. */
  async resolve(request) {
    // Of doubled headers Node would keep the first, and the proxy may have looked at the last.
    const [header, ...others] = request.headersDistinct.authorization ?? [];
    const token = /^Bearer ([\w.-]+)$/i.exec(header ?? '')?.[1];
    if (token === undefined || others.length > 0) throw new NotAuthenticated('A bearer token is needed.');
    const { payload } = await jwtVerify(token, keys, rules).catch((error) => {
      throw isTheirFault(error) ? new NotAuthenticated('The bearer token is not valid.') : new KeysUnavailable();
    });
    const { sub, tenant, scope = '' } = payload;
    if (![sub, tenant].every((name) => typeof name === 'string' && NAME.test(name)) || typeof scope !== 'string') {
      throw new NotAuthenticated('The bearer token lacks a usable sub, tenant or scope.');
    }
    return { subject: sub, tenantId: tenant, scopes: new Set(scope.split(' ')), attributes: {} };
  }
}

/** Every principal of the tenant may watch a task. Its creator and the tenant's admins may also end it. */
class TenantOwnership extends OwnershipPolicy {
  mayCreate(auth, { taskType }) {
    return taskType.startsWith('acme.');
  }

  mayRead(auth, task) {
    return auth.tenantId === task.tenantId;
  }

  mayControl(auth, task) {
    return this.mayRead(auth, task) && (auth.subject === task.ownerId || auth.scopes.has('tasks:admin'));
  }
}

const handlers = {
  'acme.sum': async ({ numbers }, { progress, signal }) => {
    if (!Array.isArray(numbers)) throw new TaskFailure('INVALID_INPUT', 'input.numbers must be a list.');
    let sum = 0;
    for (const [index, number] of numbers.entries()) {
      signal.throwIfAborted();
      sum += number;
      await progress((100 * (index + 1)) / numbers.length);
    }
    return { sum };
  },
};

export default {
  module: class HostModule {},
  providers: [
    { provide: AuthContextResolver, useClass: JwtResolver },
    { provide: OwnershipPolicy, useClass: TenantOwnership },
    { provide: TASK_HANDLERS, useValue: handlers },
  ],
};
