import { Findings } from './counts.mjs';
import { readEnvelope } from './envelope.mjs';
import { Feed } from './feed.mjs';
import { HistoryInvalid } from './history-invalid.mjs';
import { Subscriber } from './subscriber.mjs';
import { Task } from './task.mjs';

/** Takes the lines of a history one by one, and returns the counts at the end. */
export class History {
  #findings = new Findings();
  #tasks = new Map();
  #subscribers = new Map();
  #feeds = new Map();
  #isStoreKnown = false;

  /** @throws HistoryInvalid */
  add(line) {
    const entry = parsed(line);
    switch (entry.kind) {
      case 'created':
        return this.#task(entry).acknowledgeCreation();
      case 'appended':
        for (const id of entry.eventIds ?? []) this.#task(entry).acknowledgeEvent(idOf(id));
        return;
      case 'connected':
        return this.#subscriber(entry, this.#task(entry).taskId).connect(idOf(entry.cursor || '0'));
      case 'snapshot': {
        const snapshot = snapshotIn(entry.raw);
        return this.#subscriber(entry, this.#task(snapshot).taskId).show(snapshot);
      }
      case 'event':
        return this.#subscriber(entry).deliver(entry.raw);
      case 'ended':
        return this.#subscriber(entry).end();
      case 'left':
        return (this.#feeds.get(entry.subscriber) ?? this.#subscriber(entry)).leave();
      case 'feed':
        return this.#feed(entry, true).connect(entry);
      case 'listed':
        return this.#feed(entry).list(entry.raw);
      case 'change':
        return this.#feed(entry).deliver(entry.raw);
      case 'disconnected':
        return this.#subscriber(entry).disconnect();
      case 'task':
        this.#isStoreKnown = true;
        return this.#task(entry).storeRow(entry);
      case 'stored':
        this.#isStoreKnown = true;
        return this.#store(entry.raw);
      default:
        throw new HistoryInvalid(`unknown kind ${JSON.stringify(entry.kind)}`);
    }
  }

  /** @throws HistoryInvalid without a line of what is stored */
  judge() {
    if (!this.#isStoreKnown) throw new HistoryInvalid('nothing says what is stored: add a dump, or --database-url');
    for (const subscriber of this.#subscribers.values()) subscriber.judge(this.#tasks.get(subscriber.taskId));
    for (const feed of this.#feeds.values()) feed.judge(this.#tasks);
    for (const task of this.#tasks.values()) task.judge();
    return this.#findings;
  }

  #store(raw) {
    const envelope = readEnvelope(raw);
    if (!envelope) throw new HistoryInvalid(`no envelope is stored: ${String(raw).slice(0, 120)}`);
    this.#task(envelope).store(envelope);
  }

  #task({ taskId }) {
    if (typeof taskId !== 'string') throw new HistoryInvalid('taskId is missing');
    let task = this.#tasks.get(taskId);
    if (!task) this.#tasks.set(taskId, (task = new Task(taskId, this.#findings)));
    return task;
  }

  /** Its first line says whose tasks it follows. */
  #feed(entry, isBegun = false) {
    const { subscriber: name } = entry;
    let feed = this.#feeds.get(name);
    if (!feed) {
      if (!isBegun || typeof name !== 'string')
        throw new HistoryInvalid(`the feed ${JSON.stringify(name)} has not begun`);
      if (entry.all !== true && [entry.owner, entry.tenant].every((one) => typeof one !== 'string')) {
        throw new HistoryInvalid(`the feed ${JSON.stringify(name)} has no owner, tenant or all`);
      }
      this.#feeds.set(name, (feed = new Feed(name, entry, this.#findings)));
    }
    return feed;
  }

  /** Its first line says which task it follows. */
  #subscriber({ subscriber: name }, taskId) {
    let subscriber = this.#subscribers.get(name);
    if (!subscriber) {
      if (typeof name !== 'string' || taskId === undefined) {
        throw new HistoryInvalid(`the subscriber ${JSON.stringify(name)} has not connected`);
      }
      this.#subscribers.set(name, (subscriber = new Subscriber(name, taskId, this.#findings)));
    }
    if (taskId !== undefined && taskId !== subscriber.taskId) {
      throw new HistoryInvalid(`the subscriber ${JSON.stringify(name)} follows two tasks`);
    }
    return subscriber;
  }
}

function snapshotIn(raw) {
  const snapshot = typeof raw === 'string' ? parsed(raw) : undefined;
  if (typeof snapshot?.output === 'object' && [snapshot.headEventId, snapshot.settledEventId].every(isId))
    return snapshot;
  throw new HistoryInvalid(`no snapshot with output: ${String(raw).slice(0, 120)}`);
}

const isId = (text) => /^(0|[1-9][0-9]*)$/.test(text);

function idOf(text) {
  const id = isId(text) ? Number(text) : Number.NaN;
  if (Number.isSafeInteger(id)) return id;
  throw new HistoryInvalid(`no event id: ${JSON.stringify(text)}`);
}

function parsed(line) {
  try {
    const entry = JSON.parse(line);
    if (typeof entry === 'object' && entry !== null) return entry;
  } catch {
    // The count below reports it.
  }
  throw new HistoryInvalid(`no JSON object: ${line.slice(0, 120)}`);
}
