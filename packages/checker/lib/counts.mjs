/** The counts in the order of their output, and whether each must be 0. */
export const COUNTS = [
  { name: 'acknowledged', meaning: 'creates and events that the service said it had stored' },
  { name: 'stored', meaning: 'events in the log' },
  { name: 'delivered', meaning: 'events that reached a subscriber' },
  { name: 'changes', meaning: 'changes of tasks that reached a feed' },
  { name: 'lost', meaning: 'acknowledged and not stored, or missing in a feed', mustBeZero: true },
  { name: 'duplicates', meaning: 'delivered again within one connection, or stored twice', mustBeZero: true },
  { name: 'holes', meaning: 'ids that are missing in a connection, at its end, or in the log', mustBeZero: true },
  { name: 'reordered', meaning: 'delivered after an event with a greater id', mustBeZero: true },
  { name: 'mismatches', meaning: 'delivered with other bytes than stored, or never stored', mustBeZero: true },
  { name: 'terminal violations', meaning: 'an end that is not the one, last event of its task', mustBeZero: true },
  { name: 'steps', meaning: 'steps that are finished twice, or whose output is void later', mustBeZero: true },
  { name: 'limbo', meaning: 'tasks that are not over, and that nothing will go on with', mustBeZero: true },
  { name: 'stale', meaning: 'tasks of which a feed has not the newest state at the end', mustBeZero: true },
  { name: 'foreign', meaning: 'tasks in a feed to which they do not belong', mustBeZero: true },
  { name: 'snapshots', meaning: 'snapshots with another text than the log makes', mustBeZero: true },
  { name: 'unfinished', meaning: 'subscribers that were never told of the end of their task', mustBeZero: true },
];

/** Counts, and keeps the first few examples of each violation. */
export class Findings {
  static EXAMPLES = 10;
  counts = Object.fromEntries(COUNTS.map(({ name }) => [name, 0]));
  examples = Object.fromEntries(COUNTS.map(({ name }) => [name, []]));

  count(name, by = 1) {
    this.counts[name] += by;
  }

  /** `by` violations of one kind, and where. */
  report(name, example, by = 1) {
    this.counts[name] += by;
    if (this.examples[name].length < Findings.EXAMPLES) this.examples[name].push(example);
  }

  get isClean() {
    return COUNTS.every(({ name, mustBeZero }) => !mustBeZero || this.counts[name] === 0);
  }
}
