import type { Frame } from '#protocol/frames.js';
import { MAX_CHANGES_CURSOR_LENGTH, MAX_SENT_FRAME_BYTES, SHOWN_OUTPUT } from '#protocol/limits.js';
import type { ChangedTask, TaskSnapshot, TaskSummary } from '#protocol/snapshots.js';
import { JsonText, type WithText, writeObject } from '../../../json/json-text.js';
import type { OutputSoFar } from '../../domain/output-so-far.js';
import type { TaskView } from '../../store/read-task-view.js';

/** The members of the output but the texts, and the lines of SSE. */
const AROUND_OUTPUT_BYTES = 256;
/** The type of a change, its cursor twice, and the lines of SSE. */
const AROUND_TASK_BYTES = 256 + 2 * MAX_CHANGES_CURSOR_LENGTH;

const EMPTY = new JsonText('{}');

/** The JSON of a `TaskSummary`. Absent optional members are absent, never null. */
export function taskSummary(view: TaskView): string {
  return writeObject(summarised(view));
}

/** The JSON of a `TaskSnapshot`, with output where it is given. */
export function taskSnapshot(view: TaskView, output?: OutputSoFar): string {
  return writeObject({
    ...summarised(view),
    input: view.input ?? EMPTY,
    ...(view.questions && { questions: view.questions }),
    ...(view.reruns && view.reruns.length > 0 && { reruns: view.reruns }),
    ...output?.within(SHOWN_OUTPUT.bytes).members,
  } satisfies WithText<TaskSnapshot>);
}

/** The JSON of the frame TASK_SNAPSHOT. What a page shows of an ended task goes first: its result, then its texts, then metadata. */
export function snapshotFrame({ view, output }: { readonly view: TaskView; readonly output: OutputSoFar }): string {
  const { metadata, result, ...rest } = summarised(view);
  const members = { type: 'TASK_SNAPSHOT' as const, ...rest };
  let room = MAX_SENT_FRAME_BYTES - AROUND_OUTPUT_BYTES - bytesOf(members);
  const fitting = <Member extends object>(member: Member): Partial<Member> => {
    const bytes = bytesOf(member);
    if (bytes > room) return {};
    room -= bytes;
    return member;
  };
  const ended = result ? fitting({ result }) : {};
  const shown = output.within(Math.min(SHOWN_OUTPUT.bytes, room)).members;
  room -= bytesOf(shown);
  return writeObject({ ...members, ...ended, ...shown, ...fitting({ metadata }) } satisfies WithText<
    Frame<'TASK_SNAPSHOT'>
  >);
}

/** The JSON of a `ChangedTask`: without input, result and attachments, and without metadata that has no room in a frame. */
export function changedTask(view: TaskView): string {
  const { metadata, ...state } = stateOf(view);
  const whole = writeObject({ ...state, metadata } satisfies WithText<ChangedTask>);
  return Buffer.byteLength(whole) > MAX_SENT_FRAME_BYTES - AROUND_TASK_BYTES ? writeObject(state) : whole;
}

function bytesOf(members: object): number {
  return Buffer.byteLength(writeObject(members));
}

function summarised(view: TaskView): WithText<TaskSummary> {
  const { attachments, result } = view;
  return { ...stateOf(view), attachments, ...(result && { result }) };
}

function stateOf(view: TaskView): WithText<Omit<TaskSummary, 'attachments' | 'result'>> {
  return {
    taskId: view.identity.taskId,
    clientRequestId: view.identity.clientRequestId,
    taskType: view.identity.taskType,
    status: view.status,
    ...(view.showsOwner && { ownerId: view.identity.ownerId }),
    ...(view.showsOwner && view.identity.tenantId !== '' && { tenantId: view.identity.tenantId }),
    metadata: view.metadata ?? EMPTY,
    attempt: view.attempt,
    attemptsLeft: view.attemptsLeft,
    cancellationRequested: view.cancellationRequested,
    ...(view.asideCode !== null && { aside: { code: view.asideCode } }),
    ...(view.waitingFor !== null && { waitingFor: view.waitingFor }),
    ...(view.rerunOf !== null && { rerunOf: view.rerunOf }),
    ...(view.progress !== null && { progress: view.progress }),
    ...(view.openSuspension && { openSuspension: view.openSuspension }),
    ...(view.failure && { failure: view.failure }),
    headEventId: String(view.headEventId),
    createdAt: view.createdAt.toISOString(),
    updatedAt: view.updatedAt.toISOString(),
    ...(view.startedAt && { startedAt: view.startedAt.toISOString() }),
    ...(view.finishedAt && { finishedAt: view.finishedAt.toISOString() }),
  };
}
