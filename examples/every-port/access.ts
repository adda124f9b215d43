// Who is calling, whose tasks those are, and which files are taken.
import type { IncomingMessage } from 'node:http';
import { Injectable } from '@nestjs/common';
import {
  ActionInvalid,
  type ActionToValidate,
  ActionValidationPolicy,
  type AuthContext,
  AuthContextResolver,
  NotAuthenticated,
  type OwnedTask,
  OwnershipPolicy,
  treeOf,
  type UploadAllowance,
  type UploadedFile,
  UploadForbidden,
  UploadPolicy,
} from 'taskbridge';
import { Asked } from './asked.js';

interface Principal {
  readonly subject: string;
  readonly tenant: string;
  readonly scopes: readonly string[];
}

/** From API_KEYS: principals by their keys, as JSON. */
function principalsOf(json: string | undefined): ReadonlyMap<string, Principal> {
  // Thrown while the module is built, so the service does not start: one line that names HOST_MODULE and the port.
  if (!json) throw new Error('API_KEYS is required');
  return new Map(Object.entries(JSON.parse(json) as Record<string, Principal>));
}

@Injectable()
export class ApiKeys extends AuthContextResolver {
  private readonly principals = principalsOf(process.env['API_KEYS']);

  constructor(private readonly asked: Asked) {
    super();
  }

  override resolve({ headersDistinct }: IncomingMessage): AuthContext {
    this.asked.note('AuthContextResolver.resolve');
    const [key = '', ...others] = headersDistinct['x-api-key'] ?? [];
    const principal = this.principals.get(key);
    if (!principal || others.length > 0) throw new NotAuthenticated('An API key is needed.');
    const { subject, tenant, scopes } = principal;
    return { subject, tenantId: tenant, scopes: new Set(scopes), attributes: {} };
  }
}

/** Everybody in the tenant may watch a task; its owner alone may end it. */
@Injectable()
export class TenantTasks extends OwnershipPolicy {
  constructor(private readonly asked: Asked) {
    super();
  }

  override mayCreate(_auth: AuthContext, { taskType }: { readonly taskType: string }): boolean {
    this.asked.note('OwnershipPolicy.mayCreate');
    return taskType.startsWith('acme.');
  }

  override mayRead(auth: AuthContext, task: OwnedTask): boolean {
    this.asked.note('OwnershipPolicy.mayRead');
    return auth.tenantId === task.tenantId;
  }

  override mayControl(auth: AuthContext, task: OwnedTask): boolean {
    this.asked.note('OwnershipPolicy.mayControl');
    return auth.tenantId === task.tenantId && auth.subject === task.ownerId;
  }
}

/** Who says yes has to say why. */
@Injectable()
export class ReasonedAnswers extends ActionValidationPolicy {
  constructor(private readonly asked: Asked) {
    super();
  }

  override async validate(_auth: AuthContext, { actionType, payload }: ActionToValidate): Promise<void> {
    this.asked.note('ActionValidationPolicy.validate');
    const said = payload && (await treeOf(payload));
    if (actionType === 'yes' && !(said instanceof Object && 'reason' in said))
      throw new ActionInvalid([{ path: 'payload.reason', message: 'is required with yes' }]);
  }
}

@Injectable()
export class TextFiles extends UploadPolicy {
  constructor(private readonly asked: Asked) {
    super();
  }

  override admit(): UploadAllowance {
    this.asked.note('UploadPolicy.admit');
    return { maxFiles: 3, maxFileBytes: 100_000, maxTotalBytes: 300_000, maxOwnedBytes: 10_000_000 };
  }

  override check(_auth: AuthContext, files: readonly UploadedFile[]): void {
    this.asked.note('UploadPolicy.check');
    const other = files.find(({ contentType }) => !contentType.startsWith('text/'));
    if (other) throw new UploadForbidden(`${other.filename} is no text.`);
  }
}
