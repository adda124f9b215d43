import { setTimeout as delay } from 'node:timers/promises';
import { DiagLogLevel, diag } from '@opentelemetry/api';
import { boundedText } from './bounded-text.js';
import type { Log } from './log.js';

export interface TracingOptions {
  readonly exporter: 'none' | 'console' | 'otlp';
  readonly serviceName: string;
  /** 0 to 1: the share of traces that is recorded. */
  readonly samplerRatio: number;
}

export interface RunningTracing {
  shutdown(): Promise<void>;
}

/** A collector that is gone must not hold up the exit of a drain. */
const FLUSH_SECONDS = 2;

let running: RunningTracing | undefined;

/** Before anything that is to be traced is imported. Without an exporter the SDK is not even loaded. */
export async function startTracing(options: TracingOptions): Promise<void> {
  if (options.exporter === 'none') return;
  const { startSdk } = await import('./tracing-sdk.js');
  running = startSdk(options);
}

/** Sends what was recorded, as far as there is time. The last step of a drain. Never rejects. */
export async function shutdownTracing(): Promise<void> {
  const stopping = running?.shutdown().catch(() => {});
  running = undefined;
  if (stopping === undefined) return;
  const timer = new AbortController();
  await Promise.race([stopping, delay(FLUSH_SECONDS * 1000, undefined, { signal: timer.signal }).catch(() => {})]);
  timer.abort();
}

/** A collector that cannot be reached is otherwise silent. */
export function logTracingProblems(log: Log): void {
  const problem = (text: string) => log.warn({ text: boundedText(text, 500) }, 'tracing.problem');
  const nothing = () => {};
  diag.setLogger(
    { error: problem, warn: problem, info: nothing, debug: nothing, verbose: nothing },
    { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true },
  );
}
