import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { TaskBridgeError } from '../taskbridge-error.js';
import { PayloadTooLarge, UnsupportedMediaType } from './http.errors.js';
import { checkedBody, type JsonBody } from './json-body.js';
import { isClosing, lingerAfterAnswer } from './lingering-close.js';

export interface JsonEdgeOptions {
  /** A larger body is refused, before it is sent if its length is announced. */
  readonly maxBytes: number;
  /** The requests whose `multipart/form-data` is left on the wire for the route to read. Defaults to none. */
  readonly allowMultipart?: (req: IncomingMessage) => boolean;
}

type EdgeRequest = IncomingMessage & { body?: unknown };
type Next = (error?: unknown) => void;

const METHODS_WITH_BODY: ReadonlySet<string | undefined> = new Set(['POST', 'PUT', 'PATCH', 'DELETE']);

/**
 * Any parameters, since RFC 8259 defines none and has them ignored, but every charset has to be UTF-8. No two neighbours
 * can match the same text: a client writes this header, and backtracking would be its to multiply.
 */
const JSON_IN_UTF8 =
  /^application\/json[ \t]*(?:;[ \t]*(?:(?:charset=(?:utf-8|"utf-8")|(?!charset=)[\w!#$%&'*+.^`|~-]+=(?:[\w!#$%&'*+.^`|~-]+|"(?:[^"\\]|\\.)*"))[ \t]*)?)*$/i;
const MULTIPART = /^multipart\/form-data[ \t]*(?:;|$)/i;

const awaitingContinue = new WeakSet<IncomingMessage>();

/** Has the client send the body that it announced with `Expect: 100-continue`; others have sent it by now. */
export function askForBody(req: IncomingMessage, res: ServerResponse): void {
  if (awaitingContinue.delete(req)) res.writeContinue();
}

/** Has `Expect: 100-continue` answered by the edge, which refuses a body unsent. Otherwise Node asks for every body. */
export function leaveContinueToEdge(server: Server): void {
  server.on('checkContinue', (req: IncomingMessage, res: ServerResponse) => {
    awaitingContinue.add(req);
    server.emit('request', req, res);
  });
}

/**
 * Middleware that puts a checked JSON object into `req.body`, or undefined when there is no body, and passes every refusal to `next` as a TaskBridgeError. When the client goes away within its body, `next` is not called: there
 * is nobody to answer and nothing was begun. Stands before all that reads a body; Nest's own parser has to be off.
 *
 * Not body-parser: it drains a refused body to its end before it answers, so an endless one is never answered.
 */
export function jsonEdge(options: JsonEdgeOptions) {
  return (req: EdgeRequest, res: ServerResponse, next: Next): void => {
    req.body = undefined;
    // RFC 9112, 9.6: what a client pipelined behind a request that closes the connection is not processed.
    if (isClosing(req.socket)) return;
    if (!announcesBody(req)) return next();
    if (!METHODS_WITH_BODY.has(req.method)) {
      // Nobody reads the body of a GET, so nobody would notice that it does not end.
      lingerAfterAnswer(req, res);
      return next();
    }
    const refuse = (error: TaskBridgeError): void => {
      lingerAfterAnswer(req, res);
      next(error);
    };

    const refusal = refusalByHeaders(req, options);
    if (refusal) return refuse(refusal);
    // Whoever reads it asks for it, once it knows that it wants it.
    if (isMultipart(req)) return next();
    askForBody(req, res);
    readBody(req, options.maxBytes, (body) => {
      if (body === undefined) return refuse(new PayloadTooLarge(options.maxBytes));
      const take = (checked: JsonBody): void => {
        req.body = checked;
        next();
      };
      let checked: JsonBody | Promise<JsonBody>;
      try {
        checked = checkedBody(body);
      } catch (error) {
        return next(error);
      }
      if (checked instanceof Promise) checked.then(take, next);
      else take(checked);
    });
  };
}

export function announcesBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
}

export function isMultipart(req: IncomingMessage): boolean {
  return MULTIPART.test(req.headers['content-type'] ?? '');
}

function refusalByHeaders(req: IncomingMessage, options: JsonEdgeOptions): TaskBridgeError | undefined {
  const { headers } = req;
  if ((headers['content-encoding'] || 'identity').toLowerCase() !== 'identity') {
    return new UnsupportedMediaType('A body may not be compressed');
  }
  if (isMultipart(req) && options.allowMultipart?.(req)) return undefined;
  if (!JSON_IN_UTF8.test(headers['content-type'] ?? '')) {
    return new UnsupportedMediaType('The body has to be application/json in UTF-8');
  }
  if (Number(headers['content-length'] ?? 0) > options.maxBytes) return new PayloadTooLarge(options.maxBytes);
  return undefined;
}

/** Calls back with the body, or with undefined as soon as it is too large, or not at all when it is cut off. */
function readBody(req: IncomingMessage, maxBytes: number, done: (body: Buffer | undefined) => void): void {
  const chunks: Buffer[] = [];
  let bytes = 0;
  const settle = (body: Buffer | undefined): void => {
    req.off('data', take).off('end', end);
    done(body);
  };
  const take = (chunk: Buffer): void => {
    bytes += chunk.length;
    if (bytes > maxBytes) return settle(undefined);
    chunks.push(chunk);
  };
  const end = (): void => settle(chunks.length === 1 ? chunks[0] : Buffer.concat(chunks, bytes));
  req.on('data', take).on('end', end);
}
