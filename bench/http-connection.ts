import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

export interface Answer {
  readonly status: number;
  readonly text: string;
}

/** A bare keep-alive connection with one request under way: a client that costs little beside the measured server. */
export class HttpConnection {
  private constructor(private readonly socket: Socket) {}

  static async open(url: string): Promise<HttpConnection> {
    const { hostname, port } = new URL(url);
    const socket = connect({ host: hostname, port: Number(port), noDelay: true });
    await once(socket, 'connect');
    return new HttpConnection(socket);
  }

  async post(path: string, headers: string, body: object): Promise<Answer> {
    const text = JSON.stringify(body);
    const head = `POST ${path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n${headers}`;
    this.socket.write(`${head}Content-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`);
    for (let received = ''; ; ) {
      const [chunk] = (await once(this.socket, 'data')) as [Buffer];
      received += chunk.toString('latin1');
      const end = received.indexOf('\r\n\r\n');
      if (end < 0) continue;
      const length = /content-length: (\d+)/i.exec(received)?.[1];
      const isWhole =
        length === undefined ? received.endsWith('0\r\n\r\n') : received.length >= end + 4 + Number(length);
      if (isWhole) return { status: Number(received.slice(9, 12)), text: received.slice(end + 4) };
    }
  }

  close(): void {
    this.socket.destroy();
  }
}
