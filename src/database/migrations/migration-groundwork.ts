import type { ClientBase } from 'pg';
import pg from 'pg';
import { sqlStateOf } from '../database.errors.js';
import { MigrationRefused } from './migration-refused.js';

/** The role that serves. Roles belong to the cluster, so two databases of one cluster share it. */
const APP_ROLE = 'taskbridge_app';
/** The role that removes tasks past their retention; used by a command of its own. */
const RETENTION_ROLE = 'taskbridge_retention';
/** The role that may create tasks by SQL and do nothing else. Roles of other applications become members of it. */
const CREATOR_ROLE = 'taskbridge_creator';
/** The roles, and whether each may connect. */
const LOGINS: Readonly<Record<string, string>> = {
  [APP_ROLE]: 'LOGIN',
  [RETENTION_ROLE]: 'LOGIN',
  [CREATOR_ROLE]: 'NOLOGIN',
};
const ROLES = Object.keys(LOGINS);
const OLDEST_POSTGRES = 15;

interface Ground {
  readonly server_version: number;
  readonly me: string;
  readonly database: string;
  readonly may_create_roles: boolean;
  readonly roles: readonly string[];
  readonly schema_exists: boolean;
  readonly owns_schema: boolean;
  readonly may_create_schema: boolean;
  readonly grants_on_database: boolean;
  readonly public_on_database: boolean;
  readonly public_on_public: boolean;
  readonly grants_on_public: boolean;
}

const GROUND = `
SELECT current_setting('server_version_num')::int AS server_version, current_user AS me, d.datname AS database,
  me.rolsuper OR me.rolcreaterole AS may_create_roles,
  ARRAY(SELECT rolname::text FROM pg_roles WHERE rolname = ANY ('{${ROLES.join(',')}}')) AS roles,
  ours.oid IS NOT NULL AS schema_exists,
  coalesce(pg_has_role(ours.nspowner, 'USAGE'), false) AS owns_schema,
  has_database_privilege(d.oid, 'CREATE') AS may_create_schema,
  pg_has_role(d.datdba, 'USAGE') AS grants_on_database,
  EXISTS (SELECT FROM aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) AS a
    WHERE a.grantee = 0 AND a.privilege_type IN ('TEMPORARY', 'CREATE')) AS public_on_database,
  EXISTS (SELECT FROM aclexplode(coalesce(p.nspacl, acldefault('n', p.nspowner))) AS a
    WHERE a.grantee = 0 AND a.privilege_type = 'CREATE') AS public_on_public,
  coalesce(pg_has_role(p.nspowner, 'USAGE'), false) AS grants_on_public
FROM pg_database d JOIN pg_roles me ON me.rolname = current_user
  LEFT JOIN pg_namespace ours ON ours.nspname = 'taskbridge' LEFT JOIN pg_namespace p ON p.nspname = 'public'
WHERE d.datname = current_database()`;

/**
 * The state that every migration needs, checked before each: the role that serves, the schema, the list of migrations. And no
 * role may make tables, temporary ones included, that could shadow ours. Where the owner lacks a right, the refusal has the
 * statement for an administrator.
 */
export async function layGround(client: ClientBase, log: (line: string) => void): Promise<void> {
  const [ground] = (await client.query<Ground>(GROUND)).rows;
  if (ground === undefined) throw new Error('pg_database has no row for the current database');
  if (ground.server_version < OLDEST_POSTGRES * 10_000) {
    throw refused(
      `PostgreSQL ${OLDEST_POSTGRES} or newer is needed, this is ${Math.floor(ground.server_version / 10_000)}`,
    );
  }
  await ensureRoles(client, ground);
  await ensureDatabaseGrants(client, ground, log);
  await ensureSchema(client, ground);
}

async function ensureRoles(client: ClientBase, { me, may_create_roles, roles }: Ground): Promise<void> {
  const missing = ROLES.filter((role) => !roles.includes(role));
  if (missing.length > 0 && !may_create_roles) {
    const statements = missing.map((role) => `CREATE ROLE ${role} ${LOGINS[role]};`).join(' ');
    throw refused(`${me} may not make the missing roles ${missing.join(', ')}; as an administrator: ${statements}`);
  }
  for (const role of missing) {
    try {
      await client.query(
        `CREATE ROLE ${role} ${LOGINS[role]} NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS`,
      );
    } catch (error) {
      // A migration of another database of this cluster was faster. The lock belongs to one database.
      if (!['42710', '23505'].includes(sqlStateOf(error) ?? '')) throw error;
    }
  }
}

async function ensureDatabaseGrants(client: ClientBase, ground: Ground, log: (line: string) => void): Promise<void> {
  const database = pg.escapeIdentifier(ground.database);
  const shut = await client.query<{ role: string }>(
    `SELECT role FROM unnest($1::text[]) AS role WHERE NOT has_database_privilege(role, current_database(), 'CONNECT')`,
    [ROLES],
  );
  const statements = [
    ...shut.rows.map(({ role }) => `GRANT CONNECT ON DATABASE ${database} TO ${role};`),
    ...(ground.public_on_database ? [`REVOKE TEMPORARY, CREATE ON DATABASE ${database} FROM PUBLIC;`] : []),
  ];
  if (statements.length > 0 && !ground.grants_on_database) {
    throw refused(`${ground.me} does not own the database; as an administrator: ${statements.join(' ')}`);
  }
  for (const statement of statements) await client.query(statement);
  if (!ground.public_on_public) return;
  const statement = 'REVOKE CREATE ON SCHEMA public FROM PUBLIC;';
  if (ground.grants_on_public) await client.query(statement);
  else log(`the service will refuse to boot until an administrator runs: ${statement}`);
}

async function ensureSchema(client: ClientBase, ground: Ground): Promise<void> {
  if (ground.schema_exists && !ground.owns_schema) throw refused(`${ground.me} does not own the schema taskbridge`);
  if (!ground.schema_exists) {
    if (!ground.may_create_schema) throw refused(`${ground.me} may not create a schema in this database`);
    await client.query('CREATE SCHEMA taskbridge');
  }
  await client.query(`REVOKE ALL ON SCHEMA taskbridge FROM PUBLIC;
    CREATE TABLE IF NOT EXISTS taskbridge.schema_migrations (
      version      integer        PRIMARY KEY,
      name         text           NOT NULL,
      checksum     text           NOT NULL,
      oldest_build integer        NOT NULL,
      applied_at   timestamptz(3) NOT NULL DEFAULT clock_timestamp()
    );
    CREATE TABLE IF NOT EXISTS taskbridge.schema_online_steps (
      version     integer        NOT NULL,
      step        text           NOT NULL,
      position    text,
      finished_at timestamptz(3),
      PRIMARY KEY (version, step)
    );
    GRANT SELECT ON taskbridge.schema_migrations, taskbridge.schema_online_steps TO ${APP_ROLE};`);
}

function refused(text: string): MigrationRefused {
  return new MigrationRefused(`MIGRATION_DATABASE_URL: ${text}`);
}
