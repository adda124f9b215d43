import type { Followed, Frame } from './followed.js';
import type { Connection, Link, Sharing } from './link.js';
import type { Logs } from './logs.js';
import { randomId } from './waiting.js';

/** What a tab says to all others of the same user. */
type Message = { readonly from: string } & Said;

type Said =
  | { readonly say: 'hello' }
  /** `term` counts leaders: the greater wins, then the smaller `from`. */
  | { readonly say: 'lead'; readonly term: number; readonly connection: Connection }
  | { readonly say: 'want'; readonly key: string; readonly after: number }
  | { readonly say: 'drop'; readonly key?: string }
  | { readonly say: 'frame'; readonly key: string; readonly frame: Frame }
  /** The leader has this much, and may not follow it any more. The tab asks the service itself how it goes on. */
  | { readonly say: 'head'; readonly key: string; readonly head: number };

const BEAT_MS = 1_000;
/** A tab that is seen takes over after this silence. A tab that was silent for as long is no leader any more. */
const TAKE_OVER_MS = 3_000;
/** Browsers wake hidden tabs once a minute. */
const HIDDEN_TAKE_OVER_MS = 150_000;
/** How often a tab repeats what it wants, and after which silence the leader takes it for gone: a tab that crashed says nothing. */
const REPEAT_MS = 30_000;
const GONE_MS = 180_000;
/** How long a new tab waits for a leader to speak. */
const HELLO_MS = 150;

/**
 * The tabs of one user, of which one has the connection. The leader follows what any tab wants, and passes on what comes. A tab takes
 * it for a hint: its logs drop what they have, and read by page what they lack.
 */
export class Tabs implements Sharing {
  readonly #id = randomId();
  /** What the leader holds for other tabs: by tab and key, how to let go. */
  readonly #held = new Map<string, Map<string, () => void>>();
  /** When each of them was last heard. */
  readonly #heardAt = new Map<string, number>();
  #wantedAt = 0;
  #channel: BroadcastChannel | undefined;
  #leader: string | undefined;
  #term = 0;
  /** When the leader was last heard, or beat itself. */
  #beatAt = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  readonly #unsubscribe: () => void;

  constructor(
    private readonly name: string,
    private readonly link: Link,
    private readonly logs: Logs,
    /** Listens to the feed of changes. Returns what ends that. */
    private readonly listen: () => () => void,
  ) {
    this.#unsubscribe = link.connection.subscribe(() => this.#leads() && this.#beat());
    this.resume();
  }

  changed(followed: Followed, isAdded: boolean): void {
    if (!this.#channel) this.resume();
    if (!isAdded) this.#post({ say: 'drop', key: followed.key });
    else if (!this.#leads()) this.#want(followed);
  }

  relay(key: string, frame: Frame): void {
    if (this.#held.size > 0 && this.#leads()) this.#post({ say: 'frame', key, frame });
  }

  /** A log of this tab is over, or was refused. */
  ended({ key, head }: Followed): void {
    if (this.#held.size > 0 && this.#leads()) this.#post({ say: 'head', key, head });
  }

  wake(isOtherNetwork: boolean): void {
    if (this.#leads()) this.link.wake(isOtherNetwork);
    else this.#check();
  }

  leave(): void {
    this.#post({ say: 'drop' });
    this.#obey(undefined);
    clearTimeout(this.#timer);
    this.#channel?.close();
    this.#channel = undefined;
  }

  /** From the first that is followed, so that a tab without tasks costs nothing. */
  resume(): void {
    if (this.link.followed.size === 0) return;
    this.#channel = new BroadcastChannel(this.name);
    this.#channel.onmessage = ({ data }: MessageEvent<Message>) => this.#hear(data);
    this.#ask();
  }

  close(): void {
    this.#unsubscribe();
    this.leave();
  }

  get #isLeader(): boolean {
    return this.#leader === this.#id;
  }

  /** Whether this tab leads now. One that was frozen finds out here, before it sends anything: another may lead since. */
  #leads(): boolean {
    if (this.#isLeader && Date.now() - this.#beatAt > TAKE_OVER_MS) this.#ask();
    return this.#isLeader;
  }

  /**
   * Asks for a leader. Where none answers, this tab becomes it. Until then it passes nothing on, and a connection that it has stays open:
   * browsers wake a hidden tab once a minute, and it may still be the only one.
   */
  #ask(): void {
    this.#leader = undefined;
    this.#post({ say: 'hello' });
    this.#beatAt = Date.now();
    this.#checkIn(HELLO_MS * (1 + Math.random()));
  }

  #checkIn(ms: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#check(), ms);
  }

  /** The leader beats. Another tab takes over where no beat came. */
  #check(): void {
    if (!this.#channel) return;
    if (this.#isLeader) {
      // Else it has asked, and waits for an answer.
      if (this.#leads()) this.#beat();
      return;
    }
    const patienceMs = document.visibilityState === 'visible' ? TAKE_OVER_MS : HIDDEN_TAKE_OVER_MS;
    const isAlone = !this.#leader || Date.now() - this.#beatAt > patienceMs;
    // A tab that follows nothing need not lead.
    if (isAlone && this.link.followed.size > 0) return this.#lead();
    if (Date.now() - this.#wantedAt > REPEAT_MS) this.#wantAll();
    // Not all in the same moment.
    this.#checkIn(BEAT_MS * (0.5 + Math.random()));
  }

  #lead(): void {
    this.#leader = this.#id;
    this.#term += 1;
    this.#beat();
    this.link.resume();
  }

  #beat(): void {
    this.#beatAt = Date.now();
    // An error loses its members on its way to another tab.
    const connection = { ...this.link.connection.get(), error: undefined };
    this.#post({ say: 'lead', term: this.#term, connection });
    for (const tab of [...this.#held.keys()]) {
      if (Date.now() - (this.#heardAt.get(tab) ?? 0) > GONE_MS) this.#release(tab);
    }
    this.#checkIn(BEAT_MS);
  }

  /** From now on another tab leads, or none that is known. */
  #obey(leader: string | undefined): void {
    this.#leader = leader;
    this.link.leave();
    for (const held of [...this.#held.keys()]) this.#release(held);
    this.#wantAll();
  }

  #wantAll(): void {
    this.#wantedAt = Date.now();
    this.link.followed.forEach((followed) => this.#want(followed));
  }

  #want({ key, head }: Followed): void {
    if (this.#leader) this.#post({ say: 'want', key, after: head });
  }

  #hear(message: Message): void {
    const { from } = message;
    if (from === this.#leader) this.#beatAt = Date.now();
    this.#heardAt.set(from, Date.now());
    switch (message.say) {
      case 'hello':
        if (this.#leads()) this.#beat();
        break;
      case 'lead':
        this.#hearLeader(message);
        break;
      case 'want':
        if (this.#leads()) this.#hold(from, message.key, message.after);
        break;
      case 'drop':
        this.#release(from, message.key);
        // The leader leaves.
        if (message.key !== undefined || from !== this.#leader) break;
        this.#leader = undefined;
        this.#checkIn(HELLO_MS * Math.random());
        break;
      case 'frame':
        if (!this.#isLeader) this.link.followed.get(message.key)?.receive(message.frame);
        break;
      case 'head':
        if (!this.#isLeader) this.link.followed.get(message.key)?.catchUp(message.head);
    }
  }

  #hearLeader({ from, term, connection }: Message & { say: 'lead' }): void {
    const isOlder = term < this.#term || (term === this.#term && this.#leader !== undefined && from > this.#leader);
    if (isOlder) {
      // One that was away: it learns which tab leads.
      if (this.#leads()) this.#beat();
      return;
    }
    const isNew = from !== this.#leader || term > this.#term;
    this.#beatAt = Date.now();
    this.#term = term;
    if (isNew) {
      this.#obey(from);
      this.#checkIn(BEAT_MS);
    }
    this.link.mirror(connection);
  }

  /** Follows it for another tab, and says how far it is. */
  #hold(tab: string, key: string, after: number): void {
    const held = this.#held.get(tab) ?? new Map<string, () => void>();
    this.#held.set(tab, held);
    if (key === 'changes') {
      if (held.has(key)) return;
      held.set(key, this.listen());
      return this.#post({ say: 'head', key, head: after });
    }
    const { log, leave } = this.logs.join(key, after);
    held.get(key)?.();
    held.set(key, leave);
    if (log.head > after) this.ended(log);
  }

  /** Without a key: all that is held for the tab. */
  #release(tab: string, key?: string): void {
    const held = this.#held.get(tab);
    if (!held) return;
    for (const [name, release] of [...held]) {
      if (key !== undefined && name !== key) continue;
      held.delete(name);
      release();
    }
    if (held.size === 0) this.#held.delete(tab);
  }

  #post(message: Said): void {
    this.#channel?.postMessage({ ...message, from: this.#id });
  }
}
