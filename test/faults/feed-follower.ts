import { setTimeout as delay } from 'node:timers/promises';
import { FEED_READERS, type SeenChange } from '../support/follow-changes.js';

/** What one follower of the feed of all tasks learned. */
export interface FollowedFeed {
  /** Lines of a history, as packages/checker reads them. */
  readonly history: readonly object[];
  /** Refusals that no fault explains. */
  readonly oddities: readonly string[];
}

/**
 * Follows all tasks over one connection after the other: some it drops, some are cut. Each begins at the cursor of the one before.
 * @returns when it follows; call the function when nothing changes any more: it gets what is left
 */
export async function followFeed(
  transport: keyof typeof FEED_READERS,
  url: string,
  random: () => number,
): Promise<() => Promise<FollowedFeed>> {
  const name = `feed by ${transport}`;
  const oddities = new Set<string>();
  // Without a principal it is an operator.
  const reader = new FEED_READERS[transport](url, {}, { all: transport === 'websocket' ? true : 'true' });
  await reader.connect();
  let isOver = false;
  const following = (async () => {
    while (!isOver) {
      await delay(100 + random() * 1_500);
      if (/^4/.test(reader.refusal ?? '')) oddities.add(`${name}: ${reader.refusal}`);
      await reader.resume().catch(() => undefined);
    }
  })();
  return async () => {
    isOver = true;
    await following;
    reader.drop();
    for (let isLast = false; !isLast; ) {
      const query = new URLSearchParams({ all: 'true', waitTimeoutMs: '0', after: reader.cursor ?? '' });
      const answer = await fetch(`${url}/api/v1/tasks/changes?${query.toString()}`);
      if (answer.status !== 200) throw new Error(`${name}: ${answer.status} ${await answer.text()}`);
      const { changes, next } = (await answer.json()) as { changes: readonly SeenChange[]; next: string };
      reader.changes.push(...changes);
      reader.cursor = next;
      isLast = changes.length === 0;
    }
    return { history: reader.history(name, { all: true }), oddities: [...oddities] };
  };
}
