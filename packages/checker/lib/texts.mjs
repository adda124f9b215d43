/**
 * The texts of a task by channel, from its events up to and with `head`. `log` has the events by id: `output` is the payload of one that puts
 * out, `since` the event after which one voids output.
 */
export function textsAt(log, head) {
  let pieces = [];
  for (let id = 1; id <= head; id++) {
    const { output, since } = log.get(id) ?? {};
    if (since !== undefined) pieces = pieces.filter((piece) => piece.id <= Number(since));
    if (output !== undefined) pieces.push({ id, ...output });
  }
  const texts = new Map();
  for (const { channel, op, data } of pieces) {
    texts.set(channel, op === 'replace' ? data : (texts.get(channel) ?? '') + data);
  }
  return texts;
}

/** The last event up to `head` that put out to the channel, also where it is void; 0: none. */
export function lastOutput(log, head, channel) {
  for (let id = head; id > 0; id--) if (log.get(id)?.output?.channel === channel) return id;
  return 0;
}
