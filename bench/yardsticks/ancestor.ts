import type { AddressInfo } from 'node:net';
import { createServer as createHttp } from 'node:http';
import { Redis } from 'ioredis';
import { WebSocketServer } from 'ws';
import { answerCalls } from '../child.js';

// The design that came before: every subscriber has a Redis connection of its own that blocks on its task's stream, and encodes
// what it reads for itself.

answerCalls({
  async start(redisUrl: string): Promise<string> {
    const http = createHttp();
    new WebSocketServer({ server: http, perMessageDeflate: false }).on('connection', (socket) => {
      socket.on('error', () => undefined);
      socket.once('message', async (frame) => {
        const { taskId } = JSON.parse(String(frame)) as { taskId: string };
        const redis = new Redis(redisUrl);
        redis.on('error', () => undefined);
        socket.once('close', () => redis.disconnect());
        let position = '0-0';
        await redis.ping();
        socket.send('{"type":"SUBSCRIPTION_CONFIRMED"}');
        for (;;) {
          const reply = await redis.xread('BLOCK', 5_000, 'STREAMS', `bench:${taskId}`, position).catch(() => null);
          if (redis.status === 'end') return;
          for (const [, entries] of reply ?? []) {
            for (const [id, [head = '', payload = '']] of entries) {
              position = id;
              const [eventId, type, createdAt] = head.split(' ');
              socket.send(
                JSON.stringify({ type, taskId, eventId, createdAt, payload: JSON.parse(payload) as unknown }),
              );
            }
          }
        }
      });
    });
    await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', 4096, resolve));
    return `http://127.0.0.1:${(http.address() as AddressInfo).port}`;
  },
});
