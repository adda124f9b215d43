import type { TaskEvent } from '@taskbridge/client';

/** Events of a type, with a text in them. A list that has only grown is looked through where it is new. */
export class EventFilter {
  readonly #types = new Set<string>();
  #shown: TaskEvent[] = [];
  #seen: { first: string | undefined; last: number; content: string } = { first: undefined, last: 0, content: '' };

  /** Those that were seen. */
  get types(): readonly string[] {
    return [...this.#types].sort();
  }

  of(events: readonly TaskEvent[], type: string, text: string): readonly TaskEvent[] {
    const content = JSON.stringify([type, text]);
    const first = events[0]?.eventId;
    const isSame = this.#seen.content === content && this.#seen.first === first;
    const fresh = isSame ? events.slice(this.#newFrom(events)) : events;
    for (const event of fresh) this.#types.add(event.type);
    const wanted = text.toLowerCase();
    const fits = (event: TaskEvent) =>
      (type === '' || event.type === type) &&
      (wanted === '' || JSON.stringify(event.payload).toLowerCase().includes(wanted));
    const matching = content === '["",""]' ? fresh : fresh.filter(fits);
    if (!isSame) this.#shown = [...matching];
    else if (matching.length > 0) this.#shown = [...this.#shown, ...matching];
    this.#seen = { first, last: Number(events.at(-1)?.eventId ?? 0), content };
    return this.#shown;
  }

  /** Ids have no hole. */
  #newFrom(events: readonly TaskEvent[]): number {
    return events.length - (Number(events.at(-1)?.eventId ?? 0) - this.#seen.last);
  }
}
