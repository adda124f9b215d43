import { within } from '../deadline.js';
import { DiagLogLevel, diag } from '@opentelemetry/api';
import { boundedText } from './bounded-text.js';
import { recordNewStories } from './correlation.js';
import type { Log } from './log.js';
import type { RunningTracing, TracingOptions } from './tracing-sdk.js';

/** A dead collector must not delay the exit after a drain. */
const FLUSH_SECONDS = 2;

let running: RunningTracing | undefined;

/** Call it before the import of any traced module. Without the call the SDK is not loaded. */
export async function startTracing(options: TracingOptions): Promise<void> {
  const { startSdk } = await import('./tracing-sdk.js');
  running = startSdk(options);
  recordNewStories();
}

/** Sends the recorded spans, as far as there is time. The last step of a drain. Never rejects. */
export async function shutdownTracing(): Promise<void> {
  const stopping = running?.shutdown().catch(() => {});
  running = undefined;
  if (stopping === undefined) return;
  await within(FLUSH_SECONDS * 1000, stopping);
}

/** Without this a dead collector causes no line. A line for each batch would be too many. */
const PROBLEM_MILLISECONDS = 60_000;

export function logTracingProblems(log: Log): void {
  let silentUntil = 0;
  const problem = (text: string) => {
    if (performance.now() < silentUntil) return;
    silentUntil = performance.now() + PROBLEM_MILLISECONDS;
    log.warn({ text: boundedText(text, 500) }, 'tracing.problem');
  };
  const nothing = () => {};
  diag.setLogger(
    { error: problem, warn: problem, info: nothing, debug: nothing, verbose: nothing },
    { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true },
  );
}
