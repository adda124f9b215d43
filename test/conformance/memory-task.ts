import { randomUUID } from 'node:crypto';
import { storedJson } from '#protocol/exact-json.js';

export type Json = Readonly<Record<string, unknown>>;

export interface StoredFile {
  readonly attachmentId: string;
  readonly filename: string;
  readonly contentType: string;
  readonly sizeBytes: number;
  readonly sha256: string;
  readonly bytes: Buffer;
  readonly source?: 'worker';
}

export type Run =
  | { readonly state: 'waiting'; readonly from: number; readonly resumes: boolean }
  | { readonly state: 'leased'; readonly token: string; readonly expiresAt: number }
  | { readonly state: 'suspended' }
  | { readonly state: 'over' };

export interface Question {
  readonly payload: Json;
  fate: 'open' | 'answered' | 'expired';
}

const STATUS_AFTER: Readonly<Record<string, string>> = {
  TASK_STARTED: 'RUNNING',
  TASK_COMPLETED: 'COMPLETED',
  TASK_FAILED: 'FAILED',
  TASK_CANCELLED: 'CANCELLED',
};

/** A task in memory: its log, and what follows from it. */
export class MemoryTask {
  readonly taskId = uuidV7();
  readonly createdAt = new Date();
  /** Envelopes as they are sent. */
  readonly log: string[] = [];
  status = 'ACCEPTED';
  attempt = 0;
  spentAttempts = 0;
  /** The last finished step, else the head when the attempt began. Events after it are void when the attempt is lost. */
  attemptBase = 0;
  /** The finished steps by their keys. */
  readonly steps = new Map<string, { readonly result: unknown; readonly eventId: string }>();
  /** The events that keys name in this attempt. */
  readonly keys = new Map<string, string>();
  workerId = '';
  leaseMs = 0;
  batchSeq = 0;
  batch = '';
  batchIds: readonly string[] = [];
  run: Run = { state: 'waiting', from: 0, resumes: false };
  cancelReason: string | undefined;
  rerunOf: string | undefined;
  progress: number | undefined;
  openSuspension: Json | undefined;
  terminal: Json | undefined;
  startedAt: Date | undefined;
  finishedAt: Date | undefined;
  updatedAt = this.createdAt;
  revision = 0;
  readonly questions = new Map<string, Question>();
  readonly receipts = new Map<string, string>();
  readonly answers: Json[] = [];
  /** The call that ended a lease, and its answer, by the lease's token. */
  readonly endings = new Map<string, { readonly call: string; readonly answer: Json }>();
  /** Called with each event. */
  readonly watchers = new Set<() => void>();

  constructor(
    readonly owner: string,
    readonly clientRequestId: string,
    readonly taskType: string,
    readonly input: Json,
    readonly metadata: Json,
    public files: readonly StoredFile[],
    readonly fingerprint: string,
  ) {}

  get isOver(): boolean {
    return this.run.state === 'over';
  }

  get head(): number {
    return this.log.length;
  }

  /** The envelope of the next event, as it would be sent. */
  envelope(type: string, payload: Json): string {
    const { taskId } = this;
    const createdAt = new Date().toISOString();
    return storedJson({ type, taskId, eventId: String(this.log.length + 1), createdAt, payload });
  }

  tell(): void {
    for (const watcher of [...this.watchers]) watcher();
  }

  evolve(type: string, payload: Json): void {
    this.updatedAt = new Date();
    this.revision += 1;
    this.status = STATUS_AFTER[type] ?? this.status;
    if (type === 'TASK_STARTED') this.startedAt = this.updatedAt;
    if (type === 'TASK_COMPLETED') this.progress = 100;
    if (type === 'TASK_PROGRESS') this.progress = payload['progress'] as number;
    if (type === 'TASK_SUSPENDED') this.openSuspension = payload;
    if (type === 'TASK_ACTION_ACCEPTED') this.openSuspension = undefined;
    if (!['COMPLETED', 'FAILED', 'CANCELLED'].includes(this.status)) return;
    this.openSuspension = undefined;
    this.terminal = payload;
    this.finishedAt = this.updatedAt;
    this.run = { state: 'over' };
  }

  /** Whether a limit keeps it from running. */
  isHeld: () => boolean = () => false;

  get waitingFor(): string | undefined {
    if (this.openSuspension) return 'answer';
    if (this.run.state !== 'waiting') return undefined;
    if (this.run.from > Date.now()) return this.timeFor;
    return this.isHeld() ? 'concurrency' : undefined;
  }

  get timeFor(): string {
    return this.attempt === 0 ? 'start_time' : 'retry';
  }

  summary(maxAttempts: number): Json {
    const { progress, openSuspension, startedAt, finishedAt, status, terminal } = this;
    return {
      taskId: this.taskId,
      clientRequestId: this.clientRequestId,
      taskType: this.taskType,
      status,
      metadata: this.metadata,
      attachments: this.files.map(({ bytes: _, ...file }) => file),
      attempt: this.attempt,
      attemptsLeft: this.isOver ? 0 : Math.max(1, maxAttempts - this.spentAttempts),
      cancellationRequested: this.cancelReason !== undefined,
      ...(this.waitingFor !== undefined && { waitingFor: this.waitingFor }),
      ...(this.rerunOf !== undefined && { rerunOf: this.rerunOf }),
      ...(progress !== undefined && { progress }),
      ...(openSuspension && { openSuspension }),
      ...(status === 'COMPLETED' && { result: terminal?.['result'] }),
      ...(status === 'FAILED' && { failure: terminal }),
      headEventId: String(this.head),
      createdAt: this.createdAt.toISOString(),
      updatedAt: this.updatedAt.toISOString(),
      ...(startedAt && { startedAt: startedAt.toISOString() }),
      ...(finishedAt && { finishedAt: finishedAt.toISOString() }),
    };
  }
}

function uuidV7(): string {
  const time = Date.now().toString(16).padStart(12, '0');
  return `${time.slice(0, 8)}-${time.slice(8)}-7${randomUUID().slice(15)}`;
}
