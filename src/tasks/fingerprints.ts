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

/** What makes a create the request that it is. */
export interface TaskContent {
  readonly taskType: string;
  readonly input?: JsonText;
  /** Files, in the order of the request. */
  readonly files?: readonly { readonly filename: string; readonly contentType: string; readonly sha256: string }[];
}

/** What makes an action the request that it is. */
export interface ActionContent {
  readonly suspendId: string;
  readonly actionType: string;
  readonly payload?: JsonText;
}

export function fingerprintsOfTask({
  metadata,
  ...content
}: TaskContent & { readonly metadata?: JsonText }): Fingerprints {
  const ofContent = fingerprintOfTask(content);
  return { whole: metadata ? digest({ ...partsOf(content), metadata }) : ofContent, content: ofContent };
}

export function fingerprintOfTask(content: TaskContent): string {
  return digest(partsOf(content));
}

function partsOf({ taskType, input, files = [] }: TaskContent) {
  const attachments = files.map(({ filename, contentType, sha256 }) => ({ filename, contentType, sha256 }));
  return { taskType, ...(input && { input }), attachments };
}

const NO_PAYLOAD = new JsonText('{}', '{}');

/** An action without a payload is the one with an empty payload: its executor gets the same. */
export function fingerprintsOfAction(action: ActionContent & { readonly metadata?: JsonText }): Fingerprints {
  const { suspendId, actionType, payload, metadata } = action;
  const whole = { suspendId, actionType, ...(payload && { payload }), ...(metadata && { metadata }) };
  return { whole: digest(whole), content: fingerprintOfAction(action) };
}

export function fingerprintOfAction({ suspendId, actionType, payload = NO_PAYLOAD }: ActionContent): string {
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
