export interface Said {
  readonly type: string;
  readonly payload: Readonly<Record<string, unknown>>;
}

/** By channel, the text that a client shows in the end. Written after PROTOCOL.md: what an event voids is gone. `events` from the first. */
export function textsOf(events: readonly Said[]): Readonly<Record<string, string>> {
  let valid: { readonly id: number; readonly event: Said }[] = [];
  events.forEach((event, index) => {
    const since = event.payload['supersedesAfterEventId'];
    if (since !== undefined) valid = valid.filter(({ id }) => id <= Number(since));
    valid.push({ id: index + 1, event });
  });
  const texts = new Map<string, string>();
  for (const { event } of valid) {
    if (event.type !== 'TASK_OUTPUT') continue;
    const { channel, op, data } = event.payload;
    const name = String(channel);
    texts.set(name, (op === 'replace' ? '' : (texts.get(name) ?? '')) + String(data));
  }
  return Object.fromEntries(texts);
}
