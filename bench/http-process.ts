import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { answerCalls } from './child.js';

// Requests on bare keep-alive connections, each connection with one under way.

interface Load {
  readonly url: string;
  readonly connections: number;
  readonly seconds: number;
}

/** Distinct owners: a principal may have so many open tasks and no more. */
const OWNERS = 1_000;

let created = 0;

function createRequest(): string {
  created += 1;
  const body = JSON.stringify({
    clientRequestId: randomUUID(),
    taskType: 'bench.wait',
    input: { prompt: 'Summarise the attached report in three sentences.', temperature: 0.2, model: 'any' },
    metadata: { source: 'bench' },
  });
  const head = `POST /api/v1/tasks HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nX-Principal-Id: owner-${created % OWNERS}`;
  return `${head}\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
}

/** The status, once the whole answer is there. */
async function answer(socket: Socket): Promise<number> {
  for (let text = ''; ; ) {
    const [chunk] = (await once(socket, 'data')) as [Buffer];
    text += chunk.toString('latin1');
    const end = text.indexOf('\r\n\r\n');
    if (end < 0) continue;
    const length = /content-length: (\d+)/i.exec(text);
    const isWhole = length ? text.length >= end + 4 + Number(length[1]) : text.endsWith('0\r\n\r\n');
    if (isWhole) return Number(text.slice(9, 12));
  }
}

answerCalls({
  /** How many were created, and in how long. Any other answer makes the run void. */
  async create({ url, connections, seconds }: Load): Promise<{ created: number; seconds: number }> {
    const { hostname, port } = new URL(url);
    const sockets = await Promise.all(
      Array.from({ length: connections }, async () => {
        const socket = connect({ host: hostname, port: Number(port), noDelay: true });
        await once(socket, 'connect');
        return socket;
      }),
    );
    const startedAt = performance.now();
    let count = 0;
    await Promise.all(
      sockets.map(async (socket) => {
        while (performance.now() - startedAt < seconds * 1000) {
          socket.write(createRequest());
          const status = await answer(socket);
          if (status !== 201) throw new Error(`a create was answered with ${status}`);
          count += 1;
        }
      }),
    );
    const took = (performance.now() - startedAt) / 1000;
    for (const socket of sockets) socket.destroy();
    return { created: count, seconds: took };
  },
});
