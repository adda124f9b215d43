import type { ChangedTask, TaskSummary } from '../../protocol/src/snapshots.js';
import type { Feed } from './feed.js';
import type { AskedQuestion } from './state.js';
import type { AnswerOutcome, Task } from './task.js';

/** An open question of a task of the caller. */
export interface OpenQuestion extends AskedQuestion {
  readonly taskId: string;
  readonly taskType: string;
  answer(actionType: string, payload?: object): Promise<AnswerOutcome>;
}

/** The open questions of all tasks of the caller: those of the list, and what the feed says of them. */
export class Questions {
  readonly #open = new Map<string, OpenQuestion>();
  /** Tasks that changed while the list is read: they are newer than it. */
  readonly #changed = new Set<string>();
  #shown: readonly OpenQuestion[] = [];

  constructor(
    private readonly feed: Feed,
    /** The tasks that ask now. */
    private readonly list: () => AsyncIterable<TaskSummary>,
    private readonly task: (id: string) => Task,
  ) {}

  /** The same array until something has changed. */
  get shown(): readonly OpenQuestion[] {
    return this.#shown;
  }

  follow(changed: () => void): () => void {
    return this.feed.listen((change, error) => {
      if (change) {
        this.#changed.add(change.taskId);
        this.#take(change.taskId, change.task);
        changed();
      } else if (!error) {
        // Where the list is refused there are no questions to show.
        this.#read().then(changed, () => {});
      }
    });
  }

  #take(taskId: string, task?: ChangedTask): void {
    const asked = task?.openSuspension;
    if (this.#open.get(taskId)?.suspendId === asked?.suspendId) return;
    this.#open.delete(taskId);
    if (asked && task) {
      const answer: OpenQuestion['answer'] = (actionType, payload) =>
        this.task(taskId).answer(actionType, payload, { suspendId: asked.suspendId });
      this.#open.set(taskId, { ...asked, taskId, taskType: task.taskType, answer });
    }
    this.#shown = [...this.#open.values()];
  }

  async #read(): Promise<void> {
    this.#changed.clear();
    const found = new Map<string, TaskSummary>();
    for await (const task of this.list()) found.set(task.taskId, task);
    // The list is newest first, and also says what is asked no more.
    for (const taskId of [...found.keys(), ...this.#open.keys()].reverse()) {
      if (!this.#changed.has(taskId)) this.#take(taskId, found.get(taskId));
    }
  }
}
