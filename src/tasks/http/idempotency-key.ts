import type { IncomingMessage } from 'node:http';
import { createParamDecorator, type ExecutionContext } from '@nestjs/common';
import { CLIENT_REQUEST_ID, clientRequestIdFrom } from '#protocol/ids.js';
import { InvalidRequest } from '../../errors.js';

/** What an `Idempotency-Key` header names. */
export interface SentKey {
  readonly clientRequestId: string;
  /** With its quotes. Release 0.1.0 took them for a part of the key. Absent where there are none. */
  readonly quoted?: string;
}

/** A string of RFC 9651, 3.3.3, which may have other characters than those of ASCII. */
const QUOTED = /^"((?:[^"\\]|\\["\\])*)"$/u;
const UTF_8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** @throws InvalidRequest where it is malformed. Undefined where there is none. */
export function idempotencyKeyOf({ headersDistinct }: IncomingMessage): SentKey | undefined {
  const [sent, ...others] = headersDistinct['idempotency-key'] ?? [];
  if (sent === undefined) return undefined;
  const key = others.length === 0 ? keyFrom(sent) : undefined;
  if (key === undefined)
    throw new InvalidRequest(`Idempotency-Key must be ${CLIENT_REQUEST_ID.title} in UTF-8, given once.`);
  return key;
}

function keyFrom(header: string): SentKey | undefined {
  const text = utf8From(header);
  const within = QUOTED.exec(text ?? '')?.[1];
  const clientRequestId = clientRequestIdFrom(within?.replace(/\\(["\\])/g, '$1') ?? text ?? '');
  if (clientRequestId === undefined) return undefined;
  return { clientRequestId, ...(within !== undefined && { quoted: text as string }) };
}

/** Node reads each byte of a header as one character. */
function utf8From(header: string): string | undefined {
  try {
    return UTF_8.decode(Buffer.from(header, 'latin1'));
  } catch {
    return undefined;
  }
}

/** The `Idempotency-Key` header of the request. Undefined where there is none. */
export const IdempotencyKey = createParamDecorator((_: unknown, context: ExecutionContext): SentKey | undefined =>
  idempotencyKeyOf(context.switchToHttp().getRequest<IncomingMessage>()),
);
