/** More types would need more memory for little fairness. */
const MAX_TYPES = 1_000;

/** Whose turn it is among task types, on this replica. Places are of one type; this keeps a full type from delaying the others. */
export class TypeTurns {
  /** By type, the number of the task that was claimed last. The oldest entry is first. */
  readonly #last = new Map<string, number>();
  #claimed = 0;

  /** How many tasks were claimed since the last one of this type, or since this type was first asked for. */
  idleOf(taskType: string): number {
    const last = this.#last.get(taskType);
    if (last !== undefined) return this.#claimed - last;
    this.note(taskType);
    return 0;
  }

  served(taskType: string): void {
    this.#claimed += 1;
    this.note(taskType);
  }

  private note(taskType: string): void {
    this.#last.delete(taskType);
    this.#last.set(taskType, this.#claimed);
    for (const [oldest] of this.#last) {
      if (this.#last.size <= MAX_TYPES) return;
      this.#last.delete(oldest);
    }
  }
}
