import { readEnvelope } from './envelope.mjs';
import { HistoryInvalid } from './history-invalid.mjs';

/** A follower of one task, over any number of connections. It is judged by each connection, and at the end by the log. */
export class Subscriber {
  /** The events that it got, as [id, digest]. They are compared with the log when the log is known. */
  #delivered = [];
  /** Those with which it began, or went on. */
  #snapshots = [];
  /** The greatest id it has. */
  #last = 0;
  #cursor = 0;
  #seen = new Set();
  #highest = 0;
  #isConnected = false;
  #isOver = false;
  #hasLeft = false;

  constructor(name, taskId, findings) {
    this.name = name;
    this.taskId = taskId;
    this.findings = findings;
  }

  connect(cursor) {
    this.disconnect();
    // The first connection may begin anywhere; a later one that skips leaves a hole.
    if (this.#delivered.length + this.#snapshots.length > 0 && cursor > this.#last) {
      this.findings.report('holes', `${this}: resumes after ${cursor}, has ${this.#last}`, cursor - this.#last);
    }
    this.#last = Math.max(this.#last, cursor);
    this.#cursor = this.#highest = cursor;
    this.#isConnected = true;
    this.#isOver = this.#hasLeft = false;
  }

  /** It has everything up to the head of a snapshot with output. */
  show(snapshot) {
    this.disconnect();
    this.#snapshots.push(snapshot);
    this.#last = Math.max(this.#last, Number(snapshot.headEventId));
  }

  deliver(raw) {
    if (!this.#isConnected) throw new HistoryInvalid(`${this} has an event without a connection`);
    this.findings.count('delivered');
    const envelope = readEnvelope(raw);
    if (envelope?.taskId !== this.taskId) {
      this.findings.report('mismatches', `${this}: no event of its task: ${String(raw).slice(0, 120)}`);
      return;
    }
    const { id, digest } = envelope;
    if (this.#isOver) this.findings.report('terminal violations', `${this}: event ${id} after it learned of the end`);
    if (id <= this.#cursor || this.#seen.has(id)) this.findings.report('duplicates', `${this}: event ${id} again`);
    else if (id < this.#highest) this.findings.report('reordered', `${this}: event ${id} after ${this.#highest}`);
    this.#seen.add(id);
    this.#highest = Math.max(this.#highest, id);
    this.#last = Math.max(this.#last, id);
    this.#delivered.push([id, digest]);
  }

  /** The service said that the task is over and everything was delivered. */
  end() {
    this.#isOver = true;
  }

  /** It stopped following the task by itself. */
  leave() {
    this.disconnect();
    this.#hasLeft = true;
  }

  /** An id missing below the greatest id of a connection never came. */
  disconnect() {
    const missing = this.#highest - this.#cursor - [...this.#seen].filter((id) => id > this.#cursor).length;
    if (missing > 0) {
      this.findings.report(
        'holes',
        `${this}: ${missing} missing from ${this.#cursor + 1} to ${this.#highest}`,
        missing,
      );
    }
    this.#seen.clear();
    this.#cursor = this.#highest;
    this.#isConnected = false;
  }

  /** `task` is undefined when nothing of it is stored. */
  judge(task) {
    this.disconnect();
    for (const [id, digest] of this.#delivered) {
      const stored = task?.digestOf(id);
      if (stored === undefined) this.findings.report('mismatches', `${this}: event ${id} is not stored`);
      else if (stored !== digest)
        this.findings.report('mismatches', `${this}: event ${id} has other bytes than stored`);
    }
    for (const snapshot of this.#snapshots) {
      const problem = task ? (task.contradiction(snapshot) ?? task.textProblem(snapshot)) : 'its task is not stored';
      if (problem !== undefined) this.findings.report('snapshots', `${this}: ${problem}`);
    }
    const missing = (task?.head ?? 0) - this.#last;
    if (this.#isOver && !task?.isOver) {
      this.findings.report('terminal violations', `${this}: learned of an end that is not stored`);
    } else if (this.#isOver && missing > 0) {
      this.findings.report('holes', `${this}: learned of the end after ${this.#last} of ${task.head}`, missing);
    } else if (!this.#isOver && !this.#hasLeft && task?.isOver) {
      this.findings.report('unfinished', `${this}: its task is over, and it was not told`);
    }
  }

  toString() {
    return `subscriber ${this.name} of task ${this.taskId}`;
  }
}
