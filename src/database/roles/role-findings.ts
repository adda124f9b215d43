import type { ClientBase } from 'pg';

/** One attribute or privilege of the connected role that breaks a rule. */
export interface RoleFinding {
  readonly rule: 'attribute' | 'predefined' | 'owner' | 'admin' | 'excess' | 'missing' | 'default';
  /** The role that has it: the connected one, or one that it is a member of. What PUBLIC has, the connected one has. */
  readonly role: string;
  readonly self: boolean;
  readonly object: string;
  /** An attribute, a privilege, or a setting with its value. */
  readonly what: string;
  /** SQL that takes it away; `$what` stands for the privileges. Null where no single statement does. */
  readonly undo: string | null;
}

/**
 * Reads the catalogue only, and blocks no other session. A membership counts whether its privileges are inherited or come with
 * SET ROLE. A privilege comes from an access list, from ownership or from a predefined role: every access list of the catalogue
 * is read, with what it grants to one of these roles or to PUBLIC, and without what PostgreSQL and its extensions were installed
 * with (pg_init_privs). Superusers are not asked about their privileges, because they have every one.
 */
const FINDINGS = `
WITH me AS (
  SELECT r.* FROM pg_roles r WHERE r.rolname = session_user
), reach AS (
  SELECT r.*, r.oid = me.oid AS self, (
      SELECT format('REVOKE %I FROM ', r.rolname) || string_agg(DISTINCT quote_ident(pg_get_userbyid(m.member)), ', ') FROM pg_auth_members m
      WHERE m.roleid = r.oid AND NOT me.rolsuper AND pg_has_role(me.oid, m.member, 'MEMBER')) AS leave
  FROM pg_roles r, me WHERE r.oid = me.oid OR (NOT me.rolsuper AND pg_has_role(me.oid, r.oid, 'MEMBER'))
), judged AS (
  SELECT * FROM reach WHERE NOT rolsuper
), here AS (
  SELECT d.* FROM pg_database d WHERE d.datname = current_database()
), ours AS (
  SELECT n.*, quote_ident(pg_get_userbyid(n.nspowner)) AS owner FROM pg_namespace n WHERE n.nspname = 'taskbridge'
), relation AS (
  SELECT c.oid, c.relowner, c.relacl, 'taskbridge.' || c.relname AS name, format('%I.%I', 'taskbridge', c.relname) AS target,
    CASE WHEN c.relname = 'events' OR starts_with(c.relname, 'entries_') THEN 'append-only'
      WHEN starts_with(c.relname, 'proj_') THEN 'projection' ELSE 'read-only' END AS nature
  FROM pg_class c JOIN ours ON ours.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
), owned (owner, object, rank) AS (
  SELECT datdba, 'database ' || datname, 1 FROM here
  UNION ALL SELECT nspowner, 'schema ' || nspname, 2 FROM ours
  UNION ALL SELECT relowner, name, 4 FROM relation
  UNION ALL SELECT s.refobjid, pg_describe_object(s.classid, s.objid, 0), 3 FROM pg_shdepend s, here
    WHERE s.refclassid = 'pg_authid'::regclass AND s.deptype = 'o'
      AND (s.dbid = here.oid OR s.dbid = 0 AND s.classid <> 'pg_database'::regclass)
      AND s.classid NOT IN ('pg_default_acl'::regclass, 'pg_user_mapping'::regclass)
      AND NOT EXISTS (SELECT FROM relation r WHERE s.classid = 'pg_class'::regclass AND s.objid = r.oid)
      AND NOT EXISTS (SELECT FROM ours WHERE s.classid = 'pg_namespace'::regclass AND s.objid = ours.oid)
), listed (kind, class, oid, sub, owner, object, target, acl) AS (
  SELECT nature, 'pg_class'::regclass, oid, 0, relowner, name, target, relacl FROM relation
  UNION ALL SELECT r.nature || ' column', 'pg_class'::regclass, r.oid, a.attnum, r.relowner, r.name, r.target, a.attacl
    FROM relation r JOIN pg_attribute a ON a.attrelid = r.oid WHERE a.attacl IS NOT NULL AND NOT a.attisdropped
  UNION ALL SELECT 'foreign relation', 'pg_class'::regclass, c.oid, 0, c.relowner, n.nspname || '.' || c.relname, format('%I.%I', n.nspname, c.relname), c.relacl
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relacl IS NOT NULL AND (n.nspname ~ '^pg_' OR n.nspname = 'taskbridge' AND c.relkind = 'S')
  UNION ALL SELECT 'foreign relation', 'pg_class'::regclass, c.oid, a.attnum, c.relowner, n.nspname || '.' || c.relname, format('%I.%I', n.nspname, c.relname), a.attacl
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE a.attacl IS NOT NULL AND NOT a.attisdropped AND n.nspname ~ '^pg_'
  UNION ALL SELECT 'database', 'pg_database'::regclass, oid, 0, datdba, 'database ' || datname, 'DATABASE ' || quote_ident(datname),
    coalesce(datacl, acldefault('d', datdba)) FROM here
  UNION ALL SELECT 'schema', 'pg_namespace'::regclass, oid, 0, nspowner, 'schema ' || nspname, 'SCHEMA ' || quote_ident(nspname), nspacl
    FROM pg_namespace WHERE nspacl IS NOT NULL AND nspname !~ '^pg_(toast_)?temp_'
  UNION ALL SELECT 'routine', 'pg_proc'::regclass, p.oid, 0, p.proowner, 'routine ' || p.oid::regprocedure,
    'ROUTINE ' || p.oid::regprocedure, p.proacl FROM pg_proc p
    WHERE p.proacl IS NOT NULL AND (p.pronamespace = 'pg_catalog'::regnamespace
      OR EXISTS (SELECT FROM pg_init_privs i WHERE i.classoid = 'pg_proc'::regclass AND i.objoid = p.oid))
  UNION ALL SELECT 'parameter', 'pg_parameter_acl'::regclass, oid, 0, 10::oid, 'parameter ' || parname, 'PARAMETER ' || parname, paracl
    FROM pg_parameter_acl
  UNION ALL SELECT 'server', 'pg_foreign_server'::regclass, oid, 0, srvowner, 'foreign server ' || srvname,
    'FOREIGN SERVER ' || quote_ident(srvname), srvacl FROM pg_foreign_server
  UNION ALL SELECT 'wrapper', 'pg_foreign_data_wrapper'::regclass, oid, 0, fdwowner, 'foreign data wrapper ' || fdwname,
    'FOREIGN DATA WRAPPER ' || quote_ident(fdwname), fdwacl FROM pg_foreign_data_wrapper
  UNION ALL SELECT 'tablespace', 'pg_tablespace'::regclass, oid, 0, spcowner, 'tablespace ' || spcname,
    'TABLESPACE ' || quote_ident(spcname), spcacl FROM pg_tablespace
  UNION ALL SELECT 'large object', 'pg_largeobject'::regclass, oid, 0, lomowner, 'large object ' || oid, 'LARGE OBJECT ' || oid, lomacl
    FROM pg_largeobject_metadata WHERE lomacl IS NOT NULL
), granted AS (
  SELECT j.rolname, j.self, l.*, a.privilege_type AS privilege, a.is_grantable AS grantable,
    CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(j.rolname) END AS grantee
  FROM listed l, LATERAL aclexplode(l.acl) AS a JOIN judged j ON j.oid = a.grantee OR a.grantee = 0 AND j.self
  WHERE a.grantee <> l.owner AND NOT EXISTS (SELECT FROM pg_init_privs i, LATERAL aclexplode(i.initprivs) AS x
    WHERE i.objoid = l.oid AND i.classoid = l.class AND i.objsubid = l.sub
      AND x.grantee = a.grantee AND x.privilege_type = a.privilege_type AND (x.is_grantable OR NOT a.is_grantable))
), excess AS (
  SELECT g.*, CASE WHEN kind = 'append-only' AND privilege = 'INSERT' THEN 'INSERT (created_at)' ELSE privilege END AS what
  FROM granted g WHERE CASE kind
    WHEN 'append-only' THEN privilege <> 'SELECT'
    WHEN 'append-only column' THEN privilege NOT IN ('SELECT', 'INSERT')
    WHEN 'projection' THEN privilege IN ('TRUNCATE', 'TRIGGER', 'REFERENCES', 'MAINTAIN')
    WHEN 'projection column' THEN privilege = 'REFERENCES'
    WHEN 'read-only' THEN privilege <> 'SELECT'
    WHEN 'read-only column' THEN privilege <> 'SELECT'
    WHEN 'database' THEN privilege IN ('CREATE', 'TEMPORARY')
    WHEN 'schema' THEN privilege = 'CREATE'
    ELSE true END
  UNION ALL
  SELECT g.*, 'INSERT (created_at)' FROM granted g JOIN pg_attribute a ON a.attrelid = g.oid AND a.attnum = g.sub
  WHERE kind = 'append-only column' AND privilege = 'INSERT' AND a.attname = 'created_at'
), lacking AS (
  SELECT j.rolname, r.name, p.privilege FROM judged j CROSS JOIN relation r, LATERAL (VALUES
    ('SELECT', has_table_privilege(j.oid, r.oid, 'SELECT'), true),
    ('INSERT', has_any_column_privilege(j.oid, r.oid, 'INSERT'), r.nature <> 'read-only'),
    ('UPDATE', has_any_column_privilege(j.oid, r.oid, 'UPDATE'), r.nature = 'projection'),
    ('DELETE', has_table_privilege(j.oid, r.oid, 'DELETE'), r.nature = 'projection')
  ) AS p (privilege, held, needed) WHERE j.self AND r.relowner <> j.oid AND p.needed AND NOT p.held
), definer AS (
  SELECT p.oid, a.grantee FROM me, ours, pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace,
    LATERAL aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS a
  WHERE p.prosecdef AND p.prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype) AND NOT me.rolsuper
    AND a.grantee IN (SELECT 0::oid UNION SELECT oid FROM judged) AND NOT EXISTS (SELECT FROM reach WHERE reach.oid = p.proowner)
    AND has_schema_privilege(me.oid, n.oid, 'USAGE') AND NOT (n.oid = ours.oid AND p.proowner = ours.nspowner)
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
    AND EXISTS (SELECT FROM relation r WHERE r.nature = 'append-only' AND (has_any_column_privilege(p.proowner, r.oid, 'UPDATE')
      OR has_table_privilege(p.proowner, r.oid, 'DELETE, TRUNCATE, TRIGGER')))
), future AS (
  SELECT j.rolname, j.self, a.*, CASE d.defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' WHEN 'n' THEN 'SCHEMAS'
      WHEN 'f' THEN 'ROUTINES' WHEN 'T' THEN 'TYPES' ELSE 'LARGE OBJECTS' END AS objects, pg_get_userbyid(d.defaclrole) AS maker,
    CASE WHEN d.defaclnamespace = 0 THEN '' ELSE ' IN SCHEMA taskbridge' END AS place
  FROM ours, pg_default_acl d, LATERAL aclexplode(d.defaclacl) AS a JOIN judged j ON j.oid = a.grantee OR a.grantee = 0 AND j.self
  WHERE d.defaclnamespace IN (0, ours.oid) AND pg_has_role(d.defaclrole, ours.nspowner, 'MEMBER') AND a.grantee <> d.defaclrole
    AND (a.is_grantable OR CASE d.defaclobjtype WHEN 'r' THEN a.privilege_type <> 'SELECT' WHEN 'S' THEN a.privilege_type <> 'SELECT'
      WHEN 'n' THEN a.privilege_type = 'CREATE' WHEN 'f' THEN false WHEN 'T' THEN false ELSE true END)
), finding AS (
SELECT 'attribute' AS rule, rolname AS role, self, '' AS object, a.name AS what,
    format('ALTER ROLE %I NO%s', rolname, a.name) AS undo, 0 AS rank
  FROM reach, LATERAL (VALUES ('SUPERUSER', rolsuper), ('BYPASSRLS', rolbypassrls AND NOT rolsuper),
    ('CREATEROLE', rolcreaterole AND NOT rolsuper), ('CREATEDB', rolcreatedb AND NOT rolsuper),
    ('REPLICATION', rolreplication AND NOT rolsuper)) AS a (name, has) WHERE a.has
UNION ALL
SELECT 'predefined', rolname, self, '', '', NULL, 0 FROM judged WHERE starts_with(rolname, 'pg_')
  AND rolname NOT IN ('pg_database_owner', 'pg_monitor', 'pg_read_all_settings', 'pg_read_all_stats', 'pg_stat_scan_tables')
UNION ALL
SELECT 'owner', j.rolname, j.self, o.object, '', CASE WHEN j.oid <> ours.nspowner
    THEN format('REASSIGN OWNED BY %I TO %s', j.rolname, ours.owner) END, o.rank
  FROM judged j JOIN owned o ON o.owner = j.oid LEFT JOIN ours ON true
UNION ALL
SELECT 'admin', j.rolname, j.self, r.rolname, 'ADMIN OPTION', 
    format('REVOKE ADMIN OPTION FOR %I FROM %I', r.rolname, j.rolname)
      || CASE WHEN current_setting('server_version_num')::int >= 160000 AND m.grantor <> 10
        THEN format(' GRANTED BY %I', pg_get_userbyid(m.grantor)) ELSE '' END, 0
  FROM judged j JOIN pg_auth_members m ON m.member = j.oid AND m.admin_option JOIN pg_roles r ON r.oid = m.roleid
UNION ALL
SELECT 'excess', rolname, self, object, what, 'REVOKE $what ON ' || target || ' FROM ' || grantee, 0
  FROM (SELECT DISTINCT rolname, self, object, what, target, grantee FROM excess
    WHERE NOT (what = 'INSERT (created_at)' AND kind = 'append-only')) AS e
UNION ALL
SELECT DISTINCT 'excess', rolname, self, object, what, 'REVOKE INSERT ON ' || target || ' FROM ' || grantee, 0 FROM excess
  WHERE what = 'INSERT (created_at)' AND kind = 'append-only'
UNION ALL
SELECT DISTINCT 'excess', rolname, self, object, privilege || ' WITH GRANT OPTION',
    'REVOKE GRANT OPTION FOR ' || privilege || CASE WHEN sub > 0 THEN (SELECT format(' (%I)', attname) FROM pg_attribute
      WHERE attrelid = granted.oid AND attnum = sub) ELSE '' END || ' ON ' || target || ' FROM ' || grantee, 0
  FROM granted WHERE grantable
UNION ALL
SELECT 'excess', coalesce(j.rolname, me.rolname), j.oid IS NULL OR j.self, 'routine ' || d.oid::regprocedure,
    'EXECUTE (SECURITY DEFINER)', 'REVOKE EXECUTE ON ROUTINE ' || d.oid::regprocedure || ' FROM '
      || coalesce(quote_ident(j.rolname), 'PUBLIC'), 0
  FROM me, definer d LEFT JOIN judged j ON j.oid = d.grantee
UNION ALL
SELECT 'excess', rolname, self, 'future ' || lower(objects) || ' of ' || maker, privilege_type, format(
    'ALTER DEFAULT PRIVILEGES FOR ROLE %I%s REVOKE $what ON %s FROM %s', maker, place, objects,
    CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(rolname) END), 0 FROM future
UNION ALL
SELECT 'missing', rolname, true, name, privilege, NULL, 0 FROM lacking
UNION ALL
SELECT 'missing', j.rolname, self, 'schema taskbridge', 'USAGE', NULL, 0 FROM judged j, ours
  WHERE self AND NOT has_schema_privilege(j.oid, ours.oid, 'USAGE')
UNION ALL
SELECT 'default', me.rolname, true, CASE WHEN s.setrole <> 0 THEN 'ROLE ' || me.rolname
    WHEN s.setdatabase <> 0 THEN 'DATABASE ' || here.datname ELSE 'ROLE ALL' END, setting, NULL, 0
  FROM me, here, pg_db_role_setting s, unnest(s.setconfig) AS setting
  WHERE s.setrole IN (0, me.oid) AND s.setdatabase IN (0, here.oid)
    AND split_part(setting, '=', 1) IN ('synchronous_commit', 'search_path', 'role', 'session_replication_role',
      'zero_damaged_pages', 'ignore_checksum_failure', 'ignore_system_indexes', 'allow_system_table_mods', 'lo_compat_privileges')
)
SELECT rule, role, f.self, object, what, CASE WHEN f.self OR role = 'taskbridge_app' AND rule IN ('admin', 'excess') THEN undo
  ELSE leave END AS undo
FROM finding f LEFT JOIN reach ON reach.rolname = role ORDER BY rule, role, rank, object, what`;

export async function readRoleFindings(client: ClientBase): Promise<readonly RoleFinding[]> {
  return (await client.query<RoleFinding>(FINDINGS)).rows;
}
