import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer, json } from 'node:stream/consumers';
import { createGunzip } from 'node:zlib';

/** A span as it was exported, with attributes as plain values. */
export interface ReceivedSpan {
  readonly name: string;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  /** The library that made it, such as `@opentelemetry/instrumentation-pg`. */
  readonly scope: string;
  readonly attributes: Readonly<Record<string, unknown>>;
  /** The trace ids that it is linked to. */
  readonly links: readonly string[];
  readonly resource: Readonly<Record<string, unknown>>;
}

interface Attribute {
  readonly key: string;
  readonly value: Readonly<Record<string, unknown>>;
}

interface Request {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: readonly Attribute[] };
    readonly scopeSpans: readonly {
      readonly scope: { readonly name: string };
      readonly spans: readonly {
        readonly name: string;
        readonly traceId: string;
        readonly spanId: string;
        readonly parentSpanId?: string;
        readonly attributes: readonly Attribute[];
        readonly links?: readonly { readonly traceId: string }[];
      }[];
    }[];
  }[];
}

export interface OtlpReceiver {
  readonly endpoint: string;
  readonly spans: readonly ReceivedSpan[];
  /** The headers of each export. */
  readonly headers: readonly NodeJS.Dict<string | string[]>[];
  /** Bodies that were not JSON, uncompressed. */
  readonly binary: readonly Buffer[];
  stop(): Promise<void>;
}

/** The parts of a collector that OTLP over HTTP needs: it parses JSON, and keeps protobuf as it came. */
export async function startOtlpReceiver(): Promise<OtlpReceiver> {
  const spans: ReceivedSpan[] = [];
  const headers: NodeJS.Dict<string | string[]>[] = [];
  const binary: Buffer[] = [];
  const server = createServer((req, res) => {
    if (req.method !== 'POST' || req.url !== '/v1/traces') return void res.writeHead(404).end();
    headers.push(req.headers);
    const content = req.headers['content-encoding'] === 'gzip' ? req.pipe(createGunzip()) : req;
    if (req.headers['content-type'] === 'application/x-protobuf') {
      void buffer(content).then((bytes) => {
        binary.push(bytes);
        res.writeHead(200, { 'Content-Type': 'application/x-protobuf' }).end();
      });
      return;
    }
    void json(content).then((body) => {
      spans.push(...spansOf(body as Request));
      res.writeHead(200, { 'Content-Type': 'application/json' }).end('{}');
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    spans,
    headers,
    binary,
    async stop() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function spansOf({ resourceSpans }: Request): ReceivedSpan[] {
  return resourceSpans.flatMap(({ resource, scopeSpans }) =>
    scopeSpans.flatMap(({ scope, spans }) =>
      spans.map(({ name, traceId, spanId, parentSpanId, attributes, links = [] }) => ({
        name,
        traceId,
        spanId,
        ...(parentSpanId && { parentSpanId }),
        scope: scope.name,
        attributes: plain(attributes),
        links: links.map((link) => link.traceId),
        resource: plain(resource.attributes),
      })),
    ),
  );
}

function plain(attributes: readonly Attribute[]): Readonly<Record<string, unknown>> {
  return Object.fromEntries(attributes.map(({ key, value }) => [key, Object.values(value)[0]]));
}
