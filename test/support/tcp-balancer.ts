import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

/** Gives each new connection to the next of the replicas that are there; one that dies takes its connections with it. */
export class TcpBalancer {
  readonly #ports: number[] = [];
  readonly #sockets = new Set<Socket>();
  #turn = 0;

  private constructor(
    private readonly server: Server,
    readonly url: string,
  ) {}

  /** Listens on a free loopback port. */
  static async start(): Promise<TcpBalancer> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const balancer = new TcpBalancer(server, `http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    server.on('connection', (client) => {
      balancer.#watch(client);
      balancer.#connect(client, balancer.#ports.length);
    });
    return balancer;
  }

  add(replicaUrl: string): void {
    this.#ports.push(Number(new URL(replicaUrl).port));
  }

  /** New connections go elsewhere; those that are there stay. */
  remove(replicaUrl: string): void {
    const at = this.#ports.indexOf(Number(new URL(replicaUrl).port));
    if (at >= 0) this.#ports.splice(at, 1);
  }

  /** Ends the connections that are there. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.server.close(resolve));
  }

  /** A replica that does not answer is passed over; with none left the client is cut off. */
  #connect(client: Socket, attempts: number): void {
    const port = this.#ports[this.#turn++ % this.#ports.length];
    if (port === undefined || attempts === 0) return void client.destroy();
    const replica = connect(port, '127.0.0.1');
    const passOver = () => this.#connect(client, attempts - 1);
    replica.once('error', passOver);
    replica.once('connect', () => {
      replica.off('error', passOver);
      this.#watch(replica);
      for (const [one, other] of [
        [client, replica],
        [replica, client],
      ] as const) {
        one.pipe(other);
        one.once('close', () => other.destroy());
      }
      if (client.destroyed) replica.destroy();
    });
  }

  #watch(socket: Socket): void {
    this.#sockets.add(socket);
    socket.setNoDelay(true).on('error', () => {});
    socket.once('close', () => this.#sockets.delete(socket));
  }
}
