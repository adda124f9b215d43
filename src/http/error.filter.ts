import { type ArgumentsHost, Catch, type ExceptionFilter } from '@nestjs/common';
import type { Request, Response } from 'express';
import { tangible } from '#handler/tangible.js';
import { currentCorrelationId } from '../observability/correlation.js';
import { Log } from '../observability/log.js';
import { isReported } from '../observability/reported.js';
import { clientLeft } from './client-left.js';
import { errorBody } from './error-body.js';
import { announcesBody } from './json-edge.js';
import { lingerAfterAnswer } from './lingering-close.js';
import { type Refusal, refusalOf } from './refusal.js';

/** Headers about the content of an answer that a refusal replaces. */
const HEADERS_OF_CONTENT = [
  'Accept-Ranges',
  'Content-Disposition',
  'Content-Encoding',
  'Content-Range',
  'ETag',
  'Last-Modified',
  'Location',
];

/** Turns every error of an HTTP request, from the first middleware on, into an answer. Never throws. */
@Catch()
export class ErrorFilter implements ExceptionFilter {
  constructor(private readonly log: Log) {}

  catch(thrown: unknown, host: ArgumentsHost): void {
    const error = tangible(thrown);
    const http = host.switchToHttp();
    const req = http.getRequest<Request>();
    const res = http.getResponse<Response>();
    // After a client has hung up, failures follow from that, and no client waits for an answer.
    if (clientLeft(req, res, error)) return;
    try {
      const refusal = refusalOf(error, req);
      if (refusal.status === 500 && !isReported(error)) {
        this.log.error({ method: req.method, err: error ?? null }, 'http_request.failed');
      }
      const event = rejectionOf(refusal);
      if (event !== undefined) this.log.info({ method: req.method, code: refusal.code }, event);
      if (res.headersSent) cutOff(res);
      else {
        // The rest of a body that was left on the wire for a route, and that the route did not read.
        if (announcesBody(req) && !req.complete) lingerAfterAnswer(req, res);
        answer(res, refusal);
      }
    } catch (fault) {
      this.log.error({ err: fault }, 'error_filter.failed');
      res.destroy();
    }
  }
}

/** An answer under way can only be cut off, so that the client sees it. */
function cutOff(res: Response): void {
  if (!res.writableEnded) res.destroy();
}

function answer(res: Response, { status, code, message, details, headers }: Refusal): void {
  // The same id as in the header, also when the error comes from a callback outside of the story.
  let correlationId = res.getHeader('X-Correlation-Id');
  if (typeof correlationId !== 'string') {
    correlationId = currentCorrelationId();
    res.setHeader('X-Correlation-Id', correlationId);
  }
  const body = JSON.stringify(errorBody({ code, message, details }, correlationId));
  for (const name of HEADERS_OF_CONTENT) res.removeHeader(name);
  res.statusCode = status;
  res.setHeader('Content-Type', 'application/json; charset=utf-8');
  res.setHeader('Content-Length', Buffer.byteLength(body));
  // A shared cache may keep a 404 otherwise (RFC 9111, 4.2.2), and the task may exist a moment later.
  res.setHeader('Cache-Control', 'no-store');
  for (const [name, value] of Object.entries(headers)) res.setHeader(name, value);
  res.end(body);
}

/** The event of a refusal before any use-case, which therefore logs nothing itself. */
function rejectionOf({ status }: Refusal) {
  if (status === 401) return 'authentication.rejected';
  return status === 413 ? 'body_size_limit.rejected' : undefined;
}
