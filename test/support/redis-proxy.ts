import { connect } from 'node:net';
import { type Framing, SteppingProxy, type Trip } from './stepping-proxy.js';

/** One command, and its one reply, in RESP2 or RESP3. */
interface Command {
  /** The name in capitals. */
  readonly name: string;
  readonly args: readonly string[];
}

export type RedisTrip = Trip<Command>;

/** A proxy between a service and Redis. A pipeline is as many round trips as it has commands. */
export class RedisProxy extends SteppingProxy<Command> {
  /** `url` is `redisUrl` through it. */
  static async start(redisUrl: string): Promise<RedisProxy> {
    const { hostname, port } = new URL(redisUrl);
    const proxy = new RedisProxy(
      () => connect(Number(port), hostname),
      () => new RedisFraming(),
    );
    await proxy.listen();
    return proxy;
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`;
  }
}

class RedisFraming implements Framing<Command> {
  readonly #client = cutter();
  readonly #server = cutter();

  *fromClient(bytes: Buffer) {
    for (const { frame, strings } of this.#client(bytes)) {
      const [name = '', ...args] = strings;
      yield { bytes: frame, request: { name: name.toUpperCase(), args } };
    }
  }

  *fromServer(bytes: Buffer) {
    for (const { frame } of this.#server(bytes)) yield { bytes: frame, isEnd: true, isIdle: true };
  }
}

/** Cuts a byte stream into values, with the strings that are in them. */
function cutter(): (bytes: Buffer) => Iterable<{ frame: Buffer; strings: string[] }> {
  let pending = Buffer.alloc(0);
  return function* (bytes) {
    pending = Buffer.concat([pending, bytes]);
    for (;;) {
      const strings: string[] = [];
      const end = endOfValue(pending, 0, strings);
      if (end === undefined) return;
      const frame = pending.subarray(0, end);
      pending = pending.subarray(end);
      yield { frame, strings };
    }
  };
}

/** Where the value that begins at `at` ends; undefined while its end has not come. */
function endOfValue(bytes: Buffer, at: number, strings: string[]): number | undefined {
  const line = bytes.indexOf('\r\n', at);
  if (line < 0) return undefined;
  const type = String.fromCharCode(bytes[at] ?? 0);
  const rest = bytes.toString('latin1', at + 1, line);
  let end: number | undefined = line + 2;
  switch (type) {
    case '+':
    case '-':
    case ':':
    case '_':
    case '#':
    case ',':
    case '(':
      return end;
    case '$':
    case '!':
    case '=':
      if (Number(rest) < 0) return end;
      end += Number(rest) + 2;
      if (bytes.length < end) return undefined;
      strings.push(bytes.toString('utf8', line + 2, end - 2));
      return end;
    case '*':
    case '~':
    case '%':
      for (let left = Number(rest) * (type === '%' ? 2 : 1); left > 0 && end !== undefined; left--)
        end = endOfValue(bytes, end, strings);
      return end;
    default:
      // This includes pushes of Redis, which are no replies.
      throw new Error(`this proxy knows no value that begins with ${JSON.stringify(type)}`);
  }
}
