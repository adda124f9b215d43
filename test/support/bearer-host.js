// A host module whose callers show `Authorization: Bearer host:NAME:AT`, credentials that end AT milliseconds after 1970. `host:NAME` has
// no end. Callers whose name begins with `ends` are no longer valid when the service asks again.
import { AuthContextResolver, NotAuthenticated } from 'taskbridge';

class BearerResolver extends AuthContextResolver {
  resolve(request) {
    const { rawHeaders, headers, headersDistinct, url, originalUrl } = request;
    // Thrown at random places it is a fault of the host: 503.
    if (/tbf1\./.test(JSON.stringify([rawHeaders, headers, headersDistinct, url, originalUrl])))
      throw new Error('the resolver of a host was given a follow token');
    const [, subject, at] = /^Bearer host:([^:]+)(?::(\d+))?$/.exec(headers.authorization ?? '') ?? [];
    if (subject === undefined) throw new NotAuthenticated();
    return {
      subject,
      scopes: new Set(['tasks:read', 'tasks:write']),
      tenantId: 'of-host',
      appId: 'app-of-host',
      attributes: subject.startsWith('large') ? { text: 'x'.repeat(1100) } : { session: `session of ${subject}` },
      ...(at !== undefined && { expiresAt: new Date(Number(at)) }),
    };
  }

  isStillValid({ subject, attributes }) {
    return !subject.startsWith('ends') && attributes.session === `session of ${subject}`;
  }
}

class Host {}

export default { module: Host, providers: [{ provide: AuthContextResolver, useClass: BearerResolver }] };
