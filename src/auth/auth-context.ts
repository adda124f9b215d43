import type { FollowRight } from '#protocol/follow-tokens.js';

/** The principal of requests that need not name one. No header or token may claim it. */
export const SYSTEM_PRINCIPAL_ID = '00000000-0000-0000-0000-000000000000';

/** Scopes over tasks of others. From the shipped resolver they count only with the proof of the proxy. */
export const OPERATOR_SCOPES = ['tasks:admin', 'tasks:operate', 'tasks:prioritise'] as const;
export const SCOPES = ['tasks:write', 'tasks:upload', 'tasks:read', 'tasks:execute', ...OPERATOR_SCOPES] as const;
export type Scope = (typeof SCOPES)[number];

export function isReserved(subject: string): boolean {
  const id = subject.trim().toLowerCase();
  return id === SYSTEM_PRINCIPAL_ID || id === 'system' || id.startsWith('worker:');
}

const MAX_NAME_CHARACTERS = 128;
const CONTROL = /\p{Cc}/u;

/** Whether this text can be the id of a principal, a tenant or an app. It has to be storable, and safe in a log. */
export function isName(text: string): boolean {
  return text !== '' && text.length <= MAX_NAME_CHARACTERS && text.isWellFormed() && !CONTROL.test(text);
}

/** What the service knows of a caller, however it was authenticated. */
export interface AuthContext {
  /** The principal's id, 1 to 128 characters, none of them a control character. */
  readonly subject: string;
  readonly scopes: ReadonlySet<string>;
  readonly tenantId?: string;
  readonly appId?: string;
  /** Further facts that a host's resolver shares with its policies. */
  readonly attributes: Readonly<Record<string, unknown>>;
  /** When the credentials end, by the clock of this process. Streams end then. Absent: they last as long as a stream may. */
  readonly expiresAt?: Date;
  /** Present for the holder of a follow token, who acts as the principal that minted it. No resolver gives it. */
  readonly followToken?: FollowTokenReach;
}

/** How far a follow token reaches. */
export interface FollowTokenReach {
  /** The one task. Absent: all tasks that the principal owns. */
  readonly taskId?: string;
  readonly may: readonly FollowRight[];
  /** By the database's clock, in milliseconds since 1970. */
  readonly issuedAt: number;
}

/** Whose tasks and files those of the caller are. The tenant is empty when the caller has none. */
export function ownerOf({ tenantId = '', subject }: Pick<AuthContext, 'tenantId' | 'subject'>) {
  return { tenantId, ownerId: subject };
}

/** A key for maps: a principal in its tenant, and what the entry is about. */
export function principalKey(
  { tenantId = '', subject }: Pick<AuthContext, 'tenantId' | 'subject'>,
  ...about: string[]
): string {
  return JSON.stringify([tenantId, subject, ...about]);
}

/** The scopes of a principal when the request names none. */
export const UNSCOPED: readonly Scope[] = ['tasks:write', 'tasks:upload', 'tasks:read'];

/** The caller of a request that needs no principal and names none. */
export const NOBODY: AuthContext = { subject: SYSTEM_PRINCIPAL_ID, scopes: new Set(UNSCOPED), attributes: {} };

/** The same from this machine, where the service trusts everybody: it has every scope. */
export const LOCAL: AuthContext = { ...NOBODY, scopes: new Set(SCOPES) };

/** Whether the request named a caller. */
export function isNamed(auth: AuthContext): boolean {
  return auth !== NOBODY && auth !== LOCAL;
}

/** Whether the caller has the scope. `tasks:admin` includes `tasks:read`. */
export function hasScope({ scopes }: AuthContext, scope: Scope): boolean {
  return scopes.has(scope) || (scope === 'tasks:read' && scopes.has('tasks:admin'));
}
