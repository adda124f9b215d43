import { AT_ONCE, TaskBridgeError, unreachable } from './errors.js';
import type { Followed, Frame } from './followed.js';
import type { Http } from './http.js';
import type { Session } from './session.js';
import { backoff, pause, Watchdog } from './waiting.js';

const MULTIPLEX = 'taskbridge.multiplex.v1';

/** One WebSocket for all that is followed. */
export async function bySocket(session: Session, http: Http, Socket: typeof WebSocket): Promise<never> {
  const token = await http.options.token?.();
  const headers = await http.options.headers?.();
  session.signal.throwIfAborted();
  const url = new URL(`${http.base}/tasks/ws`, globalThis.location?.href).href.replace(/^http/, 'ws');
  const protocols = token ? [MULTIPLEX, `taskbridge.token.${token}`] : [MULTIPLEX];
  const socket = opened(Socket, url, protocols, headers);
  return new Promise((_, reject) => {
    let afterMs: number | undefined;
    let failures = 0;
    const end = (error: unknown) => {
      watchdog.stop();
      session.signal.removeEventListener('abort', cut);
      socket.onopen = socket.onmessage = socket.onclose = socket.onerror = null;
      socket.close();
      reject(error as Error);
    };
    const cut = () => end(session.signal.reason);
    const watchdog = new Watchdog(end);
    session.signal.addEventListener('abort', cut);

    const send = (frame: object) => socket.readyState === 1 && socket.send(JSON.stringify(frame));
    const subscribe = (followed: Followed) => send({ ...followed.subscribe(), ref: followed.key });
    const retry = async (followed: Followed) => {
      await pause(1_000 + backoff((failures += 1)), session.signal);
      if (session.followed.get(followed.key) === followed) subscribe(followed);
    };
    session.onChange = (followed, isAdded) => (isAdded ? subscribe(followed) : send(followed.unsubscribe()));

    const receive = (frame: Frame & { taskId?: string; ref?: string; code?: string; message?: string }) => {
      const { type, taskId, ref, code } = frame;
      // An ERROR about credentials has neither. That of an expired cursor of the feed has its code.
      const isOfFeed = type?.startsWith('CHANGE') || code === 'CURSOR_EXPIRED';
      const followed = session.followed.get(isOfFeed ? 'changes' : (taskId ?? ref ?? ''));
      if (type === 'RECONNECT') afterMs = frame['afterMs'] as number;
      else if (type === 'AUTH_EXPIRING') void renew();
      else if (!followed) return;
      else if (frame['eventId'] || frame['cursor'] || frame['next']) session.receive(followed, frame);
      else if (type === 'SUBSCRIPTION_ENDED' && frame['reason'] === 'terminal') followed.finish();
      else if (type === 'ERROR' && code && !/^(ALREADY|NOT)_SUBSCRIBED$/.test(code)) {
        if (/^(TOO_MANY_REQUESTS|SERVICE_UNAVAILABLE|INTERNAL_ERROR)$/.test(code)) void retry(followed);
        else followed.fail(new TaskBridgeError(code, frame.message ?? code));
      }
    };
    /** Newer credentials for the connection that is open. Where that fails it closes with 4401, and others are asked again. */
    const renew = async () => {
      const newer = await Promise.resolve(http.options.token?.()).catch(() => undefined);
      if (newer) send({ action: 'authenticate', token: newer });
    };

    socket.onopen = () => [...session.followed.values()].forEach(subscribe);
    socket.onmessage = ({ data }: MessageEvent<string>) => {
      watchdog.heard();
      session.heard();
      receive(JSON.parse(data) as Frame);
    };
    socket.onerror = () => {};
    socket.onclose = ({ code, reason }) => {
      // A service that restarts has its clients come back one after the other.
      if (code === 1_012) afterMs ??= 1_000 + 4_000 * Math.random();
      if (code === 4_001) afterMs = AT_ONCE;
      const message = `The connection closed with ${code}.`;
      end(code < 4_400 ? unreachable(message, afterMs) : new TaskBridgeError(reason, message, code - 4_000));
    };
  });
}

/** Node, Bun and Deno send headers. A browser takes the object for a bad name of a protocol, and sends its cookies. */
function opened(Socket: typeof WebSocket, url: string, protocols: string[], headers?: HeadersInit): WebSocket {
  try {
    if (headers) return new Socket(url, { protocols, headers: Object.fromEntries(new Headers(headers)) } as never);
  } catch {
    // A browser.
  }
  return new Socket(url, protocols);
}
