import type { ClientBase } from 'pg';

/** One thing that the connected role is, may, or may not, and that is not as it must be. */
export interface RoleFinding {
  readonly rule: 'attribute' | 'predefined' | 'owner' | 'excess' | 'missing' | 'default';
  /** The role that has it: the connected one, or one that it is a member of. */
  readonly role: string;
  readonly self: boolean;
  readonly object: string;
  /** An attribute, a privilege, or a setting with its value. */
  readonly what: string;
}

/**
 * Reads the catalogue only; takes no lock that anybody waits for. A membership counts whether its privileges are inherited
 * or come with SET ROLE. Two roles are not asked about their privileges, because they have every one: superusers, and on
 * an object its owner. Column privileges are in `has_any_column_privilege`, and so are those on the whole table.
 */
const FINDINGS = `
WITH me AS (
  SELECT r.* FROM pg_roles r WHERE r.rolname = session_user
), reach AS (
  SELECT r.*, r.oid = me.oid AS self FROM pg_roles r, me
  WHERE r.oid = me.oid OR (NOT me.rolsuper AND pg_has_role(me.oid, r.oid, 'MEMBER'))
), judged AS (
  SELECT * FROM reach WHERE NOT rolsuper
), here AS (
  SELECT d.* FROM pg_database d WHERE d.datname = current_database()
), ours AS (
  SELECT n.* FROM pg_namespace n WHERE n.nspname = 'taskbridge'
), relation AS (
  SELECT c.oid, c.relowner, 'taskbridge.' || c.relname AS name,
    CASE WHEN c.relname = 'events' OR starts_with(c.relname, 'entries_') THEN 'append-only'
      WHEN starts_with(c.relname, 'proj_') THEN 'projection' ELSE 'read-only' END AS nature
  FROM pg_class c JOIN ours ON ours.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
), owned (owner, object) AS (
  SELECT datdba, 'database ' || datname FROM here
  UNION ALL SELECT nspowner, 'schema ' || nspname FROM ours
  UNION ALL SELECT relowner, name FROM relation
), held AS (
  SELECT j.rolname, j.self, r.name, r.nature, p.privilege, p.held
  FROM judged j JOIN relation r ON r.relowner <> j.oid, LATERAL (VALUES
    ('SELECT', has_table_privilege(j.oid, r.oid, 'SELECT')),
    ('INSERT', has_any_column_privilege(j.oid, r.oid, 'INSERT')),
    ('UPDATE', has_any_column_privilege(j.oid, r.oid, 'UPDATE')),
    ('DELETE', has_table_privilege(j.oid, r.oid, 'DELETE')),
    ('TRUNCATE', has_table_privilege(j.oid, r.oid, 'TRUNCATE')),
    ('TRIGGER', has_table_privilege(j.oid, r.oid, 'TRIGGER')),
    ('REFERENCES', has_any_column_privilege(j.oid, r.oid, 'REFERENCES')),
    ('MAINTAIN', CASE WHEN current_setting('server_version_num')::int >= 170000
      THEN has_table_privilege(j.oid, r.oid, 'MAINTAIN') ELSE false END)
  ) AS p (privilege, held)
)
SELECT 'attribute' AS rule, rolname AS role, self, '' AS object, a.name AS what
  FROM reach, LATERAL (VALUES ('SUPERUSER', rolsuper), ('BYPASSRLS', rolbypassrls AND NOT rolsuper),
    ('CREATEROLE', rolcreaterole AND NOT rolsuper), ('CREATEDB', rolcreatedb AND NOT rolsuper),
    ('REPLICATION', rolreplication AND NOT rolsuper)) AS a (name, has) WHERE a.has
UNION ALL
SELECT 'predefined', rolname, self, '', '' FROM judged WHERE starts_with(rolname, 'pg_')
  AND rolname NOT IN ('pg_database_owner', 'pg_monitor', 'pg_read_all_settings', 'pg_read_all_stats', 'pg_stat_scan_tables')
UNION ALL
SELECT 'owner', j.rolname, j.self, o.object, '' FROM judged j JOIN owned o ON o.owner = j.oid
UNION ALL
SELECT 'excess', rolname, self, name, privilege FROM held WHERE held AND CASE nature
  WHEN 'append-only' THEN privilege NOT IN ('SELECT', 'INSERT')
  WHEN 'projection' THEN privilege IN ('TRIGGER', 'REFERENCES', 'MAINTAIN')
  ELSE privilege <> 'SELECT' END
UNION ALL
SELECT 'excess', j.rolname, j.self, r.name, 'INSERT (created_at)'
  FROM judged j JOIN relation r ON r.relowner <> j.oid AND r.nature = 'append-only'
  JOIN pg_attribute a ON a.attrelid = r.oid AND a.attname = 'created_at' AND NOT a.attisdropped
  WHERE has_column_privilege(j.oid, r.oid, a.attnum, 'INSERT')
UNION ALL
SELECT 'excess', j.rolname, j.self, 'schema ' || n.nspname, 'CREATE' FROM judged j JOIN pg_namespace n
  ON n.nspowner <> j.oid AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  WHERE has_schema_privilege(j.oid, n.oid, 'CREATE')
UNION ALL
SELECT 'excess', j.rolname, j.self, 'database ' || here.datname, p.privilege
  FROM judged j JOIN here ON here.datdba <> j.oid, LATERAL (VALUES ('CREATE'), ('TEMPORARY')) AS p (privilege)
  WHERE has_database_privilege(j.oid, here.oid, p.privilege)
UNION ALL
SELECT 'missing', rolname, self, name, privilege FROM held WHERE self AND NOT held AND (privilege = 'SELECT'
  OR (privilege = 'INSERT' AND nature <> 'read-only') OR (privilege IN ('UPDATE', 'DELETE') AND nature = 'projection'))
UNION ALL
SELECT 'missing', j.rolname, self, 'schema taskbridge', 'USAGE' FROM judged j, ours
  WHERE self AND NOT has_schema_privilege(j.oid, ours.oid, 'USAGE')
UNION ALL
SELECT 'default', me.rolname, true, CASE WHEN s.setrole <> 0 THEN 'ROLE ' || me.rolname
    WHEN s.setdatabase <> 0 THEN 'DATABASE ' || here.datname ELSE 'ROLE ALL' END, setting
  FROM me, here, pg_db_role_setting s, unnest(s.setconfig) AS setting
  WHERE s.setrole IN (0, me.oid) AND s.setdatabase IN (0, here.oid)
    AND split_part(setting, '=', 1) IN ('synchronous_commit', 'search_path', 'role', 'session_replication_role')
ORDER BY 1, 2, 4, 5`;

export async function readRoleFindings(client: ClientBase): Promise<readonly RoleFinding[]> {
  return (await client.query<RoleFinding>(FINDINGS)).rows;
}
