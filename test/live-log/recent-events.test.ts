import { describe, expect, it } from '@jest/globals';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { Database } from '../../src/database/database.js';
import { Channel } from '../../src/following/channel.js';
import { WEB_SOCKET_FRAMES } from '../../src/streaming/frames.js';
import { Hub } from '../../src/following/hub.js';
import { InProcessLiveLog } from '../../src/live-log/in-process-live-log.js';
import { RecentEvents } from '../../src/following/recent-events.js';
import { NoOpTransportDiagnosticsSink } from '../../src/observability/transport-diagnostics-sink.js';
import { StoredEvent } from '../../src/tasks/domain/stored-event.js';
import { eventually } from '../support/service.js';

const MIB = 1024 * 1024;

function eventOf(eventId: number, characters: number): StoredEvent {
  // Flat, and of its own: a repeated string would be shared.
  const payload = Buffer.alloc(characters, String(eventId)).toString('latin1');
  return new StoredEvent('task', eventId, 'TASK_PROGRESS', '2026-11-21T12:00:10.123Z', payload);
}

function charactersOf(events: readonly StoredEvent[] | undefined): number {
  return (events ?? []).reduce((sum, { payloadJson }) => sum + payloadJson.length, 0);
}

/** All that is kept, the event `head` being the last. */
function kept(recent: { after(cursor: number): readonly StoredEvent[] | undefined }, head: number) {
  let cursor = head;
  while (recent.after(cursor - 1)) cursor -= 1;
  return recent.after(cursor) ?? [];
}

describe('The recent events of a task', () => {
  it.each([
    ['300 characters', 300, 256, 512],
    ['64 KiB', 64 * 1024, 8, 16],
  ])('of %s are bounded, and are always the newest, without a hole', (_, characters, least, most) => {
    const recent = new RecentEvents();
    for (let id = 1; id <= 1_000; id++) {
      recent.push(eventOf(id, characters));
      const events = recent.after(Math.max(0, id - least)) ?? [];
      expect(events.length).toBe(Math.min(id, least));
      expect(recent.after(id - most - 1)).toBeUndefined();
    }
    const ids = kept(recent, 1_000).map(({ eventId }) => eventId);
    expect(ids).toEqual(ids.map((_id, index) => 1_000 - ids.length + 1 + index));
  });

  it('have the newest also when it is larger than all of them may be', () => {
    const recent = new RecentEvents();
    for (let id = 1; id <= 3; id++) recent.push(eventOf(id, 1_000));
    recent.push(eventOf(4, 3 * MIB));
    expect(recent.after(3)?.map(({ eventId }) => eventId)).toEqual([4]);
    expect(recent.after(2)).toBeUndefined();
    recent.push(eventOf(5, 1_000));
    expect(recent.after(4)?.map(({ eventId }) => eventId)).toEqual([5]);
  });

  it('are those that came since the last time but one that they were aged', () => {
    const recent = new RecentEvents();
    const push = (from: number, to: number) => {
      for (let id = from; id <= to; id++) recent.push(eventOf(id, 10));
    };
    const ids = (head: number) => kept(recent, head).map(({ eventId }) => eventId);
    push(1, 3);
    recent.age();
    push(4, 5);
    expect(ids(5)).toEqual([1, 2, 3, 4, 5]);
    recent.age();
    expect(ids(5)).toEqual([4, 5]);
    push(6, 6);
    recent.age();
    expect(ids(6)).toEqual([6]);
    recent.clear();
    push(9, 9);
    recent.age();
    expect(ids(9)).toEqual([9]);
    recent.age();
    expect(ids(9)).toEqual([]);
    push(10, 10);
    expect(ids(10)).toEqual([10]);
  });

  it('are forgotten within seconds, of a task that is followed and quiet', async () => {
    const heads = { query: async () => [{ task_id: 'task', head_event_id: '2', status: 'RUNNING' }] };
    const liveLog = new InProcessLiveLog();
    const hub = new Hub(heads as unknown as Database, liveLog, new NoOpTransportDiagnosticsSink());
    hub.start();
    try {
      const channel = await hub.attach('task');
      liveLog.publish([eventOf(1, 10), eventOf(2, 10)]);
      expect(channel.recent(0, 0)).toHaveLength(1);
      await eventually('they are forgotten', () => channel.recent(0, 0) === undefined, 5_000);
      liveLog.publish([eventOf(3, 10)]);
      expect(channel.recent(2, 0)).toHaveLength(1);
    } finally {
      await hub.stop();
    }
  });

  it('of many tasks with events as large as they get take no more memory, however many there are', () => {
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    const memory = () => {
      collect();
      const { heapUsed, arrayBuffers } = process.memoryUsage();
      return (heapUsed + arrayBuffers) / MIB;
    };
    const channels = Array.from({ length: 20 }, () => new Channel('task', { query: () => Promise.resolve([]) }));
    const before = memory();
    let seen = 0;
    for (let id = 1; id <= 100; id++) {
      for (const channel of channels) {
        const event = eventOf(id, 64 * 1024);
        channel.receive(event);
        seen += WEB_SOCKET_FRAMES.of({ events: [event], first: event, last: event }).length;
      }
    }
    const characters = channels.reduce((sum, channel) => {
      const after = (cursor: number) => channel.recent(cursor, 0)?.flatMap(({ events }) => events);
      return sum + charactersOf(kept({ after }, channel.head));
    }, 0);
    const after = memory();
    console.log(
      `20 tasks, ${Math.round(seen / MIB)} MiB of frames of 64 KiB: ${Math.round(characters / MIB)} MiB of payload are kept, ` +
        `${Math.round(after - before)} MiB of memory with their frames`,
    );
    expect(characters).toBeLessThanOrEqual(20 * MIB);
    expect(characters).toBeGreaterThan(20 * (MIB / 3));
  });
});
