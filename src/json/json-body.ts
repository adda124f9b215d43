import { jsonTextOf } from './canonical-json.js';
import { InvalidRequest, MalformedJson } from '../errors.js';
import { isMembers, type Members, membersOf, type Shape, type Taken } from './json-shape.js';
import { NOT_KEPT } from './json-number.js';
import { JsonText } from './json-text.js';
import { jsonThread } from './json-thread.js';
import {
  type CheckedJson,
  checkedJson,
  exactTree,
  type JsonObject,
  type JsonValue,
  parseStrictJson,
} from './strict-json.js';

/** A thread reads larger texts. A text of this size takes some milliseconds in the worst shape. */
const LARGE_BYTES = 64 * 1024;

/** The checked JSON object of a body. Its members are read when the route is known. */
export abstract class JsonBody {
  abstract members(shape: Shape): Taken | Promise<Taken>;
  /**
   * The whole object as a tree, for a route without a shape. The client decides how long that takes.
   * @throws MalformedJson when it has an integer that only a text keeps
   */
  abstract toJSON(): JsonObject;
}

/** At once where the body is small. @throws MalformedJson, InvalidRequest when it is no object, ServiceUnavailable */
export function checkedBody(bytes: Uint8Array): JsonBody | Promise<JsonBody> {
  return bytes.length > LARGE_BYTES ? checkedOnThread(bytes) : new SmallBody(checkedJson(bytes));
}

/** @throws MalformedJson, ServiceUnavailable */
export function checkedText(json: string): JsonText | Promise<JsonText> {
  if (json.length <= LARGE_BYTES) return jsonTextOf(exactTree(checkedJson(json)));
  return jsonThread.run(Buffer.from(json), 'text').then(revivedText);
}

class SmallBody extends JsonBody {
  readonly #object: JsonObject;

  constructor(private readonly checked: CheckedJson) {
    super();
    this.#object = objectOf(exactTree(checked));
  }

  members(shape: Shape): Taken {
    return membersOf(this.#object, shape);
  }

  toJSON(): JsonObject {
    const { bigIntegerAt } = this.checked;
    if (bigIntegerAt !== undefined) throw new MalformedJson(NOT_KEPT, bigIntegerAt);
    return this.#object;
  }
}

class LargeBody extends JsonBody {
  constructor(private readonly bytes: Uint8Array) {
    super();
  }

  async members(shape: Shape): Promise<Taken> {
    const { members, cut } = (await jsonThread.run(this.bytes, shape)) as Taken;
    return { members: revived(members, shape), cut };
  }

  toJSON(): JsonObject {
    return parseStrictJson(this.bytes) as JsonObject;
  }
}

async function checkedOnThread(bytes: Uint8Array): Promise<JsonBody> {
  if (!(await jsonThread.run(bytes, 'check'))) throw noObject();
  return new LargeBody(bytes);
}

function objectOf(value: JsonValue): JsonObject {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) throw noObject();
  return value;
}

function noObject(): InvalidRequest {
  return new InvalidRequest('The body has to be a JSON object');
}

/** The answer of the thread, with its `JsonText`s restored. */
function revived(members: Members, shape: Shape): Members {
  for (const [name, expected] of Object.entries(shape)) {
    if (!Object.hasOwn(members, name)) continue;
    if (expected === 'text') members[name] = revivedText(members[name]);
    if (typeof expected !== 'object') continue;
    const member = members[name];
    for (const one of Array.isArray(member) ? (member as readonly unknown[]) : [member]) {
      if (isMembers(one)) revived(one, expected.listOf);
    }
  }
  return members;
}

function revivedText(value: unknown): JsonText {
  const { json, canonical } = value as JsonText;
  return new JsonText(json, canonical);
}
