import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { storedJson } from '#protocol/exact-json.js';
import { OutputFold } from '#protocol/output-fold.js';
import type { ShownChannel, ShownOutput } from '#protocol/snapshots.js';
import { JsonText } from '../../src/json/json-text.js';
import { OutputSoFar } from '../../src/tasks/domain/output-so-far.js';
import { saidLog } from '../support/said-log.js';
import { type Said, textsOf } from '../support/texts.js';

const ROOM = 512 * 1024;
const FULL = process.env['FULL'] === '1';

/** The events after `afterEventId`, folded as the service does. */
function soFar(events: readonly Said[], settledEventId: number, afterEventId = 0): OutputSoFar {
  const fold = new OutputFold();
  const channels = new Set<string>();
  for (const [index, { type, payload }] of events.entries()) {
    if (index < afterEventId) continue;
    fold.add(index + 1, type, payload);
    if (type === 'TASK_OUTPUT') channels.add(String(payload['channel']));
  }
  return new OutputSoFar({ fold, channels, afterEventId, settledEventId });
}

function shown(output: OutputSoFar, maxBytes = ROOM): ShownOutput & { readonly bytes: number } {
  const { output: texts, ...members } = output.within(maxBytes).members;
  if (!(texts instanceof JsonText)) throw new Error('the texts are no JSON text');
  const parsed = JSON.parse(texts.json) as Readonly<Record<string, ShownChannel>>;
  return { ...members, output: parsed, bytes: Buffer.byteLength(texts.json) };
}

const said = (texts: Readonly<Record<string, string>>) =>
  Object.fromEntries(Object.entries(texts).filter(([, text]) => text !== ''));
/** Also of a channel that is called like a member of every object. */
const textIn = (texts: Readonly<Record<string, string>>, name: string) =>
  new Map(Object.entries(texts)).get(name) ?? '';
const put = (data: string, channel = 'text', op = 'append'): Said => ({
  type: 'TASK_OUTPUT',
  payload: { channel, op, data, attempt: 1 },
});
const started: Said = { type: 'TASK_STARTED', payload: {} };

describe('What a task has put out so far', () => {
  it('is at its head, and at its boundary, what a reader of the whole log has', () => {
    fc.assert(
      fc.property(saidLog(40), fc.nat(), ({ events, boundaries }, place) => {
        const head = place % (events.length + 1);
        const settled = boundaries[head] ?? 0;
        const { output, outputAfterEventId } = shown(soFar(events.slice(0, head), settled));
        const texts = (of: 'data' | 'settled') =>
          Object.fromEntries(Object.entries(output).map(([name, channel]) => [name, channel[of]]));
        expect(said(texts('data'))).toEqual(said(textsOf(events.slice(0, head))));
        expect(said(texts('settled'))).toEqual(said(textsOf(events.slice(0, settled))));
        expect(Object.values(output).some(({ truncated }) => truncated)).toBe(false);
        expect(outputAfterEventId).toBe('0');
      }),
      { numRuns: FULL ? 5_000 : 500 },
    );
  });

  it('makes up the text of the whole log with the events after it, or says that it does not', () => {
    let [exact, unknown] = [0, 0];
    fc.assert(
      fc.property(saidLog(40), fc.nat(), ({ events, boundaries }, place) => {
        const head = place % (events.length + 1);
        const snapshot = shown(soFar(events.slice(0, head), boundaries[head] ?? 0));
        const client = new OutputFold({ ...snapshot, headEventId: String(head) });
        for (const [index, { type, payload }] of events.entries()) {
          if (index >= head) client.add(index + 1, type, payload);
        }
        if (client.isExact) expect(said(client.texts())).toEqual(said(textsOf(events)));
        if (client.isExact) exact += 1;
        else unknown += 1;
      }),
      { numRuns: FULL ? 5_000 : 500 },
    );
    expect(exact).toBeGreaterThan(10 * unknown);
    expect(unknown).toBeGreaterThan(0);
  });

  it('is never wrong where older events were not read, but for what it says is truncated', () => {
    let whole = 0;
    fc.assert(
      fc.property(saidLog(40), fc.nat(), fc.nat(), ({ events, boundaries }, place, window) => {
        const head = 1 + (place % events.length);
        const afterEventId = window % head;
        const settled = boundaries[head] ?? 0;
        const { output } = shown(soFar(events.slice(0, head), settled, afterEventId));
        const [data, base] = [textsOf(events.slice(0, head)), textsOf(events.slice(0, settled))];
        for (const [name, channel] of Object.entries(output)) {
          if (channel.truncated) {
            expect(textIn(data, name).endsWith(channel.data)).toBe(true);
            expect(textIn(base, name).endsWith(channel.settled)).toBe(true);
          } else {
            whole += 1;
            expect([channel.data, channel.settled]).toEqual([textIn(data, name), textIn(base, name)]);
          }
        }
        // A channel that is left out put nothing out since.
        const since = events.slice(afterEventId, head).filter(({ type }) => type === 'TASK_OUTPUT');
        const valid = since
          .map(({ payload }) => String(payload['channel']))
          .filter((name) => textIn(data, name) !== '');
        expect(valid.filter((name) => !Object.hasOwn(output, name))).toEqual([]);
      }),
      { numRuns: FULL ? 5_000 : 500 },
    );
    expect(whole).toBeGreaterThan(100);
  });

  it('keeps the end of each text, within the bytes of its JSON, and no half of a character', () => {
    const texts = fc.array(
      fc.record({
        channel: fc.constantFrom('a', 'b', 'ü'),
        data: fc.string({ unit: 'binary', maxLength: 9_000, size: 'max' }),
      }),
      { maxLength: 8 },
    );
    let cut = 0;
    fc.assert(
      fc.property(texts, fc.integer({ min: 2_000, max: 60_000 }), fc.boolean(), (given, room, isSettled) => {
        const events = [started, ...given.map(({ data, channel }) => put(data, channel))];
        const { output, bytes } = shown(soFar(events, isSettled ? events.length : 1), room);
        expect(bytes).toBeLessThanOrEqual(room + 2);
        const whole = textsOf(events);
        for (const [name, { data, settled, truncated }] of Object.entries(output)) {
          expect(textIn(whole, name).endsWith(data)).toBe(true);
          expect(data).not.toMatch(/^[\udc00-\udfff]/);
          expect(truncated).toBe(data !== whole[name] || (isSettled && settled !== whole[name]));
          if (truncated) cut += 1;
        }
      }),
      { numRuns: FULL ? 1_000 : 100 },
    );
    expect(cut).toBeGreaterThan(20);
  });

  it('gives a short text all of its room, and the rest to a long one', () => {
    const events = [started, put('short', 'a'), put('x'.repeat(10_000), 'b')];
    const { output } = shown(soFar(events, 1), 8_192);
    expect(output['a']).toEqual({ data: 'short', settled: '', truncated: false });
    expect(output['b']?.truncated).toBe(true);
    expect(output['b']?.data.length).toBeGreaterThan(6_000);
  });

  it('counts what JSON makes of a text', () => {
    const { output, bytes } = shown(soFar([started, put('\u0001'.repeat(10_000))], 1), 8_192);
    expect(bytes).toBeLessThanOrEqual(8_192);
    expect(output['text']?.truncated).toBe(true);
    expect(storedJson(output['text']?.data).length).toBeGreaterThan(3_000);
  });

  it('leaves out the oldest channels when there are too many, and says up to where', () => {
    const events = [started, ...Array.from({ length: 2_000 }, (_, n) => put(`t${n}`, `channel-${n}`))];
    const { output, outputAfterEventId, bytes } = shown(soFar(events, 1), 64 * 1024);
    const names = Object.keys(output);
    expect(bytes).toBeLessThanOrEqual(64 * 1024);
    expect(names.length).toBeGreaterThan(100);
    expect(names).toEqual(Array.from(names, (_, n) => `channel-${1_999 - n}`));
    expect(Number(outputAfterEventId)).toBe(2_001 - names.length);
    expect(output['channel-1999']).toEqual({ data: 't1999', settled: '', truncated: false });
  });
});
