import { HistoryInvalid } from './history-invalid.mjs';
import { differences, stateOf } from './told-task.mjs';

/** A follower of a feed, over any number of connections: what it got of each task, and at the end what it has to know. */
export class Feed {
  /** By task: the newest state that it has, `removed` or `left`. */
  #known = new Map();
  #hasLeft = false;

  /** `scope`: `owner` in a `tenant`, a `tenant`, or `all`; perhaps `status`, `suspended` and `taskType` as filters. */
  constructor(name, scope, findings) {
    this.name = name;
    this.scope = scope;
    this.findings = findings;
  }

  connect(scope) {
    for (const member of ['owner', 'tenant', 'all', 'status', 'suspended', 'taskType']) {
      if (scope[member] !== this.scope[member]) throw new HistoryInvalid(`${this} follows two scopes`);
    }
    this.#hasLeft = false;
  }

  /** A task of the list with which the client began. */
  list(raw) {
    this.#tell(parsed(raw));
  }

  deliver(raw) {
    this.findings.count('changes');
    const { task, taskId, removed, left } = parsed(raw) ?? {};
    if (task !== undefined) this.#tell(task);
    else if (typeof taskId === 'string' && (removed || left)) this.#known.set(taskId, removed ? 'removed' : 'left');
    else this.findings.report('mismatches', `${this}: no change: ${String(raw).slice(0, 120)}`);
  }

  leave() {
    this.#hasLeft = true;
  }

  /** `tasks`: what is stored, by id. */
  judge(tasks) {
    for (const [taskId, known] of this.#known) this.#judgeKnown(taskId, known, tasks.get(taskId));
    if (this.#hasLeft) return;
    for (const [taskId, { row }] of tasks) {
      if (row && this.#belongs(row) && this.#matches(row) && !this.#known.has(taskId)) {
        this.findings.report('lost', `${this}: never got task ${taskId}`);
      }
    }
  }

  #judgeKnown(taskId, known, task) {
    const where = `${this}, task ${taskId}`;
    const row = task?.row;
    if (row && !this.#belongs(row)) {
      this.findings.report('foreign', `${where}: does not belong to it`);
      return;
    }
    if (known !== 'removed' && known !== 'left') {
      const problem = task?.contradiction(known);
      if (problem !== undefined) this.findings.report('mismatches', `${where}: ${problem}`);
    }
    if (this.#hasLeft) return;
    const problem = this.#staleness(known, row);
    if (problem !== undefined) this.findings.report('stale', `${where}: ${problem}`);
  }

  /** Why what it knows is not the newest. */
  #staleness(known, row) {
    if (!row) return known === 'removed' ? undefined : 'is not stored any more, and the feed has it';
    if (known === 'removed') return 'it got its removal, and the task is stored';
    if (!this.#matches(row)) return known === 'left' ? undefined : 'has left the filter, and the feed has it';
    if (known === 'left') return 'it got `left`, and the task matches the filter';
    const stored = stateOf({ ...row, openSuspension: row.suspendId && { suspendId: row.suspendId } });
    const other = differences(stateOf(known), stored).map((name) => `${name} is ${stored[name]}`);
    return other.length > 0 ? `${other.join(', ')}, and the feed has otherwise` : undefined;
  }

  #tell(task) {
    if (typeof task?.taskId !== 'string' || !/^\d+$/.test(task.headEventId)) {
      this.findings.report('mismatches', `${this}: no task: ${JSON.stringify(task)?.slice(0, 120)}`);
      return;
    }
    const before = this.#known.get(task.taskId);
    if (before === 'removed' || Number(before?.headEventId) > Number(task.headEventId)) {
      this.findings.report('stale', `${this}, task ${task.taskId}: an earlier state after a later one`);
    }
    this.#known.set(task.taskId, task);
  }

  #belongs({ tenant, owner, taskType }) {
    const { scope } = this;
    if (scope.taskType !== undefined && scope.taskType !== taskType) return false;
    if (scope.all) return true;
    return (scope.tenant ?? '') === tenant && (scope.owner === undefined || scope.owner === owner);
  }

  #matches({ status, suspendId, taskType }) {
    const { scope } = this;
    return (
      (scope.taskType === undefined || scope.taskType === taskType) &&
      (scope.status === undefined || scope.status === status) &&
      (scope.suspended === undefined || scope.suspended === (suspendId !== null))
    );
  }

  toString() {
    return `feed ${this.name}`;
  }
}

function parsed(raw) {
  try {
    return JSON.parse(raw);
  } catch {
    return undefined;
  }
}
