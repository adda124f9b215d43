import { setTimeout as delay } from 'node:timers/promises';
import type { ApiClient } from './api-client.js';
import { Follower } from './follower.js';
import type { End } from './follower.js';
import { rawElements } from './raw-elements.js';

const EMPTY_PAUSE_MS = 25;

/** Follows by long-poll, page after page from the cursor that each page names, until a page is terminal. */
export class PollFollower extends Follower {
  constructor(client: ApiClient, taskId: string, cursor: string | undefined, patienceMs: number) {
    super(patienceMs);
    const leave = new AbortController();
    this.onLeave(() => leave.abort());
    void this.read(client, taskId, cursor, leave.signal).then(
      (end) => this.finish(end),
      (error: Error) => this.finish({ how: 'broken', reason: error.message, saysOver: false }),
    );
  }

  private async read(client: ApiClient, taskId: string, from: string | undefined, signal: AbortSignal): Promise<End> {
    let cursor = from;
    // The first answer comes at once, also when the cursor is at the terminal event.
    for (let waitTimeoutMs = 0; ; waitTimeoutMs = 10_000) {
      const query = { waitTimeoutMs, ...(cursor !== undefined && { afterEventId: cursor }) };
      const { status, text, body } = await client.page(taskId, query, signal);
      if (status !== 200) return { how: 'status', code: status, reason: text, saysOver: false };
      this.receive(text, rawElements(text, 'events'));
      if (body.terminal) return { how: 'ended', saysOver: true };
      // Without progress the same question would be asked without end.
      if (body.events.length > 0 && body.nextAfterEventId === cursor) return { how: 'broken', saysOver: false };
      cursor = body.nextAfterEventId;
      // A service that does not wait is not asked without a pause.
      if (body.events.length === 0) await delay(EMPTY_PAUSE_MS, undefined, { signal });
    }
  }
}
