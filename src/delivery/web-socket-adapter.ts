import type { IncomingMessage } from 'node:http';
import type { INestApplicationContext } from '@nestjs/common';
import { WsAdapter } from '@nestjs/platform-ws';
import { errorBody, httpStatusOf } from '../http/error-body.js';
import { MalformedJson, ServiceUnavailable } from '../http/http.errors.js';
import { OriginPolicy } from '../http/origin-policy.js';
import { parseStrictJson } from '../http/strict-json.js';
import { storyFrom } from '../observability/correlation.js';
import { TaskBridgeError } from '../taskbridge-error.js';
import { FrameRefused } from './delivery.errors.js';
import { MULTIPLEX } from './multiplex-writer.js';
import type { Streams } from './streams.js';

/** Bytes of one client frame; more is answered with 1009. */
const MAX_FRAME_BYTES = 64 * 1024;

/** Where frames go that no handler may see. No client can name it: the parser alone hands out events. */
export const REFUSED = 'refused';
const ACTIONS: ReadonlySet<unknown> = new Set(['subscribe', 'unsubscribe']);

/** The `ws` server under Nest's gateways: what is refused before the upgrade, and how a frame becomes an event. */
export class WebSocketAdapter extends WsAdapter {
  constructor(
    app: INestApplicationContext,
    private readonly origins: OriginPolicy,
    private readonly streams: Streams,
  ) {
    super(app, { messageParser: (data) => messageOf(data as unknown) });
  }

  override create(port: number, options: Parameters<WsAdapter['create']>[1]): unknown {
    return super.create(port, {
      ...options,
      maxPayload: MAX_FRAME_BYTES,
      perMessageDeflate: false,
      // `ws` would take the first one offered, whatever it is.
      handleProtocols: (offered: ReadonlySet<string>) => offered.has(MULTIPLEX) && MULTIPLEX,
      verifyClient: (
        { req }: { req: IncomingMessage },
        done: (ok: boolean, status?: number, body?: string, headers?: Record<string, string>) => void,
      ) => {
        try {
          this.origins.check(req);
          if (this.streams.isDraining) throw new ServiceUnavailable(1);
          done(true);
        } catch (error) {
          if (!(error instanceof TaskBridgeError)) throw error;
          const { correlationId } = storyFrom(req.headers.traceparent as string | undefined);
          done(false, httpStatusOf(error.kind), JSON.stringify(errorBody(error, correlationId)), {
            'Content-Type': 'application/json; charset=utf-8',
            'X-Correlation-Id': correlationId,
          });
        }
      },
    });
  }
}

function messageOf(data: unknown): { event: string; data: unknown } {
  if (typeof data !== 'string') return { event: REFUSED, data: new FrameRefused('binary') };
  try {
    const frame = parseStrictJson(data);
    const action = typeof frame === 'object' && frame !== null && !Array.isArray(frame) ? frame['action'] : undefined;
    if (!ACTIONS.has(action)) return { event: REFUSED, data: new FrameRefused('unknown_action') };
    return { event: action as string, data: frame };
  } catch (error) {
    if (!(error instanceof MalformedJson)) throw error;
    return { event: REFUSED, data: error };
  }
}
