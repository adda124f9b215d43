import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { batches } from '../../src/following/batches.js';
import { StoredEvent } from '../../src/tasks/domain/stored-event.js';

const MAX_BYTES = 128 * 1024;

const logOf = (sizes: readonly number[], firstId: number) =>
  sizes.map((size, n) => {
    const payload = JSON.stringify({ message: 'x'.repeat(size) });
    return new StoredEvent('t', firstId + n, 'TASK_MESSAGE', '2026-11-21T12:00:10.123Z', payload);
  });

const logs = fc
  .record({ sizes: fc.array(fc.integer({ min: 0, max: 70_000 }), { maxLength: 30 }), firstId: fc.nat({ max: 50 }) })
  .map(({ sizes, firstId }) => logOf(sizes, firstId + 1));

describe('Batches', () => {
  it('have all events in order, and say which are first and last', () => {
    fc.assert(
      fc.property(logs, fc.nat({ max: 60 }), (log, boundary) => {
        const cut = [...batches(log, boundary)];
        expect(cut.flatMap(({ events }) => events)).toEqual(log);
        for (const { events, first, last } of cut) expect([events[0], events.at(-1)]).toEqual([first, last]);
      }),
    );
  });

  it('do not go beyond the boundary', () => {
    fc.assert(
      fc.property(logs, fc.nat({ max: 60 }), (log, boundary) => {
        for (const { first, last } of batches(log, boundary)) {
          expect(first.eventId <= boundary && last.eventId > boundary).toBe(false);
        }
      }),
    );
  });

  it('are small but for their last event, and no smaller than need be', () => {
    const size = (events: readonly StoredEvent[]) =>
      events.reduce((sum, { payloadJson }) => sum + payloadJson.length, 0);
    fc.assert(
      fc.property(logs, (log) => {
        const cut = [...batches(log, 0)];
        for (const { events } of cut) expect(size(events.slice(0, -1))).toBeLessThan(MAX_BYTES);
        for (const { events } of cut.slice(0, -1)) expect(size(events)).toBeGreaterThanOrEqual(MAX_BYTES);
      }),
    );
  });
});
