import { once } from 'node:events';
import { createServer, type IncomingMessage, request as forward, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/**
 * What happens to one request: `pass`; `lose` it before the service sees it, or the `answer` after; or a proxy on the way
 * answers: 503, 429, or 502 with a page; or a replica of another release refuses it with 404 or 422.
 */
export type Fault = 'pass' | 'lose' | 'lose_answer' | '503' | '429' | '502' | '404' | '422';

export interface FaultyHttp {
  readonly url: string;
  close(): Promise<void>;
}

/** The path prefix of the service, as behind a gateway. */
const PREFIX = '/bridge';

/** HTTP to `target` over a faulty network. `judge` decides the fate of each request by its path. */
export async function faultyHttp(target: string, judge: (path: string) => Fault): Promise<FaultyHttp> {
  const server = createServer((req, res) => {
    void relay(target, judge(req.url ?? ''), req, res).catch(() => req.socket.destroy());
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}${PREFIX}`,
    async close() {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}

async function relay(target: string, fault: Fault, req: IncomingMessage, res: ServerResponse): Promise<void> {
  if (fault === 'lose') return void req.socket.destroy();
  const body = await bytesOf(req);
  if (fault === '503' || fault === '429') {
    res.writeHead(Number(fault), { 'Content-Type': 'application/json' });
    return void res.end('{"code":"SERVICE_UNAVAILABLE","message":"later"}');
  }
  if (fault === '404' || fault === '422') {
    res.writeHead(Number(fault), { 'Content-Type': 'application/json' });
    return void res.end('{"code":"NOT_FOUND","message":"unknown here"}');
  }
  if (fault === '502') return void res.writeHead(502, { 'Content-Type': 'text/html' }).end('<h1>Bad Gateway</h1>');
  const { host: _, ...headers } = req.headers;
  const path = req.url?.startsWith(PREFIX) ? req.url.slice(PREFIX.length) : '/outside';
  const onward = forward(`${target}${path}`, { method: req.method ?? 'GET', headers });
  // A client that hangs up here hangs up at the service, too.
  res.on('close', () => onward.destroy());
  onward.end(body);
  const [answer] = (await once(onward, 'response')) as [IncomingMessage];
  const answered = await bytesOf(answer);
  if (fault === 'lose_answer') return void req.socket.destroy();
  res.writeHead(answer.statusCode ?? 500, answer.headers).end(answered);
}

async function bytesOf(message: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of message) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}
