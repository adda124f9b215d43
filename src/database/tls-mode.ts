import { readFileSync } from 'node:fs';
import { type ConnectionOptions, getCACertificates, type SecureVersion } from 'node:tls';
import { NotConnected } from './not-connected.js';

/** One way to connect: in the clear, or over TLS with these options. */
export type Way = false | ConnectionOptions;

const MODES = ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full'] as const;
type Mode = (typeof MODES)[number];
const isMode = (text: string): text is Mode => (MODES as readonly string[]).includes(text);

/** Parameters that are honoured here. `pg` must not see them: it reads most of them in another way than libpq. */
export const TLS_PARAMETERS = [
  'sslmode',
  'ssl',
  'sslrootcert',
  'sslcert',
  'sslkey',
  'sslpassword',
  'sslcrl',
  'ssl_min_protocol_version',
  'ssl_max_protocol_version',
  'sslnegotiation',
  'uselibpqcompat',
] as const;
type Parameter = (typeof TLS_PARAMETERS)[number];

/** Without effect here: they demand what always holds, or weaken nothing. */
const WITHOUT_EFFECT = ['sslcompression', 'sslsni', 'sslcertmode'];

/** The words of other drivers: `no-verify` and `ssl` come from `pg` itself. */
const OF_SSL: Readonly<Record<string, Mode | 'no-verify'>> = {
  true: 'verify-full',
  1: 'verify-full',
  false: 'disable',
  0: 'disable',
  'no-verify': 'no-verify',
};

export interface TlsMode {
  /** The ways in order: the next one follows a refusal of the one before. */
  readonly ways: readonly [Way] | readonly [Way, Way];
  /** Begins with TLS instead of asking for it. */
  readonly direct: boolean;
}

/**
 * `sslmode` and its files with libpq's meaning. A file of root certificates is always used for a check of the chain, whatever
 * the mode; `verify-full` alone also looks at the name. A variable such as PGSSLMODE counts where the URL says nothing.
 *
 * @throws NotConnected
 */
export function tlsMode(parameters: URLSearchParams, viaSocket: boolean): TlsMode {
  refuseUnknown(parameters);
  const valueOf = (name: Parameter) => parameters.get(name) || variable(name);
  const mode = modeOf(parameters, valueOf);
  if (viaSocket || mode === 'disable') return { ways: [false], direct: false };
  const direct = directOf(valueOf('sslnegotiation'), mode);
  const tls = optionsOf(mode, valueOf);
  if (mode === 'prefer') return { ways: [tls, false], direct };
  if (mode === 'allow') return { ways: [false, tls], direct };
  return { ways: [tls], direct };
}

function refuseUnknown(parameters: URLSearchParams): void {
  for (const name of parameters.keys()) {
    if (!/^(ssl|tls)/i.test(name) || [...TLS_PARAMETERS, ...WITHOUT_EFFECT].includes(name)) continue;
    throw new NotConnected(/^\w{1,40}$/.test(name) ? `the parameter ${name} is not known` : 'a parameter is not known');
  }
}

type ValueOf = (name: Parameter) => string | undefined;

function modeOf(parameters: URLSearchParams, valueOf: ValueOf): Mode | 'no-verify' {
  const ofSystem = valueOf('sslrootcert') === 'system';
  const inUrl = parameters.get('sslmode') ?? OF_SSL[parameters.get('ssl') ?? ''];
  const text = inUrl ?? valueOf('sslmode');
  if (text === undefined) return ofSystem ? 'verify-full' : 'prefer';
  if (text === 'no-verify') return text;
  if (!isMode(text))
    throw new NotConnected(`${inUrl === undefined ? 'PGSSLMODE' : 'sslmode'} accepts ${MODES.join(', ')}`);
  if (ofSystem && text !== 'verify-full' && text !== 'disable') {
    throw new NotConnected(
      `sslrootcert=system needs sslmode=verify-full: anybody can get a certificate of a public CA`,
    );
  }
  return text;
}

function directOf(text: string | undefined, mode: Mode | 'no-verify'): boolean {
  if (text === undefined || text === 'postgres') return false;
  if (text !== 'direct') throw new NotConnected('sslnegotiation accepts postgres or direct');
  if (mode === 'allow' || mode === 'prefer')
    throw new NotConnected('sslnegotiation=direct needs sslmode=require or more');
  return true;
}

function optionsOf(mode: Mode | 'no-verify', valueOf: ValueOf): ConnectionOptions {
  const [cert, key] = [read('sslcert', valueOf), read('sslkey', valueOf)];
  if ((cert === undefined) !== (key === undefined)) throw new NotConnected('sslcert and sslkey belong together');
  const crl = read('sslcrl', valueOf);
  const passphrase = valueOf('sslpassword');
  const ca = mode === 'no-verify' ? undefined : rootsOf(mode, valueOf);
  return {
    ...(ca === undefined ? { rejectUnauthorized: false } : { ca, rejectUnauthorized: true }),
    ...(mode !== 'verify-full' && { checkServerIdentity: () => undefined }),
    ...(cert !== undefined && { cert }),
    ...(key !== undefined && { key }),
    ...(passphrase !== undefined && { passphrase }),
    ...(crl !== undefined && { crl }),
    ...protocol('minVersion', 'ssl_min_protocol_version', valueOf),
    ...protocol('maxVersion', 'ssl_max_protocol_version', valueOf),
  };
}

/** Undefined means that nothing is checked. */
function rootsOf(mode: Mode, valueOf: ValueOf): string | string[] | undefined {
  const named = valueOf('sslrootcert');
  // libpq would look into the home directory and refuse. The public roots are as strict here, because names are checked.
  if (named === 'system' || (named === undefined && mode === 'verify-full')) {
    return [...new Set([...getCACertificates('default'), ...getCACertificates('system')])];
  }
  if (named === undefined && mode === 'verify-ca') {
    throw new NotConnected('sslmode=verify-ca needs sslrootcert, the file of the CA that signed the certificate');
  }
  return read('sslrootcert', valueOf);
}

function read(name: 'sslrootcert' | 'sslcert' | 'sslkey' | 'sslcrl', valueOf: ValueOf): string | undefined {
  const path = valueOf(name);
  if (path === undefined) return undefined;
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new NotConnected(`${name} cannot be read (${(error as NodeJS.ErrnoException).code})`);
  }
}

const VERSIONS: readonly string[] = ['TLSv1', 'TLSv1.1', 'TLSv1.2', 'TLSv1.3'];

function protocol(option: 'minVersion' | 'maxVersion', name: Parameter, valueOf: ValueOf): ConnectionOptions {
  const version = valueOf(name);
  if (version === undefined) return {};
  if (!VERSIONS.includes(version)) throw new NotConnected(`${name} accepts ${VERSIONS.join(', ')}`);
  return { [option]: version as SecureVersion };
}

/** libpq's variables have the names of its parameters. */
function variable(name: Parameter): string | undefined {
  // eslint-disable-next-line no-restricted-syntax
  return process.env[`PG${name.replaceAll('_', '').toUpperCase()}`] || undefined;
}
