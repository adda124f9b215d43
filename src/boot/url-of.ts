import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';

/** Where a server that listens is found; the port is the real one where 0 was asked for. */
export function urlOf(server: Server, host: string): string {
  const { port } = server.address() as AddressInfo;
  return `http://${host.includes(':') ? `[${host}]` : host}:${port}`;
}
