import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { PayloadTooLarge, type TaskBridgeError, UnsupportedMediaType } from '../errors.js';
import { checkedBody, type JsonBody } from '../json/json-body.js';
import { isClosing, lingerAfterAnswer } from './lingering-close.js';

export interface JsonEdgeOptions {
  /** A larger body is refused, before it is sent if its length is announced. */
  readonly maxBytes: number;
  /** The requests whose body is left on the wire for the route to read. Defaults to none. */
  readonly leavesBody?: (req: IncomingMessage) => boolean;
}

type EdgeRequest = IncomingMessage & { body?: unknown };
type Next = (error?: unknown) => void;

const METHODS_WITH_BODY: ReadonlySet<string | undefined> = new Set(['POST', 'PUT', 'PATCH', 'DELETE']);

/**
 * Accepts any parameters, because RFC 8259 defines none and lets receivers ignore them, but every charset has to be UTF-8. No two
 * neighbours of the pattern match the same text, so a client's header cannot cause backtracking.
 */
const JSON_IN_UTF8 =
  /^application\/json[ \t]*(?:;[ \t]*(?:(?:charset=(?:utf-8|"utf-8")|(?!charset=)[\w!#$%&'*+.^`|~-]+=(?:[\w!#$%&'*+.^`|~-]+|"(?:[^"\\]|\\.)*"))[ \t]*)?)*$/i;
const MULTIPART = /^multipart\/form-data[ \t]*(?:;|$)/i;

const awaitingContinue = new WeakSet<IncomingMessage>();

/** Asks the client for the body that it announced with `Expect: 100-continue`. Other clients have sent it already. */
export function askForBody(req: IncomingMessage, res: ServerResponse): void {
  if (awaitingContinue.delete(req)) res.writeContinue();
}

/**
 * Lets the edge answer `Expect: 100-continue`, so it can refuse a body before the client sends it. Otherwise Node asks for every
 * body.
 */
export function leaveContinueToEdge(server: Server): void {
  server.on('checkContinue', (req: IncomingMessage, res: ServerResponse) => {
    awaitingContinue.add(req);
    server.emit('request', req, res);
  });
}

/**
 * Middleware that puts a checked JSON object into `req.body`, or undefined when there is no body, and passes every refusal to
 * `next` as a TaskBridgeError. When the client leaves within its body, `next` is not called: no client waits for an answer, and
 * no work has begun. It runs before everything that reads a body. Nest's own parser has to be off.
 *
 * Not body-parser: it drains a refused body to its end before it answers, so an endless one is never answered.
 */
export function jsonEdge(options: JsonEdgeOptions) {
  return (req: EdgeRequest, res: ServerResponse, next: Next): void => {
    req.body = undefined;
    // RFC 9112, 9.6: requests pipelined behind a request that closes the connection are not processed.
    if (isClosing(req.socket)) return;
    if (!announcesBody(req)) return next();
    if (!METHODS_WITH_BODY.has(req.method)) {
      // No route reads the body of a GET, so an endless one would stay unnoticed.
      lingerAfterAnswer(req, res);
      return next();
    }
    const refuse = (error: TaskBridgeError): void => {
      lingerAfterAnswer(req, res);
      next(error);
    };

    const refusal = refusalByHeaders(req, options);
    if (refusal) return refuse(refusal);
    // The reader asks for the body when it decides to read it.
    if (options.leavesBody?.(req)) return next();
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
  if (options.leavesBody?.(req)) return undefined;
  if (!JSON_IN_UTF8.test(headers['content-type'] ?? '')) {
    return new UnsupportedMediaType('The body has to be application/json in UTF-8');
  }
  if (Number(headers['content-length'] ?? 0) > options.maxBytes) return new PayloadTooLarge(options.maxBytes);
  return undefined;
}

/** Calls back with the body, or with undefined as soon as it is too large. It does not call back when the body is cut off. */
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
