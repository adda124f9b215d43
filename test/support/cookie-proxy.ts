import { createServer, type IncomingMessage, request, type Server } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';

export interface CookieProxy {
  readonly port: number;
  stop(): Promise<void>;
}

/**
 * The proxy before the service where people log in: the cookie names the principal. It serves a page at `/page`, knows
 * nothing of origins, and answers 502 where the service is away.
 */
export async function startCookieProxy(upstream: string): Promise<CookieProxy> {
  const server = createServer((req, res) => {
    if (req.url === '/page')
      return void res.setHeader('Content-Type', 'text/html').end('<!doctype html><title>page</title>');
    const passed = request(upstream + req.url, { method: req.method, headers: headersOf(req) }, (answer) => {
      res.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.on('close', () => answer.complete || res.destroy());
      answer.pipe(res);
    });
    // Most proxies answer with a page of their own while the service is away.
    passed.on('error', () => (res.headersSent ? res.destroy() : res.writeHead(502).end('<h1>Bad Gateway</h1>')));
    res.on('close', () => passed.destroy());
    req.pipe(passed);
  });
  server.on('upgrade', (req: IncomingMessage, socket, head) => {
    const passed = request(upstream + req.url, { headers: headersOf(req) });
    const line = (answer: IncomingMessage) => {
      const { rawHeaders: raw } = answer;
      const headers = raw.flatMap((name, i) => (i % 2 === 0 ? [`${name}: ${raw[i + 1]}`] : []));
      return [`HTTP/1.1 ${answer.statusCode} ${answer.statusMessage}`, ...headers, '', ''].join('\r\n');
    };
    passed.on('upgrade', (answer, other, first) => {
      socket.write(line(answer));
      socket.write(first);
      other.write(head);
      other.pipe(socket).pipe(other);
      other.on('error', () => socket.destroy());
      socket.on('error', () => other.destroy());
      socket.on('close', () => other.destroy());
    });
    passed.on('response', (answer) => {
      socket.end(line(answer));
      answer.resume();
    });
    passed.on('error', () => socket.destroy());
    passed.end();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { port: (server.address() as AddressInfo).port, stop: () => stop(server) };
}

function headersOf({ headers }: IncomingMessage): IncomingMessage['headers'] {
  const { cookie, ...others } = headers;
  const session = /(?:^|; )session=([\w-]+)/.exec(cookie ?? '')?.[1];
  return { ...others, ...(session !== undefined && { 'x-principal-id': session }) };
}

async function stop(server: Server): Promise<void> {
  server.close();
  server.closeAllConnections();
  await once(server, 'close');
}
