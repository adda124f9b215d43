/** Who acts when nobody has to say who they are. No header or token may claim it. */
export const SYSTEM_PRINCIPAL_ID = '00000000-0000-0000-0000-000000000000';

export const SCOPES = ['tasks:write', 'tasks:upload', 'tasks:read', 'tasks:execute', 'tasks:admin'] as const;
export type Scope = (typeof SCOPES)[number];

/** What the service knows of a caller, however it was authenticated. */
export interface AuthContext {
  /** The principal's id, 1 to 128 characters. */
  readonly subject: string;
  readonly scopes: ReadonlySet<string>;
  readonly tenantId?: string;
  readonly appId?: string;
  /** Whatever else a host's resolver and policies want to share. */
  readonly attributes: Readonly<Record<string, unknown>>;
}
