import { AsyncLocalStorage } from 'node:async_hooks';
import { randomUUID } from 'node:crypto';
import { context, isSpanContextValid, trace } from '@opentelemetry/api';

/** The origin of the current work. The trace id is the source of truth, `correlationId` is its UUID form. */
export interface Story {
  readonly correlationId: string;
  /** W3C Trace Context, version 00: the value for work that continues later or elsewhere. */
  readonly traceparent: string;
  /** The id of the event that caused this; null where a request from outside did. */
  readonly causationId: string | null;
}

const stories = new AsyncLocalStorage<Story>();

export function currentStory(): Story | undefined {
  return stories.getStore();
}

/**
 * Links the active span to the task's trace, when the span began in another trace: a claim, an answer to a question.
 * `traceparent` is the stored one of the task.
 */
export function linkToStory(traceparent: string | null): void {
  const span = trace.getActiveSpan();
  const parsed = parseTraceparent(traceparent ?? undefined);
  if (parsed === undefined || !span?.isRecording()) return;
  const { traceId, spanId, traceFlags } = spanOf(parsed);
  if (span.spanContext().traceId !== traceId)
    span.addLink({ context: { traceId, spanId, traceFlags, isRemote: true } });
}

/** Outside of a story each call makes a new one. */
export function currentCorrelationId(): string {
  return (currentStory() ?? storyFrom(undefined)).correlationId;
}

/** Spans made within belong to the story's trace, also where the span that is active here does not. */
export function runInStory<T>(story: Story, work: () => T): T {
  const { traceId, spanId, traceFlags } = spanOf(story.traceparent);
  if (trace.getSpanContext(context.active())?.traceId === traceId) return stories.run(story, work);
  const parent = trace.setSpanContext(context.active(), { traceId, spanId, traceFlags, isRemote: true });
  return context.with(parent, () => stories.run(story, work));
}

/** The story of the active span, else of a valid `traceparent` header, else a new one. */
export function storyFrom(traceparentHeader: string | undefined): Story {
  const span = trace.getSpanContext(context.active());
  const traceparent =
    span !== undefined && isSpanContextValid(span)
      ? traceparentOf(span.traceId, span.spanId, span.traceFlags)
      : (parseTraceparent(traceparentHeader) ?? newTraceparent());
  return { correlationId: uuidOf(spanOf(traceparent).traceId), traceparent, causationId: null };
}

/** Continues the stored story of a task or an event. */
export function resumedStory(stored: {
  readonly correlationId: string;
  readonly causationId: string | null;
  readonly traceparent?: string | null;
}): Story {
  const { correlationId, causationId } = stored;
  const traceId = correlationId.replaceAll('-', '').toLowerCase();
  const traceparent = parseTraceparent(stored.traceparent ?? undefined);
  const continues = traceparent !== undefined && spanOf(traceparent).traceId === traceId;
  // Always says sampled, because the trace id decides about recording (see tracing-sdk.ts).
  return { correlationId, causationId, traceparent: continues ? traceparent : traceparentOf(traceId, newSpanId(), 1) };
}

/**
 * Strict, after W3C Trace Context level 2, 3.2: lower case only, no id all zero, version ff is invalid, and only versions after
 * 00 may have text behind the flags. Node joins a doubled header with a comma, and this refuses it.
 */
function parseTraceparent(header: string | undefined): string | undefined {
  const match = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-[\x21-\x7e]*)?$/.exec(header ?? '');
  if (match === null) return undefined;
  const [, version = '', traceId = '', spanId = '', flags = '', more] = match;
  if (version === 'ff' || (version === '00' && more !== undefined)) return undefined;
  if (/^0+$/.test(traceId) || /^0+$/.test(spanId)) return undefined;
  return traceparentOf(traceId, spanId, Number.parseInt(flags, 16));
}

let recordsNewStories = false;

/** With tracing on, a story that begins here is recorded. A WebSocket has no span to take it from. */
export function recordNewStories(): void {
  recordsNewStories = true;
}

/** A random UUID is a valid trace id, and its last half, which begins with the variant, is never zero. */
function newTraceparent(): string {
  return traceparentOf(randomUUID().replaceAll('-', ''), newSpanId(), recordsNewStories ? 1 : 0);
}

function newSpanId(): string {
  return randomUUID().replaceAll('-', '').slice(16);
}

function traceparentOf(traceId: string, spanId: string, flags: number): string {
  return `00-${traceId}-${spanId}-${flags & 1 ? '01' : '00'}`;
}

function spanOf(traceparent: string): { traceId: string; spanId: string; traceFlags: number } {
  return {
    traceId: traceparent.slice(3, 35),
    spanId: traceparent.slice(36, 52),
    traceFlags: Number(traceparent.slice(53)),
  };
}

/** A trace id as a correlation id. */
export function uuidOf(hex: string): string {
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
