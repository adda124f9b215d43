import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

/** What befalls a connection. Bytes keep their order. */
type Fault = 'pass' | 'cut' | 'delay' | '502' | '503' | 'swallow' | 'throttle';

/** By weight. Those that take the most time come rarely. */
const FAULTS: readonly Fault[] = [
  ...Array<Fault>(3).fill('pass'),
  ...Array<Fault>(8).fill('cut'),
  ...Array<Fault>(3).fill('delay'),
  ...(['502', '503', '502', '503'] as const),
  'swallow',
  'throttle',
];

const THROTTLED_BYTES_PER_SECOND = 1_000;
const ANSWERS = {
  '502':
    'HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\nContent-Length: 20\r\nConnection: close\r\n\r\n<h1>Bad Gateway</h1>',
  '503': 'HTTP/1.1 503 Service Unavailable\r\nRetry-After: 0\r\nContent-Length: 0\r\nConnection: close\r\n\r\n',
};

export interface HostileOptions {
  readonly targetPort: number;
  readonly random: () => number;
  /** How many connections it meddles with. All others pass, so that a run comes to its end. */
  readonly faults: number;
  /** A server of pages. Requests that do not begin with `/api` go there, and nothing befalls them. */
  readonly pagesPort?: number;
}

/** A bad network in front of a server. */
export class HostileProxy {
  readonly happened: Fault[] = [];
  /** Clients of the API that are connected. */
  readonly #sockets = new Set<Socket>();
  #faultsLeft: number;

  private constructor(
    private readonly server: Server,
    private readonly options: HostileOptions,
    readonly url: string,
  ) {
    this.#faultsLeft = options.faults;
  }

  static async start(options: HostileOptions): Promise<HostileProxy> {
    const server = createServer({ pauseOnConnect: true }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const proxy = new HostileProxy(server, options, `http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    server.on('connection', (client) => void proxy.#take(client));
    return proxy;
  }

  get open(): number {
    return this.#sockets.size;
  }

  /** Ends what is there, as a network that goes away. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async close(): Promise<void> {
    this.cut();
    this.server.close();
    await once(this.server, 'close');
  }

  async #take(client: Socket): Promise<void> {
    client.setNoDelay(true).on('error', () => {});
    client.resume();
    const [first] = (await Promise.race([once(client, 'data'), once(client, 'close').then(() => [])])) as [Buffer?];
    if (first === undefined) return;
    const { random, pagesPort, targetPort } = this.options;
    client.pause();
    if (pagesPort !== undefined && !first.toString('latin1').includes(' /api')) {
      const pages = connect(pagesPort, '127.0.0.1').on('error', () => client.destroy());
      pages.write(first);
      client.pipe(pages).pipe(client);
      return;
    }
    this.#sockets.add(client);
    client.once('close', () => this.#sockets.delete(client));
    const fault = this.#faultsLeft-- > 0 ? (FAULTS[Math.floor(random() * FAULTS.length)] ?? 'pass') : 'pass';
    this.happened.push(fault);
    if (fault === '502' || fault === '503') return void client.resume().end(ANSWERS[fault]);
    const server = connect(targetPort, '127.0.0.1').on('error', () => client.destroy());
    client.once('close', () => server.destroy());
    server.once('close', () => client.destroy());
    const bytes = { left: fault === 'pass' || fault === 'delay' ? Infinity : Math.floor(random() ** 2 * 8_000) };
    const carry = (from: Socket, to: Socket, head?: Buffer) =>
      void this.#carry(fault, bytes, from, to, head).catch(() => client.destroy());
    carry(client, server, first);
    carry(server, client);
  }

  /** Both directions together have `bytes.left` before the fault. */
  async #carry(fault: Fault, bytes: { left: number }, from: Socket, to: Socket, head?: Buffer): Promise<void> {
    const { random } = this.options;
    const pass = async (data: Buffer) => {
      if (fault === 'delay') await delay(150 * random());
      const now = fault === 'throttle' ? data.length : Math.min(data.length, bytes.left);
      bytes.left -= now;
      for (let at = 0; at < now; ) {
        const size = fault === 'throttle' ? THROTTLED_BYTES_PER_SECOND / 10 : now;
        if (!to.write(data.subarray(at, Math.min(now, at + size)))) await once(to, 'drain');
        at += size;
        if (fault === 'throttle') await delay(100);
      }
      if (now === data.length) return;
      // It takes, and nothing gets through.
      if (fault === 'swallow') await once(from, 'close');
      else from.destroy();
    };
    if (head) await pass(head);
    for await (const data of from) await pass(data as Buffer);
    to.end();
  }
}
