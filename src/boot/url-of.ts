import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';

/** The address of a listening server. It has the real port when the setting is 0. */
export function urlOf(server: Server, host: string): string {
  const { port } = server.address() as AddressInfo;
  return `http://${host.includes(':') ? `[${host}]` : host}:${port}`;
}
