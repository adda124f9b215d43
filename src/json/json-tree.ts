import { setImmediate as nextTurn } from 'node:timers/promises';
import { digitsOf, endOfString, marked } from '#protocol/exact-json.js';
import type { JsonText } from './json-text.js';
import type { JsonObject, JsonValue } from './strict-json.js';

const QUOTE = 0x22;
const COMMA = 0x2c;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;

/** Characters that are parsed in one turn of the event loop: a few milliseconds in the worst shape. */
const SLICE = 16 * 1024;

type Parse = (json: string) => unknown;

/**
 * The tree that `JSON.parse` makes of a checked text, for code in this process. A large text is parsed in slices, each in its own
 * turn of the event loop, because a mebibyte of small members would block other work for too long.
 */
export function treeOf({ json }: JsonText, slice = SLICE): Promise<JsonValue> {
  return parsed(json, slice, JSON.parse) as Promise<JsonValue>;
}

/** The same, and each integer that a double does not keep is a `bigint`. */
export function exactTreeOf({ json }: JsonText, slice = SLICE): Promise<unknown> {
  return parsed(json, slice, (piece) => {
    const withMarks = marked(piece);
    return withMarks === piece ? (JSON.parse(piece) as unknown) : (JSON.parse(withMarks, bigInteger) as unknown);
  });
}

function bigInteger(_: string, value: unknown): unknown {
  const digits = digitsOf(value);
  return digits === undefined ? value : BigInt(digits);
}

async function parsed(json: string, slice: number, parse: Parse): Promise<unknown> {
  return json.length <= slice || !/^[[{]/.test(json) ? parse(json) : slicedTree(json, slice, parse);
}

/**
 * For a text as `JSON.stringify` writes it, without white space. Only the containers around the end of a slice are built here.
 */
async function slicedTree(json: string, slice: number, parse: Parse): Promise<unknown> {
  const open: Container[] = [];
  let slicedAt = 0;
  for (let at = 0; ; at += 1) {
    const code = json.charCodeAt(at);
    if (code === QUOTE) {
      at = endOfString(json, at);
    } else if (code === OPEN_BRACKET || code === OPEN_BRACE) {
      open.push(new Container(json, at, parse));
    } else if (code === CLOSE_BRACKET || code === CLOSE_BRACE) {
      const closed = open.pop() as Container;
      const parent = open.at(-1);
      if (closed.tree !== undefined || parent === undefined) closed.take(at);
      if (parent === undefined) return closed.tree;
      if (closed.tree !== undefined) parent.from = at + 1;
    } else if (code === COMMA) {
      const innermost = open.at(-1) as Container;
      if (at - slicedAt >= slice) {
        open.forEach((container, depth) => container.take(at, open[depth + 1]));
        innermost.from = at + 1;
        slicedAt = at;
        await nextTurn();
      } else if (innermost.from === at) {
        innermost.from = at + 1;
      }
      innermost.member = at + 1;
    }
  }
}

/** An array or object that has begun. It has a tree once a slice has ended within it; until then it is part of one around it. */
class Container {
  tree: JsonValue[] | JsonObject | undefined;
  /** Where the members begin that are not in the tree. */
  from: number;
  /** Where the member begins that has not ended. */
  member: number;

  constructor(
    private readonly json: string,
    private readonly at: number,
    private readonly parse: Parse,
  ) {
    this.from = this.member = at + 1;
  }

  /** Puts into the tree all members that ended before `end`, and the one that has begun. */
  take(end: number, begun?: Container): void {
    const isFirst = this.tree === undefined;
    if (isFirst) this.tree = this.json.charCodeAt(this.at) === OPEN_BRACKET ? [] : {};
    const { tree, json, parse } = this;
    const members = json.slice(this.from, begun ? this.member - 1 : end);
    if (Array.isArray(tree)) for (const element of parse(`[${members}]`) as JsonValue[]) tree.push(element);
    else Object.assign(tree as JsonObject, parse(`{${members}}`));
    if (!begun || begun.tree !== undefined) return;
    begun.take(begun.from);
    if (Array.isArray(tree)) tree.push(begun.tree as unknown as JsonValue);
    else
      (tree as JsonObject)[JSON.parse(json.slice(this.member, begun.at - 1)) as string] =
        begun.tree as unknown as JsonValue;
    this.from = Number.POSITIVE_INFINITY;
  }
}
