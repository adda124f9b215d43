import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import { answerCalls } from '../child.js';
import { TEXT } from '../text.js';

// The shortest round trip between two processes on this machine.

answerCalls({
  async serve(): Promise<number> {
    const server = createServer((socket) => socket.setNoDelay(true).pipe(socket)).listen(0, '127.0.0.1');
    await once(server, 'listening');
    return (server.address() as AddressInfo).port;
  },

  /** Milliseconds of `rounds` round trips with the bytes of an event. */
  async roundTrips(port: number, rounds: number): Promise<number[]> {
    const socket = connect(port, '127.0.0.1').setNoDelay(true);
    await once(socket, 'connect');
    const message = TEXT.padEnd(325);
    const took: number[] = [];
    for (let n = 0; n < rounds; n += 1) {
      const startedAt = performance.now();
      socket.write(message);
      await once(socket, 'data');
      took.push(performance.now() - startedAt);
    }
    socket.destroy();
    return took;
  },
});
