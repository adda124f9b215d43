import { Injectable } from '@nestjs/common';
import { context, type Span, SpanStatusCode, trace } from '@opentelemetry/api';
import { TaskBridgeError } from '../errors.js';
import { boundedText } from './bounded-text.js';
import { currentStory, runInStory, storyFrom } from './correlation.js';
import { errorFields, Log } from './log.js';
import { MetricsSink } from './metrics-sink.js';
import { ObservabilityConfig } from './observability.config.js';
import { RecentLines } from './recent-lines.js';
import { markReported } from './reported.js';

/** The subject of a use-case, in the words of its log lines. */
export interface About {
  readonly principalId: string;
  readonly taskId?: string;
  readonly clientRequestId?: string;
  /** The id of the newest stored event. */
  readonly eventId?: string;
  readonly transport?: string;
  /** For internal commands of high frequency: `.start` and `.success` at debug level. */
  readonly quiet?: boolean;
}

/** Adds fields that are known only later. `outcome` is one of a few words, such as `created` or `deduplicated`. */
export type Note = (fields: Partial<About> & { readonly outcome?: string }) => void;

type Kind = 'command' | 'query';
type Outcome = 'success' | 'denied' | 'failed';

const tracer = trace.getTracer('taskbridge');

/**
 * The one place where a use-case is logged (`<name>.start`, then `.success`, `.denied` for a TaskBridgeError, or `.failed`),
 * spanned (`tasks.command.<name>`) and measured. It rethrows the errors of `work`.
 */
@Injectable()
export class Observer {
  constructor(
    private readonly log: Log,
    private readonly metrics: MetricsSink,
    private readonly config: ObservabilityConfig,
    private readonly recent: RecentLines,
  ) {}

  /** `name` is a verb and a noun in snake case, one of a fixed set: it becomes a label. */
  command<T>(name: string, about: About, work: (note: Note) => Promise<T>): Promise<T> {
    return this.observe('command', name, about, work);
  }

  query<T>(name: string, about: About, work: (note: Note) => Promise<T>): Promise<T> {
    return this.observe('query', name, about, work);
  }

  private observe<T>(kind: Kind, name: string, about: About, work: (note: Note) => Promise<T>): Promise<T> {
    return tracer.startActiveSpan(`tasks.${kind}.${name}`, {}, context.active(), async (span) => {
      const run = () => this.run(span, kind, name, about, work);
      return currentStory() === undefined ? runInStory(storyFrom(undefined), run) : run();
    });
  }

  private async run<T>(
    span: Span,
    kind: Kind,
    name: string,
    about: About,
    work: (note: Note) => Promise<T>,
  ): Promise<T> {
    let known: About & { readonly outcome?: string } = about;
    const startedAt = performance.now();
    const level = about.quiet ? 'debug' : this.config.useCaseLevel;
    const end = (outcome: Outcome): object => {
      const seconds = (performance.now() - startedAt) / 1000;
      this.metrics.observe('use_case_duration_seconds', seconds, { use_case: name, outcome });
      span.setAttributes(attributesOf(known));
      return { outcome, ...fieldsOf(kind, name, known), duration_ms: Math.round(seconds * 1e5) / 100 };
    };
    this.log[level](fieldsOf(kind, name, about), `${name}.start`);
    try {
      const result = await work((fields) => {
        known = { ...known, ...fields };
      });
      const fields = end('success');
      // For every use-case: a repeated request gets the first answer again.
      if (/^deduplicated$/i.test(known.outcome ?? ''))
        this.log.info(fieldsOf(kind, name, known), 'idempotency.cache_hit');
      this.log[level](fields, `${name}.success`);
      if (!about.quiet) this.keep(this.config.useCaseLevel, `${name}.success`, fields);
      return result;
    } catch (error) {
      if (error instanceof TaskBridgeError) this.denied(span, name, { ...end('denied'), outcome: 'denied' }, error);
      else this.failed(span, name, { ...end('failed'), outcome: 'failed' }, error);
      throw error;
    } finally {
      span.end();
    }
  }

  /** A refusal is an answer. An unavailable dependency is our fault, not the caller's, so its cause is logged. */
  private denied(span: Span, name: string, fields: object, error: TaskBridgeError): void {
    span.setAttribute('taskbridge.error.code', error.code);
    const unavailable = error.kind === 'unavailable';
    const level = unavailable ? 'warn' : 'info';
    if (unavailable) span.setStatus({ code: SpanStatusCode.ERROR, message: error.code });
    const said = { ...fields, code: error.code };
    this.log[level]({ ...said, ...(unavailable && { err: error }) }, `${name}.denied`);
    this.keep(level, `${name}.denied`, said);
  }

  private failed(span: Span, name: string, fields: object, error: unknown): void {
    span.setStatus({ code: SpanStatusCode.ERROR, message: 'INTERNAL_ERROR' });
    this.log.error({ ...fields, err: error ?? null }, `${name}.failed`);
    this.keep('error', `${name}.failed`, { ...fields, err: errorFields(error) });
    markReported(error);
  }

  private keep(level: string, event: string, fields: object): void {
    this.recent.add({ level, event, correlationId: currentStory()?.correlationId ?? null, fields });
  }
}

/** Runs `work` in a span, for slow steps that are no use-case. */
export async function inSpan<T>(name: string, about: About, work: () => Promise<T>): Promise<T> {
  return tracer.startActiveSpan(name, { attributes: attributesOf(about) }, async (span) => {
    try {
      return await work();
    } finally {
      span.end();
    }
  });
}

function fieldsOf(kind: Kind, name: string, about: About & { readonly outcome?: string }): object {
  const { principalId, taskId, eventId, clientRequestId, transport, outcome } = about;
  return {
    [`${kind}_name`]: name,
    principal_id: boundedText(principalId),
    ...(taskId !== undefined && { taskId: boundedText(taskId) }),
    ...(eventId !== undefined && { eventId }),
    ...(clientRequestId !== undefined && { clientRequestId: boundedText(clientRequestId) }),
    ...(transport !== undefined && { transport }),
    ...(outcome !== undefined && { outcome }),
  };
}

function attributesOf({ principalId, taskId, transport }: About): Record<string, string> {
  return {
    'taskbridge.principal.id': boundedText(principalId),
    ...(taskId !== undefined && { 'taskbridge.task.id': boundedText(taskId) }),
    ...(transport !== undefined && { 'taskbridge.transport': transport }),
  };
}
