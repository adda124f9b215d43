import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { BootRefused } from './boot-guard.js';

/**
 * Resolves when the server listens.
 * @throws BootRefused where the operator has to choose another port or address; any other error as it is
 */
export async function listen(server: Server, setting: 'PORT' | 'OPS_PORT', port: number, host: string): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once('error', reject);
  server.listen(port, host, resolve);
  await promise.catch((error: NodeJS.ErrnoException) => {
    throw refusalOf(error, setting, port);
  });
  server.off('error', reject);
}

/** The address of a listening server. It has the real port when the setting is 0. */
export function urlOf(server: Server, host: string): string {
  const { port } = server.address() as AddressInfo;
  return `http://${host.includes(':') ? `[${host}]` : host}:${port}`;
}

function refusalOf(error: NodeJS.ErrnoException, setting: string, port: number): Error {
  const lines: Readonly<Record<string, string>> = {
    EADDRINUSE: `${setting}: ${port} is taken by another process; set ${setting} to another port`,
    EACCES: `${setting}: this user may not listen on ${port}`,
    EADDRNOTAVAIL: 'HOST: this machine has no such address',
    ENOTFOUND: 'HOST: there is no such name',
  };
  const line = lines[error.code ?? ''];
  return line === undefined ? error : new BootRefused([line], { cause: error });
}
