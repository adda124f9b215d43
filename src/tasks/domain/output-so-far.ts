import { storedJson } from '#protocol/exact-json.js';
import type { OutputFold } from '#protocol/output-fold.js';
import type { ShownChannel, ShownOutput } from '#protocol/snapshots.js';
import { JsonText, type WithText } from '../../json/json-text.js';

/** What a snapshot has of one channel besides its name and its two texts, at most. */
const AROUND_CHANNEL_BYTES = Buffer.byteLength(',"":{"data":"","settled":"","truncated":false}');
/** The part of the room that names of channels may take. */
const FOR_NAMES = 1 / 4;
/** TASK_STARTED, or an end: never output. */
export const FIRST_EVENT_ID = 1;
/** A text is cut at a multiple of this number of characters from its end. */
const CUT_CHARACTERS = 1_024;

/** What a task has put out and what counts of it, up to its head. */
export class OutputSoFar {
  #last: { readonly maxBytes: number; readonly shown: Shown } | undefined;

  constructor(
    private readonly read: {
      /** The texts of the events after `afterEventId`. */
      readonly fold: OutputFold;
      /** The channels of these events, also of those that are void. */
      readonly channels: ReadonlySet<string>;
      /** Older events were not read; 0: all were. */
      readonly afterEventId: number;
      readonly settledEventId: number;
    },
  ) {}

  /** With texts that have at most this number of bytes as JSON, names of channels included. Most callers ask for the same number. */
  within(maxBytes: number): Shown {
    if (this.#last?.maxBytes !== maxBytes) this.#last = { maxBytes, shown: this.cutTo(maxBytes) };
    return this.#last.shown;
  }

  private cutTo(maxBytes: number): Shown {
    const { fold, settledEventId } = this.read;
    const { names, afterEventId, room } = this.named(maxBytes);
    const whole = names.map((name) => ({ name, data: fold.text(name), settled: fold.text(name, settledEventId) }));
    const texts = whole.flatMap(({ data, settled }) => [data, settled]);
    const share = fairShare(
      texts.map((text) => sizeOf(text, room)),
      room,
    );
    const channels = whole.map(({ name, ...texts }): [string, ShownChannel] => {
      const [data, settled] = [endOf(texts.data, share), endOf(texts.settled, share)];
      const isCut = data.length < texts.data.length || settled.length < texts.settled.length;
      return [name, { data, settled, truncated: isCut || !this.isKnown(name) }];
    });
    return {
      members: {
        output: new JsonText(storedJson(Object.fromEntries(channels))),
        settledEventId: String(settledEventId),
        outputAfterEventId: String(afterEventId),
      },
      isTruncated: afterEventId > 0 || channels.some(([, { truncated }]) => truncated),
    };
  }

  /** The channels that have room, those with the newest output first. */
  private named(maxBytes: number): { names: readonly string[]; afterEventId: number; room: number } {
    const { fold, channels, afterEventId } = this.read;
    const all = [...(afterEventId === 0 ? fold.channels : channels)];
    const newestFirst = all.sort((a, b) => fold.lastEventId(b) - fold.lastEventId(a));
    let room = maxBytes;
    const names = new Set<string>();
    for (const name of newestFirst) {
      const bytes = Buffer.byteLength(storedJson(name)) + AROUND_CHANNEL_BYTES;
      if (room - bytes < maxBytes * (1 - FOR_NAMES)) break;
      room -= bytes;
      names.add(name);
    }
    // The first that is left out is the newest of them.
    const left = newestFirst[names.size];
    return {
      names: [...names],
      afterEventId: left === undefined ? afterEventId : Math.max(afterEventId, fold.lastEventId(left)),
      room,
    };
  }

  private isKnown(channel: string): boolean {
    const { fold, afterEventId, settledEventId } = this.read;
    if (afterEventId === 0) return true;
    return fold.isReplaced(channel) && (settledEventId <= FIRST_EVENT_ID || fold.isReplaced(channel, settledEventId));
  }
}

export interface Shown {
  readonly members: WithText<ShownOutput>;
  readonly isTruncated: boolean;
}

/** The most bytes of a text, so that all have room; texts that need less leave more to the others. */
function fairShare(sizes: readonly number[], room: number): number {
  let left = room;
  const ascending = sizes.toSorted((a, b) => a - b);
  for (const [index, size] of ascending.entries()) {
    const share = left / (ascending.length - index);
    if (size > share) return share;
    left -= size;
  }
  return Infinity;
}

/** In bytes of JSON. More than the room is not measured. */
function sizeOf(text: string, room: number): number {
  return text.length > room ? text.length : jsonBytes(text);
}

function jsonBytes(text: string): number {
  return Buffer.byteLength(storedJson(text)) - 2;
}

/** The end of the text that has at most this number of bytes as JSON. It begins with a whole character. */
function endOf(text: string, maxBytes: number): string {
  if (text.length <= maxBytes && jsonBytes(text) <= maxBytes) return text;
  let [from, left] = [text.length, maxBytes];
  while (from > 0) {
    const next = startOfCharacter(text, Math.max(0, from - CUT_CHARACTERS));
    left -= jsonBytes(text.slice(next, from));
    if (left < 0) break;
    from = next;
  }
  return text.slice(from);
}

function startOfCharacter(text: string, at: number): number {
  const isInside = /^[\ud800-\udbff][\udc00-\udfff]$/.test(text.slice(Math.max(0, at - 1), at + 1));
  return isInside ? at - 1 : at;
}
