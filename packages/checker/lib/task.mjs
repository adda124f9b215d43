import { STATUS_AFTER } from './envelope.mjs';
import { lastOutput, textsAt } from './texts.mjs';

/** The facts about one task: the acknowledged events, and the stored ones. */
export class Task {
  #isAcknowledged = false;
  #acknowledgedIds = new Set();
  /** By id, which may come in any order. */
  #log = new Map();
  #head = 0;
  #row;

  constructor(taskId, findings) {
    this.taskId = taskId;
    this.findings = findings;
  }

  /** The last event of its log. Of a task that was set aside readers get events up to its row's head only. */
  get head() {
    return this.#row?.aside ? Math.min(this.#head, Number(this.#row.headEventId)) : this.#head;
  }

  /** Whether its last stored event is an end. */
  get isOver() {
    return STATUS_AFTER.has(this.#log.get(this.head)?.type);
  }

  get row() {
    return this.#row;
  }

  /** What is wrong with the status and the head that a client got, by the log; undefined: nothing. */
  contradiction({ status, headEventId }) {
    const id = Number(headEventId);
    if (id > 0 && !this.#log.has(id)) return `it got event ${id}, which is not stored`;
    const statusByLog = STATUS_AFTER.get(this.#log.get(id)?.type);
    const statusOver = [...STATUS_AFTER.values()].includes(status) ? status : undefined;
    if (statusByLog === statusOver) return undefined;
    return `it got ${status} at event ${id}, the log says ${statusByLog ?? 'not over'}`;
  }

  /** What is wrong with the text of a snapshot; undefined: nothing. */
  textProblem({ headEventId, settledEventId, outputAfterEventId, output }) {
    const [head, settled, after] = [headEventId, settledEventId, outputAfterEventId].map(Number);
    const voids = [...this.#log].find(([id, { since }]) => id > head && Number(since) < settled);
    if (voids)
      return `event ${voids[0]} voids what is after ${voids[1].since}, and the snapshot has settled ${settled}`;
    const whole = { data: textsAt(this.#log, head), settled: textsAt(this.#log, settled) };
    for (const channel of new Set([...Object.keys(output), ...whole.data.keys()])) {
      const shown = output[channel];
      if (!shown && lastOutput(this.#log, head, channel) <= after) continue;
      for (const part of ['data', 'settled']) {
        const [text, expected] = [shown?.[part] ?? '', whole[part].get(channel) ?? ''];
        const isRight = shown?.truncated ? expected.endsWith(text) : expected === text;
        if (!isRight) return `${part} of ${channel} at ${part === 'data' ? head : settled} is not the text of the log`;
      }
    }
    return undefined;
  }

  digestOf(id) {
    return this.#log.get(id)?.digest;
  }

  acknowledgeCreation() {
    if (!this.#isAcknowledged) this.findings.count('acknowledged');
    this.#isAcknowledged = true;
  }

  acknowledgeEvent(id) {
    if (this.#acknowledgedIds.has(id)) return;
    this.#acknowledgedIds.add(id);
    this.findings.count('acknowledged');
  }

  store({ id, type, digest, step, since, output }) {
    this.findings.count('stored');
    const before = this.#log.get(id);
    if (before === undefined) this.#log.set(id, { type, digest, step, since, output });
    else if (before.digest === digest) this.findings.report('duplicates', `${this}: event ${id} is stored twice`);
    else this.findings.report('mismatches', `${this}: event ${id} is stored with two contents`);
    this.#head = Math.max(this.#head, id);
  }

  storeRow(row) {
    this.#row = row;
  }

  judge() {
    if (!this.#row && this.#isAcknowledged)
      this.findings.report('lost', `${this}: was acknowledged, and is not stored`);
    for (const id of this.#acknowledgedIds) {
      if (!this.#log.has(id)) this.findings.report('lost', `${this}: event ${id} was acknowledged, and is not stored`);
    }
    this.#judgeLog();
    this.#judgeSteps();
    // The fault of a row that was set aside is known, and waits for an operator.
    if (this.#row?.aside) return;
    if (this.#row) this.#judgeRow(this.#row);
    else if (this.#log.size > 0) this.findings.report('mismatches', `${this}: events without a task`);
  }

  #judgeLog() {
    const { head } = this;
    const log = [...this.#log].filter(([id]) => id <= head);
    const missing = head - log.length;
    if (missing > 0) this.findings.report('holes', `${this}: ${missing} of ${head} are not in the log`, missing);
    const ends = log.filter(([, { type }]) => STATUS_AFTER.has(type)).map(([id]) => id);
    if (ends.length > 1) this.findings.report('terminal violations', `${this}: ends ${ends.length} times`);
    if (ends.length > 0 && !this.isOver) {
      this.findings.report('terminal violations', `${this}: goes on after its end, event ${ends[0]}`);
    }
  }

  /** A step is finished once, and nothing voids what came before its end. */
  #judgeSteps() {
    const finished = new Set();
    let boundary = 0;
    for (const [id, { step, since }] of [...this.#log].sort(([a], [b]) => a - b)) {
      if (since !== undefined && Number(since) < boundary) {
        this.findings.report('steps', `${this}: event ${id} voids what is after ${since}, a step ended at ${boundary}`);
      }
      if (step === undefined) continue;
      if (finished.has(step)) this.findings.report('steps', `${this}: event ${id} finishes the step ${step} again`);
      finished.add(step);
      boundary = id;
    }
  }

  #judgeRow({ status, headEventId, waiting, leased, suspended, delegated, held }) {
    if (Number(headEventId) > this.#head) {
      const missing = Number(headEventId) - this.#head;
      this.findings.report('holes', `${this}: the log has ${this.#head} of ${headEventId} events`, missing);
    } else if (Number(headEventId) < this.#head) {
      this.findings.report('mismatches', `${this}: the task stands at ${headEventId}, its log at ${this.#head}`);
    }
    const statusByLog = STATUS_AFTER.get(this.#log.get(this.#head)?.type);
    const statusOver = [...STATUS_AFTER.values()].includes(status) ? status : undefined;
    if (statusByLog !== statusOver) {
      this.findings.report('terminal violations', `${this}: is ${status}, its log says ${statusByLog ?? 'not over'}`);
    }
    if (statusOver === undefined && !waiting && !leased && !suspended && !delegated && !held) {
      this.findings.report('limbo', `${this}: is ${status}, not waiting, leased, suspended, delegated or held`);
    }
    if (held && (waiting || leased)) {
      this.findings.report('mismatches', `${this}: is held by ${held}, and ${waiting ? 'waiting' : 'leased'}`);
    }
  }

  toString() {
    return `task ${this.taskId}`;
  }
}
