import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { debianProgram } from './debian.js';

const OPENSSL = { name: 'openssl', variable: 'TEST_OPENSSL', packages: ['openssl'], path: 'usr/bin/openssl' };

/** Files in PEM form. */
export interface Pair {
  readonly cert: string;
  readonly key: string;
}

export interface Certificates {
  /** The CA's own certificate, which clients trust. */
  readonly ca: string;
  /** The certificate of a CA that has signed nothing. */
  readonly otherCa: string;
  /** A certificate of the CA for the name `localhost`, and for no address. */
  readonly server: Pair;
  readonly selfSigned: Pair;
  /** A client's, with the name as its common name, signed by the CA. */
  client(name: string): Promise<Pair>;
}

/** Real certificates in `directory`, valid from now for a day. */
export async function makeCertificates(directory: string): Promise<Certificates> {
  const { binary, libraries } = await debianProgram(OPENSSL);
  const env = { ...process.env, ...(libraries !== undefined && { LD_LIBRARY_PATH: libraries }) };
  const make = async (name: string, subject: string, ca: Pair | undefined, extension: string): Promise<Pair> => {
    const pair = { cert: join(directory, `${name}.crt`), key: join(directory, `${name}.key`) };
    const config = join(directory, `${name}.cnf`);
    await writeFile(config, `[req]\ndistinguished_name=dn\n[dn]\n[ext]\n${extension}\n`);
    await promisify(execFile)(
      binary,
      [
        ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '1'],
        ...['-config', config, '-extensions', 'ext', '-subj', `/CN=${subject}`, '-keyout', pair.key, '-out', pair.cert],
        ...(ca === undefined ? [] : ['-CA', ca.cert, '-CAkey', ca.key]),
      ],
      { env },
    );
    return pair;
  };
  const isCa = 'basicConstraints=critical,CA:true';
  const [ca, otherCa, selfSigned] = await Promise.all([
    make('ca', 'ca', undefined, isCa),
    make('other-ca', 'other ca', undefined, isCa),
    make('self-signed', 'localhost', undefined, 'subjectAltName=DNS:localhost'),
  ]);
  return {
    ca: ca.cert,
    otherCa: otherCa.cert,
    server: await make('server', 'localhost', ca, 'subjectAltName=DNS:localhost'),
    selfSigned,
    client: (name) => make(`client-${name}`, name, ca, 'extendedKeyUsage=clientAuth'),
  };
}
