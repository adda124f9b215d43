import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import pg from 'pg';
import { connectionOptions } from '../../src/database/session-settings.js';
import { judgeRole } from '../../src/database/roles/role-check.js';
import { withAppRole } from '../support/app-roles.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';

interface Table {
  readonly name: string;
  readonly columns: readonly string[];
  /** Columns of the primary key. */
  readonly key: readonly string[];
}

let database: TestDatabase;
let superuser: pg.Client;
let app: pg.Client;
let appendOnly: readonly Table[];

beforeAll(async () => {
  database = await createTestDatabase();
  superuser = await connect(database.superuserUrl);
  app = new pg.Client(connectionOptions(database.appUrl));
  await app.connect();
  appendOnly = await readTables("relname = 'events' OR relname LIKE 'entries\\_%'");
});

afterAll(async () => {
  await Promise.all([superuser.end(), app.end()]);
  await database.drop();
});

async function connect(connectionString: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString });
  await client.connect();
  return client;
}

async function rows<Row extends object>(text: string): Promise<readonly Row[]> {
  return (await superuser.query<Row>(text)).rows;
}

function readTables(condition: string): Promise<readonly Table[]> {
  return rows<Table>(`
    SELECT c.oid::regclass::text AS name,
      (SELECT array_agg(attname::text ORDER BY attnum) FROM pg_attribute
        WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped) AS columns,
      (SELECT array_agg(a.attname::text) FROM pg_index i JOIN pg_attribute a ON a.attrelid = c.oid
        AND a.attnum = ANY (i.indkey) WHERE i.indrelid = c.oid AND i.indisprimary) AS key
    FROM pg_class c WHERE c.relnamespace = 'taskbridge'::regnamespace AND c.relkind IN ('r', 'p') AND (${condition})
    ORDER BY 1`);
}

/** The SQLSTATE, or 'done'. */
async function outcome(statement: string): Promise<string> {
  await app.query('BEGIN');
  try {
    await app.query(statement);
    return 'done';
  } catch (error) {
    return (error as pg.DatabaseError).code ?? 'no SQLSTATE';
  } finally {
    await app.query('ROLLBACK');
  }
}

const INSUFFICIENT_PRIVILEGE = '42501';

async function expectRefused(statements: readonly string[]): Promise<void> {
  for (const statement of statements) {
    expect({ statement, outcome: await outcome(statement) }).toEqual({ statement, outcome: INSUFFICIENT_PRIVILEGE });
  }
}

describe('on every append-only table the app role', () => {
  const forEachTable = async (statements: (table: Table, column: string) => readonly string[]) => {
    expect(appendOnly.map(({ name }) => name)).toContain('taskbridge.events');
    for (const table of appendOnly) await expectRefused(statements(table, table.columns[0] ?? ''));
  };

  it('changes nothing', () =>
    forEachTable(({ name, columns }) => columns.map((column) => `UPDATE ${name} SET ${column} = ${column}`)));

  it('changes nothing by way of an upsert or a merge', () =>
    forEachTable(({ name, columns, key }, column) => {
      const insertable = columns.filter((each) => each !== 'created_at').join(', ');
      return [
        `INSERT INTO ${name} (${insertable}) SELECT ${insertable} FROM ${name}
          ON CONFLICT (${key.join(', ')}) DO UPDATE SET ${column} = excluded.${column}`,
        `MERGE INTO ${name} t USING ${name} s ON t.${column} = s.${column} WHEN MATCHED THEN DELETE`,
      ];
    }));

  it('removes nothing', () =>
    forEachTable(({ name }) => [`DELETE FROM ${name}`, `TRUNCATE ${name}`, `TRUNCATE ${name} CASCADE`]));

  it('locks no row and no table against others', () =>
    forEachTable(({ name }) => [
      ...['UPDATE', 'NO KEY UPDATE', 'SHARE', 'KEY SHARE'].map((strength) => `SELECT FROM ${name} FOR ${strength}`),
      `LOCK TABLE ${name} IN ACCESS EXCLUSIVE MODE`,
      `LOCK TABLE ${name} IN SHARE MODE`,
    ]));

  it('forges no time', () =>
    forEachTable(({ name }) => [
      `INSERT INTO ${name} (created_at) VALUES (now())`,
      `INSERT INTO ${name} SELECT * FROM ${name}`,
      `COPY ${name} FROM STDIN`,
    ]));

  it('grants itself nothing', () =>
    forEachTable(({ name }, column) => [
      `GRANT UPDATE ON ${name} TO taskbridge_app; UPDATE ${name} SET ${column} = ${column}`,
    ]));

  it('defines nothing', () =>
    forEachTable(({ name }, column) => [
      `ALTER TABLE ${name} ADD COLUMN extra int`,
      `ALTER TABLE ${name} ALTER COLUMN ${column} DROP DEFAULT`,
      `ALTER TABLE ${name} DISABLE TRIGGER ALL`,
      `DROP TABLE ${name}`,
      `CREATE INDEX ON ${name} (${column})`,
      `CREATE RULE hide AS ON INSERT TO ${name} DO INSTEAD NOTHING`,
      `CREATE TRIGGER hide BEFORE INSERT ON ${name} FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()`,
    ]));
});

describe('the app role', () => {
  it('appends an event, whose time is the database clock', async () => {
    await app.query('BEGIN');
    const { rows: inserted } = await app.query<{ fresh: boolean }>(
      `INSERT INTO events (task_id, event_id, type, payload, correlation_id, principal_id)
        VALUES (gen_random_uuid(), 1, 'TASK_ACCEPTED', '{}', gen_random_uuid(), 'somebody')
        RETURNING abs(extract(epoch FROM clock_timestamp() - created_at)) < 5 AS fresh`,
    );
    await app.query('ROLLBACK');
    expect(inserted).toEqual([{ fresh: true }]);
  });

  it('makes no table, temporary or not, that could stand before ours', () =>
    expectRefused([
      'CREATE TEMP TABLE events (task_id uuid)',
      'CREATE TEMP VIEW events AS SELECT 1',
      'CREATE TABLE public.events (task_id uuid)',
      'CREATE TABLE taskbridge.entries_new (task_id uuid)',
      'CREATE SCHEMA mine',
      'CREATE FUNCTION taskbridge.f() RETURNS int LANGUAGE sql AS $$ SELECT 1 $$',
      'DROP SCHEMA taskbridge CASCADE',
      'ALTER SCHEMA taskbridge OWNER TO taskbridge_app',
    ]));

  it('becomes nobody else', () =>
    expectRefused([
      'SET ROLE taskbridge_owner',
      'SET ROLE postgres',
      'SET SESSION AUTHORIZATION taskbridge_owner',
      'CREATE ROLE helper LOGIN',
      'GRANT taskbridge_owner TO taskbridge_app',
      'ALTER ROLE taskbridge_app SUPERUSER',
      "SET session_replication_role = 'replica'",
    ]));

  it('records no migration', () =>
    expectRefused([
      `INSERT INTO schema_migrations (version, name, checksum, oldest_build) VALUES (99, '', '', 99)`,
      'UPDATE schema_migrations SET oldest_build = 1',
      'DELETE FROM schema_migrations',
    ]));

  it('is judged fit to serve', async () => {
    expect(await judgeRole(app)).toEqual([]);
  });
});

/** Everything that belongs to a task, and the audit of operators, which the retention removes by age. */
const REMOVED_WITH_A_TASK =
  /\.(events|entries_\w+|proj_(tasks|suspensions|attachments|task_tags|revoked_tokens|engine_runs|webhook_outbox|bulk_run_tasks))$/;

describe('the catalogue', () => {
  it('grants the app and the retention role on each table what its kind allows, and nobody else anything', async () => {
    const tables = await readTables('true');
    const granted = await rows<{ name: string; grantee: string; privileges: string[] }>(`
      SELECT c.oid::regclass::text AS name, coalesce(r.rolname, 'PUBLIC') AS grantee,
        array_agg(a.privilege_type || coalesce(' ' || a.attname, '') || CASE WHEN a.is_grantable THEN ' *' ELSE '' END)
          AS privileges
      FROM pg_class c, LATERAL (
        SELECT NULL AS attname, * FROM aclexplode(c.relacl)
        UNION ALL SELECT attname, x.* FROM pg_attribute, aclexplode(attacl) AS x WHERE attrelid = c.oid
      ) AS a LEFT JOIN pg_roles r ON r.oid = a.grantee
      WHERE c.relnamespace = 'taskbridge'::regnamespace AND a.grantee <> c.relowner GROUP BY 1, 2`);
    const expected = tables.flatMap(({ name, columns }) => [
      { name, grantee: 'taskbridge_app', privileges: expectedPrivileges(name, columns).sort() },
      ...(REMOVED_WITH_A_TASK.test(name)
        ? [{ name, grantee: 'taskbridge_retention', privileges: ['DELETE', 'SELECT'] }]
        : []),
    ]);
    const byNameAndGrantee = (a: { name: string; grantee: string }, b: { name: string; grantee: string }) =>
      `${a.name} ${a.grantee}`.localeCompare(`${b.name} ${b.grantee}`);
    const sorted = granted.map((each) => ({ ...each, privileges: [...each.privileges].sort() }));
    expect(sorted.sort(byNameAndGrantee)).toEqual(expected.sort(byNameAndGrantee));
  });

  it('has one owner, who is neither the app role nor a superuser', async () => {
    const owners = await rows(`
      SELECT DISTINCT r.rolname, r.rolsuper FROM pg_roles r WHERE r.oid IN (
        SELECT relowner FROM pg_class WHERE relnamespace = 'taskbridge'::regnamespace
        UNION SELECT nspowner FROM pg_namespace WHERE nspname = 'taskbridge')`);
    expect(owners).toEqual([{ rolname: 'taskbridge_owner', rolsuper: false }]);
  });

  it('has nothing for PUBLIC, not a function either, and no default privileges', async () => {
    const [found] = await rows(`
      SELECT (SELECT count(*)::int FROM pg_default_acl) AS defaults,
        (SELECT array_agg(p.proname || ' for ' || a.grantee::regrole ORDER BY p.proname)
          FROM pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
          WHERE p.pronamespace = 'taskbridge'::regnamespace AND a.grantee <> p.proowner) AS functions,
        (SELECT count(*)::int FROM pg_namespace n, aclexplode(n.nspacl) a
          WHERE n.nspname = 'taskbridge' AND a.grantee = 0) AS public_on_schema,
        (SELECT array_agg(a.privilege_type) FROM pg_database d, aclexplode(d.datacl) a
          WHERE d.datname = current_database() AND a.grantee = 0) AS public_on_database`);
    expect(found).toEqual({
      defaults: 0,
      functions: [
        'create_task for taskbridge_creator',
        ...[
          ...['epoch', 'erase_tasks', 'first_in_line', 'let_go', 'let_held_go', 'limits_of', 'line_within_limits'],
          'make_task_tags',
        ].map((name) => `${name} for taskbridge_app`),
        'note_retention for taskbridge_retention',
        ...['stamp_buckets', 'tags_in', 'use_of'].map((name) => `${name} for taskbridge_app`),
      ],
      public_on_schema: 0,
      public_on_database: ['CONNECT'],
    });
  });
});

function expectedPrivileges(name: string, columns: readonly string[]): string[] {
  if (/\.(events|entries_.*)$/.test(name)) {
    return ['SELECT', ...columns.filter((column) => column !== 'created_at').map((column) => `INSERT ${column}`)];
  }
  return /\.proj_/.test(name) ? ['SELECT', 'INSERT', 'UPDATE', 'DELETE'] : ['SELECT'];
}

describe('a role is refused that', () => {
  function violationsOf(statements: readonly string[], parameters = ''): Promise<readonly string[]> {
    return withAppRole(database, statements, async ({ url, plain }) => {
      const client = new pg.Client(connectionOptions(url + parameters));
      await client.connect();
      const violations = await judgeRole(client).finally(() => client.end());
      return violations.map(({ message }) => plain(message));
    });
  }

  /** `what` is a privilege on an object; the line ends with the statement that takes it away. */
  const has = (what: string, revoked?: string) => {
    const [privilege = '', object = ''] = what.split(' on ');
    const target = object.replace(/^(schema|database)/, (kind) => kind.toUpperCase());
    return [
      `DATABASE_URL: the connected role $role has ${what}: REVOKE ${revoked ?? `${privilege} ON ${target}`} FROM $role`,
    ];
  };
  const isA = (what: string) => [`DATABASE_URL: the connected role $role is ${what}: ALTER ROLE $role NO${what}`];
  const memberOf = (what: string) => [
    `DATABASE_URL: the connected role is a member of ${what}: REVOKE ${what.split(',', 1)[0]} FROM $role`,
  ];
  const ownsAll =
    /owns database \$db, schema taskbridge, .*taskbridge.events, .*taskbridge.schema_migrations, taskbridge.schema_online_steps(: REVOKE taskbridge_owner FROM \$\w+)?$/;

  it.each<[string, string[], string[]]>([
    ['is a superuser', ['ALTER ROLE $role SUPERUSER'], isA('SUPERUSER')],
    ['passes by row security', ['ALTER ROLE $role BYPASSRLS'], isA('BYPASSRLS')],
    ['makes roles', ['ALTER ROLE $role CREATEROLE'], isA('CREATEROLE')],
    ['makes databases', ['ALTER ROLE $role CREATEDB'], isA('CREATEDB')],
    ['replicates', ['ALTER ROLE $role REPLICATION'], isA('REPLICATION')],
    [
      'owns a table',
      ['CREATE TABLE taskbridge.proj_x ()', 'ALTER TABLE taskbridge.proj_x OWNER TO $role'],
      ['DATABASE_URL: the connected role $role owns taskbridge.proj_x: REASSIGN OWNED BY $role TO taskbridge_owner'],
    ],
    [
      'may become a superuser',
      ['ALTER ROLE $other SUPERUSER', 'GRANT $other TO $role'],
      memberOf('$other, which is SUPERUSER'),
    ],
    ['writes through a predefined role', ['GRANT pg_write_server_files TO $role'], memberOf('pg_write_server_files')],
    ['updates events', ['GRANT UPDATE ON taskbridge.events TO $role'], has('UPDATE on taskbridge.events')],
    [
      'updates one column of events',
      ['GRANT UPDATE (payload) ON taskbridge.events TO $role'],
      has('UPDATE on taskbridge.events'),
    ],
    [
      'deletes and truncates events',
      ['GRANT DELETE, TRUNCATE ON taskbridge.events TO $role'],
      has('DELETE, TRUNCATE on taskbridge.events'),
    ],
    ['hangs triggers on events', ['GRANT TRIGGER ON taskbridge.events TO $role'], has('TRIGGER on taskbridge.events')],
    [
      'refers to events',
      ['GRANT REFERENCES (task_id) ON taskbridge.events TO $role'],
      has('REFERENCES on taskbridge.events'),
    ],
    [
      'sets the time of events',
      ['GRANT INSERT (created_at) ON taskbridge.events TO $role'],
      has('INSERT (created_at) on taskbridge.events'),
    ],
    [
      'inserts whole rows of events',
      ['GRANT INSERT ON taskbridge.events TO $role'],
      has('INSERT (created_at) on taskbridge.events', 'INSERT ON taskbridge.events'),
    ],
    [
      'records migrations',
      ['GRANT INSERT ON taskbridge.schema_migrations TO $role'],
      has('INSERT on taskbridge.schema_migrations'),
    ],
    ['makes tables beside ours', ['GRANT CREATE ON SCHEMA taskbridge TO $role'], has('CREATE on schema taskbridge')],
    ['makes tables in public', ['GRANT CREATE ON SCHEMA public TO $role'], has('CREATE on schema public')],
    ['makes schemas', ['GRANT CREATE ON DATABASE $db TO $role'], has('CREATE on database $db')],
    ['makes temporary tables', ['GRANT TEMPORARY ON DATABASE $db TO $role'], has('TEMPORARY on database $db')],
    [
      'gets UPDATE by SET ROLE',
      ['ALTER ROLE $role NOINHERIT', 'GRANT UPDATE ON taskbridge.events TO $other', 'GRANT $other TO $role'],
      memberOf('$other, which has UPDATE on taskbridge.events'),
    ],
  ])('%s', async (_what, statements, lines) => {
    const violations = await violationsOf(statements);
    expect(violations.filter((line) => !line.includes(' lacks '))).toEqual(lines);
  });

  /**
   * Further privileges of PostgreSQL: the line without its beginning, the statement that removes the object, and the first
   * version that has it.
   */
  const GRANTS: readonly (readonly [grant: string, line: string, cleanup?: string | undefined, since?: number])[] = [
    ...['SET', 'ALTER SYSTEM'].flatMap((privilege) =>
      ['session_replication_role', 'fsync', 'log_statement'].map(
        (name) =>
          [
            `GRANT ${privilege} ON PARAMETER ${name} TO $role`,
            `$role has ${privilege} on parameter ${name}: REVOKE ${privilege} ON PARAMETER ${name} FROM $role`,
          ] as const,
      ),
    ),
    [
      'GRANT SET ON PARAMETER fsync TO $other; GRANT $other TO $role',
      'is a member of $other, which has SET on parameter fsync: REVOKE $other FROM $role',
    ],
    [
      'GRANT $other TO $role WITH ADMIN OPTION',
      '$role has ADMIN OPTION for the role $other: REVOKE ADMIN OPTION FOR $other FROM $role',
    ],
    [
      'GRANT $other TO $role; GRANT taskbridge_app TO $other WITH ADMIN OPTION',
      'is a member of $other, which has ADMIN OPTION for the role taskbridge_app: REVOKE $other FROM $role',
    ],
    ...(
      [
        ['pg_read_all_data', 15],
        ['pg_write_all_data', 15],
        ['pg_read_server_files', 15],
        ['pg_execute_server_program', 15],
        ['pg_signal_backend', 15],
        ['pg_checkpoint', 15],
        ['pg_create_subscription', 16],
        ['pg_use_reserved_connections', 16],
        ['pg_maintain', 17],
        ['pg_signal_autovacuum_worker', 18],
      ] as const
    ).map(
      ([role, since]) =>
        [`GRANT ${role} TO $role`, `is a member of ${role}: REVOKE ${role} FROM $role`, undefined, since] as const,
    ),
    [
      'ALTER ROLE $other NOINHERIT; GRANT pg_read_all_data TO $other; GRANT $other TO $role',
      'is a member of pg_read_all_data: REVOKE pg_read_all_data FROM $other',
    ],
    [
      'SELECT lo_create(4711); GRANT UPDATE ON LARGE OBJECT 4711 TO $role',
      '$role has UPDATE on large object 4711: REVOKE UPDATE ON LARGE OBJECT 4711 FROM $role',
      'SELECT lo_unlink(4711)',
    ],
    [
      'SELECT lo_create(4712); GRANT SELECT ON LARGE OBJECT 4712 TO PUBLIC',
      '$role has SELECT on large object 4712: REVOKE SELECT ON LARGE OBJECT 4712 FROM PUBLIC',
      'SELECT lo_unlink(4712)',
    ],
    [
      'SELECT lo_create(4713); ALTER LARGE OBJECT 4713 OWNER TO $role',
      '$role owns large object 4713: REASSIGN OWNED BY $role TO taskbridge_owner',
      'SELECT lo_unlink(4713)',
    ],
    [
      'GRANT UPDATE ON pg_catalog.pg_largeobject TO $role',
      '$role has UPDATE on pg_catalog.pg_largeobject: REVOKE UPDATE ON pg_catalog.pg_largeobject FROM $role',
    ],
    [
      'GRANT SELECT (rolpassword) ON pg_catalog.pg_authid TO $role',
      '$role has SELECT on pg_catalog.pg_authid: REVOKE SELECT ON pg_catalog.pg_authid FROM $role',
    ],
    [
      'GRANT EXECUTE ON FUNCTION pg_read_file(text) TO $role',
      '$role has EXECUTE on routine pg_read_file(text): REVOKE EXECUTE ON ROUTINE pg_read_file(text) FROM $role',
    ],
    [
      'GRANT EXECUTE ON FUNCTION pg_reload_conf() TO PUBLIC',
      '$role has EXECUTE on routine pg_reload_conf(): REVOKE EXECUTE ON ROUTINE pg_reload_conf() FROM PUBLIC',
    ],
    [
      `CREATE FUNCTION public.wipe() RETURNS void LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'`,
      '$role has EXECUTE (SECURITY DEFINER) on routine public.wipe(): REVOKE EXECUTE ON ROUTINE public.wipe() FROM PUBLIC',
      'DROP FUNCTION public.wipe',
    ],
    [
      `CREATE FUNCTION public.wipe() RETURNS void LANGUAGE sql SECURITY DEFINER AS 'SELECT 1';
        ALTER FUNCTION public.wipe() OWNER TO taskbridge_retention; REVOKE ALL ON FUNCTION public.wipe() FROM PUBLIC;
        GRANT EXECUTE ON FUNCTION public.wipe() TO $role`,
      '$role has EXECUTE (SECURITY DEFINER) on routine public.wipe(): REVOKE EXECUTE ON ROUTINE public.wipe() FROM $role',
      'DROP FUNCTION public.wipe',
    ],
    [
      'GRANT CREATE ON SCHEMA pg_catalog TO $role',
      '$role has CREATE on schema pg_catalog: REVOKE CREATE ON SCHEMA pg_catalog FROM $role',
    ],
    [
      'CREATE SCHEMA mine AUTHORIZATION $role',
      '$role owns schema mine: REASSIGN OWNED BY $role TO taskbridge_owner',
      'DROP SCHEMA mine',
    ],
    [
      "CREATE TYPE public.kind AS ENUM ('a'); ALTER TYPE public.kind OWNER TO $role",
      '$role owns type public.kind: REASSIGN OWNED BY $role TO taskbridge_owner',
      'DROP TYPE public.kind',
    ],
    [
      'CREATE PUBLICATION p; ALTER PUBLICATION p OWNER TO $role',
      '$role owns publication p: REASSIGN OWNED BY $role TO taskbridge_owner',
      'DROP PUBLICATION p',
    ],
    [
      'CREATE FOREIGN DATA WRAPPER w; GRANT USAGE ON FOREIGN DATA WRAPPER w TO $role',
      '$role has USAGE on foreign data wrapper w: REVOKE USAGE ON FOREIGN DATA WRAPPER w FROM $role',
      'DROP FOREIGN DATA WRAPPER w',
    ],
    [
      'CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w; GRANT USAGE ON FOREIGN SERVER s TO $role',
      '$role has USAGE on foreign server s: REVOKE USAGE ON FOREIGN SERVER s FROM $role',
      'DROP FOREIGN DATA WRAPPER w CASCADE',
    ],
    [
      'GRANT CREATE ON TABLESPACE pg_default TO $role',
      '$role has CREATE on tablespace pg_default: REVOKE CREATE ON TABLESPACE pg_default FROM $role',
    ],
    [
      'CREATE SEQUENCE taskbridge.s; GRANT UPDATE ON SEQUENCE taskbridge.s TO $role',
      '$role has UPDATE on taskbridge.s: REVOKE UPDATE ON taskbridge.s FROM $role',
      'DROP SEQUENCE taskbridge.s',
    ],
    [
      'ALTER DEFAULT PRIVILEGES FOR ROLE taskbridge_owner IN SCHEMA taskbridge GRANT UPDATE, DELETE ON TABLES TO $role',
      `$role has DELETE, UPDATE on future tables of taskbridge_owner: ALTER DEFAULT PRIVILEGES FOR ROLE taskbridge_owner IN SCHEMA taskbridge REVOKE DELETE, UPDATE ON TABLES FROM $role`,
    ],
    [
      'GRANT SELECT ON taskbridge.events TO $role WITH GRANT OPTION',
      '$role has SELECT WITH GRANT OPTION on taskbridge.events: REVOKE GRANT OPTION FOR SELECT ON taskbridge.events FROM $role',
    ],
    [
      'GRANT INSERT (type) ON taskbridge.events TO $role WITH GRANT OPTION',
      '$role has INSERT WITH GRANT OPTION on taskbridge.events: REVOKE GRANT OPTION FOR INSERT (type) ON taskbridge.events FROM $role',
    ],
    [
      'GRANT MAINTAIN ON taskbridge.events TO $role',
      '$role has MAINTAIN on taskbridge.events: REVOKE MAINTAIN ON taskbridge.events FROM $role',
      undefined,
      17,
    ],
    [
      'GRANT TRUNCATE ON taskbridge.proj_tasks TO $role',
      '$role has TRUNCATE on taskbridge.proj_tasks: REVOKE TRUNCATE ON taskbridge.proj_tasks FROM $role',
    ],
    [
      'GRANT UPDATE ON taskbridge.events TO PUBLIC',
      '$role has UPDATE on taskbridge.events: REVOKE UPDATE ON taskbridge.events FROM PUBLIC',
    ],
  ];

  const given = GRANTS.map(([grant, line, cleanup, since = 15]) => ({ grant, line, cleanup, since }));

  it.each(given)(
    'was given something by $grant, and not once its line was run',
    async ({ grant, line, cleanup, since }) => {
      const [server] = await rows<{ version: number }>(
        "SELECT current_setting('server_version_num')::int / 10000 AS version",
      );
      if ((server?.version ?? 0) < since) {
        await expect(violationsOf([grant])).rejects.toThrow(/does not exist|unrecognized privilege/);
        return;
      }
      try {
        await withAppRole(database, [grant], async ({ url, plain }) => {
          const judged = async () => {
            const client = new pg.Client(connectionOptions(url));
            await client.connect();
            return (await judgeRole(client).finally(() => client.end())).map(({ message }) => message);
          };
          const lines = await judged();
          expect(lines.map(plain)).toEqual([`DATABASE_URL: the connected role ${line}`]);
          await superuser.query(lines[0]?.split(': ').at(-1) ?? '');
          expect(await judged()).toEqual([]);
        });
      } finally {
        if (cleanup !== undefined) await superuser.query(cleanup);
      }
    },
  );

  it('is the owner, in one line for all it owns', async () => {
    const client = await connect(database.ownerUrl);
    const violations = await judgeRole(client).finally(() => client.end());
    expect(violations.map(({ message }) => message.replaceAll(/test_\w+/g, '$db'))).toEqual(
      expect.arrayContaining([expect.stringMatching(ownsAll)]),
    );
    expect(violations.map(({ rule }) => rule)).toEqual(expect.arrayContaining(['owner', 'createrole']));
  });

  it.each([
    ['is a member of the owner', ['GRANT taskbridge_owner TO $role']],
    ['is a member of a member of the owner', ['GRANT taskbridge_owner TO $other', 'GRANT $other TO $role']],
    ['may only become the owner', ['ALTER ROLE $role NOINHERIT', 'GRANT taskbridge_owner TO $role']],
  ])('%s', async (_what, statements) => {
    expect(await violationsOf(statements)).toContainEqual(expect.stringMatching(ownsAll));
  });

  it('lacks what serving needs, table by table', async () => {
    const violations = await violationsOf(['REVOKE taskbridge_app FROM $role']);
    expect(violations).toEqual(
      expect.arrayContaining([
        'DATABASE_URL: the connected role $role lacks USAGE on schema taskbridge',
        'DATABASE_URL: the connected role $role lacks INSERT, SELECT on taskbridge.events',
        'DATABASE_URL: the connected role $role lacks DELETE, INSERT, SELECT, UPDATE on taskbridge.proj_tasks',
        'DATABASE_URL: the connected role $role lacks SELECT on taskbridge.schema_migrations',
      ]),
    );
  });

  it('meets a new table whose grants were forgotten', async () => {
    await superuser.query('CREATE TABLE taskbridge.entries_new (created_at timestamptz)');
    const violations = await violationsOf([]).finally(() => superuser.query('DROP TABLE taskbridge.entries_new'));
    expect(violations).toEqual([
      'DATABASE_URL: the connected role $role lacks INSERT, SELECT on taskbridge.entries_new',
    ]);
  });

  it.each([
    ['ALTER ROLE $role SET synchronous_commit = off', 'ALTER ROLE $role SET synchronous_commit'],
    ['ALTER ROLE $role IN DATABASE $db SET synchronous_commit = local', 'ALTER ROLE $role SET synchronous_commit'],
    ['ALTER DATABASE $db SET synchronous_commit = off', 'ALTER DATABASE $db SET synchronous_commit'],
    ['ALTER ROLE $role SET search_path = pg_temp, evil', 'ALTER ROLE $role SET search_path'],
    ['ALTER ROLE $role SET session_replication_role = replica', 'ALTER ROLE $role SET session_replication_role'],
    ['ALTER ROLE $role SET zero_damaged_pages = on', 'ALTER ROLE $role SET zero_damaged_pages'],
    ['ALTER ROLE $role SET lo_compat_privileges = true', 'ALTER ROLE $role SET lo_compat_privileges'],
  ])('runs under %s', async (statement, what) => {
    expect(await violationsOf([statement])).toEqual([`DATABASE_URL: ${what} is in force: RESET it`]);
  });

  it.each(['synchronous_commit = on', 'search_path = taskbridge', 'statement_timeout = 1000'])(
    'is not one under ALTER ROLE … SET %s',
    async (setting) => {
      expect(await violationsOf([`ALTER ROLE $role SET ${setting}`])).toEqual([]);
    },
  );

  it('works as another role than it logged in as', async () => {
    expect(await violationsOf([], '&options=-c%20role%3Dtaskbridge_app')).toEqual([
      'DATABASE_URL: the session runs as another role than the one that logged in',
    ]);
  });

  it('asks for its own search_path or commit level in vain: the pinned ones win', async () => {
    expect(await violationsOf([], '&options=-c%20search_path%3Dpublic%20-c%20synchronous_commit%3Doff')).toEqual([]);
  });

  it('reaches PostgreSQL by a way that drops what the service asks for', async () => {
    const client = await connect(database.appUrl);
    await client.query('SET synchronous_commit = local; SET default_transaction_read_only = on');
    expect((await judgeRole(client).finally(() => client.end())).map(({ rule }) => rule)).toEqual([
      'synchronous_commit',
      'search_path',
      'read_only',
    ]);
  });
});
