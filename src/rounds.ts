/** Work that is done again and again. The next round begins a pause after the end of this one, however long this one takes. */
export class Rounds {
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> = Promise.resolve();
  #isRunning = false;
  #isDue = false;

  /**
   * @param round must not reject; gets the `performance.now()` at which it was due
   * @param pauseMs the length of the next pause
   */
  constructor(
    private readonly round: (dueAt: number) => Promise<void>,
    private readonly pauseMs: () => number,
  ) {}

  /** From `start` to `stop`. A long round may look, and end early. */
  get areWanted(): boolean {
    return this.#timer !== undefined;
  }

  /** @param firstMs until the first round; defaults to a pause */
  start(firstMs = this.pauseMs()): void {
    const dueAt = performance.now() + firstMs;
    this.#timer = setTimeout(() => {
      this.#isDue = false;
      this.#isRunning = true;
      this.#running = this.round(dueAt).then(() => {
        this.#isRunning = false;
        if (this.areWanted) this.start(this.#isDue ? 0 : undefined);
      });
    }, firstMs);
  }

  /** Does not wait for the end of the pause. While a round is under way, the next one begins right after it. */
  hurry(): void {
    if (!this.areWanted) return;
    this.#isDue = true;
    if (this.#isRunning) return;
    clearTimeout(this.#timer);
    this.start(0);
  }

  /** Resolves when the round under way is over. */
  async stop(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    await this.#running;
  }
}
