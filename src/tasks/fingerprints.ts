import { createHash } from 'node:crypto';
import { canonicalJson, type CanonicalPart } from '../json/canonical-json.js';
import { checkedText } from '../json/json-body.js';
import { JsonText } from '../json/json-text.js';

/** Fingerprints of one request: SHA-256 over canonical JSON, lower-case hex. Equal for any order of members. */
export interface Fingerprints {
  /** With `metadata`, as release 0.1.0 has it. Written as long as its replicas may compare it. */
  readonly whole: string;
  /** Without `metadata`, where clients put times and trace ids. Equal content is the same request. */
  readonly content: string;
}

export interface TaskFingerprints extends Fingerprints {
  /** The content as a row of release 0.1.0 has it: that release gives a file another type when the request names none. */
  readonly earlierContent: string;
}

/** What makes a create the request that it is. */
export interface TaskContent {
  readonly taskType: string;
  readonly input?: JsonText;
  /** Files, in the order of the request. */
  readonly files?: readonly FileContent[];
}

interface FileContent {
  readonly filename: string;
  readonly contentType: string;
  readonly sha256: string;
  /** Instead of `contentType`, for release 0.1.0. */
  readonly earlierType?: string;
}

/** What makes an action the request that it is. */
export interface ActionContent {
  readonly suspendId: string;
  readonly actionType: string;
  readonly payload?: JsonText;
}

const NO_MEMBERS = new JsonText('{}', '{}');

export function fingerprintsOfTask({
  metadata,
  ...task
}: TaskContent & { readonly metadata?: JsonText }): TaskFingerprints {
  const content = fingerprintOfTask(task);
  const earlier = { ...task, files: task.files?.map(asEarlier) ?? [] };
  const isTyped = !task.files?.some(({ earlierType }) => earlierType !== undefined);
  const isWhole = isTyped && task.input !== undefined && metadata === undefined;
  return {
    content,
    earlierContent: isTyped ? content : fingerprintOfTask(earlier),
    whole: isWhole ? content : digest({ ...partsOf(earlier), ...(metadata && { metadata }) }),
  };
}

/** A task without an input is the one with an empty input: its handler gets the same. */
export function fingerprintOfTask(task: TaskContent): string {
  return digest({ input: NO_MEMBERS, ...partsOf(task) });
}

/** What makes a run again the request that it is. No create has the same. */
export function fingerprintOfRerun(rerun: {
  readonly rerunOf: string;
  readonly input?: JsonText;
  readonly keepSteps?: boolean;
}): string {
  const { rerunOf, input, keepSteps = false } = rerun;
  return digest({ rerunOf, keepSteps: String(keepSteps), ...(input && { input }) });
}

function partsOf({ taskType, input, files = [] }: TaskContent) {
  const attachments = files.map(({ filename, contentType, sha256 }) => ({ filename, contentType, sha256 }));
  return { taskType, ...(input && { input }), attachments };
}

function asEarlier(file: FileContent): FileContent {
  return { ...file, contentType: file.earlierType ?? file.contentType };
}

/** An action without a payload is the one with an empty payload: its executor gets the same. */
export function fingerprintsOfAction(action: ActionContent & { readonly metadata?: JsonText }): Fingerprints {
  const { suspendId, actionType, payload, metadata } = action;
  const whole = { suspendId, actionType, ...(payload && { payload }), ...(metadata && { metadata }) };
  return { whole: digest(whole), content: fingerprintOfAction(action) };
}

export function fingerprintOfAction({ suspendId, actionType, payload = NO_MEMBERS }: ActionContent): string {
  return digest({ suspendId, actionType, payload });
}

/** A stored JSON text as the check of a request makes it. Undefined where the service would refuse it today: no request equals it. */
export async function comparable(json: string): Promise<JsonText | undefined> {
  try {
    return await checkedText(json);
  } catch {
    return undefined;
  }
}

function digest(parts: CanonicalPart): string {
  return createHash('sha256').update(canonicalJson(parts)).digest('hex');
}
