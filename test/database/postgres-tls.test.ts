import { execFile } from 'node:child_process';
import { chmod } from 'node:fs/promises';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { connectWithin } from '../../src/database/connect-within.js';
import { connectionOptions } from '../../src/database/session-settings.js';
import { migrate } from '../../src/database/migrations/apply-migrations.js';
import { createPool } from '../../src/database/pool.js';
import { type Certificates, makeCertificates, type Pair } from '../support/certificates.js';
import { debianProgram, type Program } from '../support/debian.js';
import { type NetworkPostgres, startNetworkPostgres } from '../support/network-postgres.js';
import { eventually, startService, temporaryDirectory } from '../support/service.js';

const PSQL = {
  name: 'psql-15',
  variable: 'TEST_PSQL',
  packages: ['postgresql-client-15'],
  path: 'usr/lib/postgresql/15/bin/psql',
};
const PASSWORD = 'right-and-not-to-be-told';

let certificates: Certificates;
let clients: Readonly<Record<'with_cert' | 'another', Pair>>;
let postgres: NetworkPostgres;
let psql: Program;
let home: string;

beforeAll(async () => {
  home = await temporaryDirectory();
  certificates = await makeCertificates(home);
  clients = { with_cert: await certificates.client('with_cert'), another: await certificates.client('another') };
  // libpq wants it so.
  for (const { key } of Object.values(clients)) await chmod(key, 0o600);
  psql = await debianProgram(PSQL);
  postgres = await startNetworkPostgres([
    'hostssl all only_tls all trust',
    'hostnossl all only_clear all trust',
    'hostssl all with_cert all cert',
    'host all with_password all scram-sha-256',
    'host all taskbridge_app all trust',
    'host all taskbridge_owner all trust',
    'host all taskbridge_retention all trust',
  ]);
  await postgres.asSuperuser(
    'postgres',
    'CREATE ROLE taskbridge_owner LOGIN CREATEROLE',
    'CREATE DATABASE taskbridge OWNER taskbridge_owner',
    ...['only_tls', 'only_clear', 'with_cert'].map((role) => `CREATE ROLE ${role} LOGIN`),
    `CREATE ROLE with_password LOGIN PASSWORD '${PASSWORD}'`,
  );
  await migrate(postgres.socketUrl('taskbridge_owner', 'taskbridge'));
}, 120_000);

afterAll(() => postgres.stop());

/** `$ca` and the like stand for files. */
function urlOf(role: string, parameters: string, host = 'localhost'): string {
  const files: Record<string, string> = {
    $ca: certificates.ca,
    $otherCa: certificates.otherCa,
    $selfSigned: certificates.selfSigned.cert,
    $cert: clients.with_cert.cert,
    $key: clients.with_cert.key,
    $anotherCert: clients.another.cert,
    $anotherKey: clients.another.key,
    $nothing: `${home}/nothing-here`,
  };
  const filled = parameters.replaceAll(/\$\w+/g, (name) => encodeURIComponent(files[name] ?? name));
  return `postgresql://${role}@${host}:${postgres.port}/taskbridge${filled === '' ? '' : `?${filled}`}`;
}

type Outcome = 'over TLS' | 'in the clear' | 'refused';
const HOW = 'SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()';

/** What libpq makes of a URL. */
async function byPsql(url: string): Promise<Outcome> {
  const { LD_LIBRARY_PATH: _, ...inherited } = process.env;
  const env = {
    ...inherited,
    HOME: home,
    PGCONNECT_TIMEOUT: '5',
    ...(psql.libraries !== undefined && { LD_LIBRARY_PATH: psql.libraries }),
  };
  const answer = await promisify(execFile)(psql.binary, ['--no-password', '-XAtc', HOW, url], { env }).then(
    ({ stdout }) => stdout.trim(),
    () => 'refused',
  );
  return outcomeOf(answer);
}

async function byUs(url: string): Promise<Outcome> {
  const connect = async () => connectWithin(0, connectionOptions(url));
  const client = await connect().catch(() => undefined);
  if (client === undefined) return 'refused';
  try {
    const { rows } = await client.query<{ ssl: boolean }>(HOW);
    return outcomeOf(rows[0]?.ssl === true ? 't' : 'f');
  } finally {
    await client.end();
  }
}

function outcomeOf(answer: string): Outcome {
  if (answer === 't') return 'over TLS';
  return answer === 'f' ? 'in the clear' : 'refused';
}

async function refusalOf(url: string): Promise<string> {
  const connect = async () => connectWithin(0, connectionOptions(url));
  return connect().then(
    (client) => client.end().then(() => 'none'),
    (error: Error) => error.message,
  );
}

const MODES = ['', 'disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full'];
const modes = (roots: string) =>
  MODES.flatMap((mode) => {
    const parts = [mode && `sslmode=${mode}`, roots].filter((part) => part !== '');
    // Where libpq refuses, the service trusts the public roots and checks the name.
    return mode === 'verify-full' && roots === '' ? [] : [parts.join('&')];
  });

describe.each<[string, () => Pair | undefined]>([
  ['without TLS', () => undefined],
  ['with a self-signed certificate', () => certificates.selfSigned],
  ['with a certificate of a CA of its own', () => certificates.server],
])('on a server %s a URL means what it means to libpq', (_what, pair) => {
  beforeAll(() => postgres.serveTls(pair()));

  const cases = [
    ...['taskbridge_app', 'only_tls', 'only_clear'].flatMap((role) =>
      modes('').map((parameters) => [role, 'localhost', parameters] as const),
    ),
    ...['sslrootcert=$ca', 'sslrootcert=$otherCa', 'sslrootcert=$selfSigned'].flatMap((roots) =>
      modes(roots).map((parameters) => ['taskbridge_app', 'localhost', parameters] as const),
    ),
    ...modes('sslrootcert=$ca').map((parameters) => ['taskbridge_app', '127.0.0.1', parameters] as const),
    ...['sslcert=$cert&sslkey=$key', 'sslcert=$anotherCert&sslkey=$anotherKey', ''].map(
      (pairs) => ['with_cert', 'localhost', `sslmode=require${pairs && `&${pairs}`}`] as const,
    ),
  ];

  it.each(cases)('for %s at %s with %s', async (role, host, parameters) => {
    const url = urlOf(role, parameters, host);
    expect(await byUs(url)).toBe(await byPsql(url));
  });
});

describe('a server with a certificate of a CA of its own', () => {
  beforeAll(() => postgres.serveTls(certificates.server));

  it.each([
    ['sslmode=require&uselibpqcompat=true', 'over TLS'],
    ['sslmode=no-verify', 'over TLS'],
    ['ssl=no-verify', 'over TLS'],
    ['ssl=true', 'refused'],
    ['ssl=true&sslrootcert=$ca', 'over TLS'],
    ['ssl=false', 'in the clear'],
    ['sslmode=verify-full', 'refused'],
    ['sslrootcert=system', 'refused'],
    ['sslmode=require&ssl_min_protocol_version=TLSv1.3', 'over TLS'],
  ] as const)('is reached with %s %s', async (parameters, outcome) => {
    expect(await byUs(urlOf('taskbridge_app', parameters))).toBe(outcome);
  });

  it.each([
    ['sslmode=verify_full', /^sslmode accepts disable, allow, prefer, require, verify-ca, verify-full$/],
    ['sslmode=', /^sslmode accepts disable/],
    ['sslmod=require', /^the parameter sslmod is not known$/],
    ['sslcrldir=/x', /^the parameter sslcrldir is not known$/],
    ['sslmode=verify-ca', /^sslmode=verify-ca needs sslrootcert/],
    ['sslmode=require&sslrootcert=system', /^sslrootcert=system needs sslmode=verify-full/],
    ['sslmode=verify-ca&sslrootcert=$nothing', /^sslrootcert cannot be read \(ENOENT\)$/],
    ['sslmode=require&sslcert=$cert', /^sslcert and sslkey belong together$/],
    ['sslnegotiation=direct', /^sslnegotiation=direct needs sslmode=require or more$/],
    ['sslmode=require&ssl_min_protocol_version=3', /^ssl_min_protocol_version accepts TLSv1, /],
    ['sslmode=verify-ca&sslrootcert=$otherCa', /a CA that is not trusted; name the file of its CA in sslrootcert$/],
  ])('is refused or not with %s, in words', async (parameters, words) => {
    expect(await refusalOf(urlOf('taskbridge_app', parameters))).toMatch(words);
  });

  it('under another name is refused by verify-full, which says what does not look at the name', async () => {
    expect(await refusalOf(urlOf('taskbridge_app', 'sslmode=verify-full&sslrootcert=$ca', '127.0.0.1'))).toMatch(
      /ERR_TLS_CERT_ALTNAME_INVALID: its certificate is for another name; sslmode=verify-ca/,
    );
  });

  it('that lets a role in over TLS only says so, and what to write', async () => {
    expect(await refusalOf(urlOf('only_tls', 'sslmode=disable'))).toMatch(
      /^PostgreSQL refused the login: no pg_hba.conf entry .*, no encryption \(28000\); sslmode=require asks for TLS$/,
    );
  });

  it('is sent a password over TLS alone, where the first way fails after it was asked for', async () => {
    const url = urlOf(`with_password:wrong-${PASSWORD}`, 'sslmode=prefer');
    expect(await refusalOf(url)).toMatch(/^PostgreSQL refused the login: password authentication failed .*\(28P01\)$/);
    expect(await byUs(urlOf(`with_password:${PASSWORD}`, 'sslmode=prefer'))).toBe('over TLS');
  });

  it('is served over TLS as a whole, and the variables of libpq count where the URL says nothing', async () => {
    const env = { PGSSLMODE: 'verify-full', PGSSLROOTCERT: certificates.ca };
    const service = await startService({ DATABASE_URL: urlOf('taskbridge_app', ''), ...env });
    try {
      const rows = await eventually('it has connections', async () => {
        const found = await postgres.asSuperuser(
          'postgres',
          `SELECT DISTINCT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'taskbridge_app'`,
        );
        return found.rows.length > 0 && found.rows;
      });
      expect(rows).toEqual([{ ssl: true }]);
    } finally {
      await service.stop();
    }
  });
});

describe('a pool with sslmode=prefer', () => {
  it('follows a server that stops and begins to speak TLS', async () => {
    await postgres.serveTls(certificates.server);
    const pool = createPool(urlOf('taskbridge_app', 'sslmode=prefer'), { max: 1 });
    const how = async () => {
      const client = await pool.connect();
      const { rows } = await client.query<{ ssl: boolean }>(HOW);
      // Closed, so that the next is new.
      client.release(true);
      return rows[0]?.ssl;
    };
    try {
      expect(await how()).toBe(true);
      await postgres.serveTls(undefined);
      expect(await how()).toBe(false);
      await postgres.serveTls(certificates.selfSigned);
      expect(await how()).toBe(true);
    } finally {
      await pool.end();
    }
  });
});
