import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { extname, join, normalize } from 'node:path';
import type { Duplex } from 'node:stream';

/** The site in front of the service: it serves pages, and passes `/api` on as the user that the cookie names. */
export interface Gateway {
  readonly url: string;
  /** WebSockets and streams that are open now, by user. */
  open(user: string): number;
  /** `METHOD /path` of each request to the API. */
  readonly requests: string[];
  /** Cuts what is open. */
  cut(): void;
  /** What is open stays open, and carries nothing more: as after a sleep, or behind a network that is gone without a word. */
  silence(): void;
  stop(): Promise<void>;
}

export interface GatewayOptions {
  readonly api: string;
  readonly headersOf: (user: string) => Readonly<Record<string, string>>;
  /** Folders by the first part of a path. */
  readonly folders: Readonly<Record<string, string>>;
  /** Pages and answers by path. */
  readonly pages: Readonly<Record<string, Page>>;
  /** What answers all other requests but those to folders. Default: 404. */
  readonly otherwise?: Page;
}

type Page = string | ((request: IncomingMessage) => Promise<string>);

const TYPES: Readonly<Record<string, string>> = { '.js': 'text/javascript', '.html': 'text/html', '.css': 'text/css' };

export async function startGateway({ api, headersOf, folders, pages, otherwise }: GatewayOptions): Promise<Gateway> {
  const requests: string[] = [];
  const open = new Map<Duplex, string>();
  const silencers = new Map<Duplex, () => void>();
  const userOf = ({ headers }: IncomingMessage) => /(?:^|; )user=(\w+)/.exec(headers.cookie ?? '')?.[1] ?? '';
  const passed = (req: IncomingMessage) => {
    const { cookie: _, ...headers } = req.headers;
    const own = headers.authorization === undefined && userOf(req) !== '' ? headersOf(userOf(req)) : {};
    requests.push(`${req.method} ${req.url}`);
    return request(api + req.url, { method: req.method, headers: { ...headers, ...own } });
  };

  async function serve(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const path = (req.url ?? '/').split('?')[0] ?? '/';
    const [, folder = '', ...rest] = normalize(path).split('/');
    const page = pages[path] ?? (folder in folders ? undefined : otherwise);
    if (page !== undefined) {
      const type =
        path.includes('.') || typeof page !== 'string' ? (TYPES[extname(path)] ?? 'text/plain') : 'text/html';
      const body = typeof page === 'string' ? page : await page(req);
      return void res.setHeader('Content-Type', type).end(body);
    }
    const bytes = folders[folder] && (await readFile(join(folders[folder], ...rest)).catch(() => undefined));
    if (!bytes) return void res.writeHead(404).end();
    res.setHeader('Content-Type', TYPES[extname(path)] ?? 'application/octet-stream').end(bytes);
  }

  const server = createServer((req, res) => {
    if (!req.url?.startsWith('/api')) return void serve(req, res).catch(() => res.destroy());
    const out = passed(req);
    out.on('response', (answer) => {
      res.writeHead(answer.statusCode ?? 502, answer.headers);
      if (answer.headers['content-type']?.startsWith('text/event-stream')) open.set(req.socket, userOf(req));
      answer.on('close', () => answer.complete || res.destroy());
      answer.pipe(res);
    });
    out.on('error', () => (res.headersSent ? res.destroy() : res.writeHead(502).end('<h1>Bad Gateway</h1>')));
    res.on('close', () => {
      open.delete(req.socket);
      out.destroy();
    });
    req.pipe(out);
  });
  server.on('upgrade', (req: IncomingMessage, socket, head) => {
    const out = passed(req);
    const line = (answer: IncomingMessage) => {
      const raw = answer.rawHeaders;
      const headers = raw.flatMap((name, i) => (i % 2 === 0 ? [`${name}: ${raw[i + 1]}`] : []));
      return [`HTTP/1.1 ${answer.statusCode} ${answer.statusMessage}`, ...headers, '', ''].join('\r\n');
    };
    out.on('upgrade', (answer, other, first) => {
      open.set(socket, userOf(req));
      socket.write(line(answer));
      socket.write(first);
      other.write(head);
      other.pipe(socket).pipe(other);
      silencers.set(socket, () => {
        other.unpipe(socket).removeAllListeners('close').resume();
        socket.unpipe(other).resume();
      });
      other.on('error', () => socket.destroy());
      socket.on('error', () => other.destroy());
      other.on('close', () => socket.destroy());
      socket.on('close', () => {
        open.delete(socket);
        silencers.delete(socket);
        other.destroy();
      });
    });
    out.on('response', (answer) => {
      socket.end(line(answer));
      answer.resume();
    });
    out.on('error', () => socket.destroy());
    out.end();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    open: (user) => [...open.values()].filter((name) => name === user).length,
    requests,
    cut: () => open.forEach((_, socket) => socket.destroy()),
    silence: () => silencers.forEach((silence) => silence()),
    stop: () => stop(server, open),
  };
}

async function stop(server: Server, open: ReadonlyMap<Duplex, string>): Promise<void> {
  for (const socket of open.keys()) socket.destroy();
  server.close();
  server.closeAllConnections();
  await once(server, 'close');
}
