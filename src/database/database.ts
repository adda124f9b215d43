import { setTimeout as delay } from 'node:timers/promises';
import type { Pool, PoolClient } from 'pg';
import { withinDeadline } from '../deadline.js';
import {
  CommitUnknown,
  DatabaseUnavailable,
  isConflict,
  leavesConnectionFit,
  sqlStateOf,
  translated,
} from './database.errors.js';
import { ConnectionQueue } from './connection-queue.js';
import type { Queryable, Statement } from './queryable.js';
import { SilenceWatch } from './silence.js';

/** A transaction that has begun and not ended. */
export interface Transaction extends Queryable {
  /** Undoes what `work` did when it throws, and nothing of what was done before: the transaction can go on. Not within itself. */
  undoable<T>(work: () => Promise<T>): Promise<T>;
}

const MAX_RETRIES = 3;
/** For waiting and a new connection together, so that a refusal comes in time. */
const CONNECTED_WITHIN_MS = 2_000;
/** The time for a new connection also after a long wait, because PostgreSQL was busy. */
const LEAST_TO_CONNECT_MS = 500;

/** The access to PostgreSQL. Every wait is bounded. When its time is up, it throws `DatabaseUnavailable`. */
export class Database implements Queryable {
  readonly #pool: Pool;
  readonly #queue: ConnectionQueue;
  readonly #silence = new SilenceWatch();
  #stopped: Promise<void> | undefined;

  constructor(pool: Pool) {
    this.#pool = pool;
    this.#queue = new ConnectionQueue(pool.options.max);
  }

  /** One statement, a transaction of its own. */
  async query<Row extends object>(statement: Statement, values: readonly unknown[] = []): Promise<readonly Row[]> {
    return this.#repeatingConflicts(() => this.#inSession((session) => session.query<Row>(statement, values)));
  }

  /**
   * Commits what `work` did when it returns, undoes it when it throws. `work` runs again after a deadlock or a serialization
   * failure, so it must have no effect outside the transaction. Throws `CommitUnknown` when the outcome is unknown.
   */
  async transaction<T>(work: (tx: Transaction) => Promise<T>): Promise<T> {
    return this.#repeatingConflicts(() =>
      this.#inSession(async (session) => {
        try {
          await session.begin();
          const result = await work(session);
          await session.commit();
          return result;
        } catch (error) {
          await session.rollback();
          throw error;
        }
      }),
    );
  }

  /** Waits for the statements under way. */
  stop(): Promise<void> {
    this.#stopped ??= this.#pool.end();
    return this.#stopped;
  }

  async #repeatingConflicts<T>(attempt: () => Promise<T>): Promise<T> {
    for (let retries = 0; ; retries += 1) {
      try {
        return await attempt();
      } catch (error) {
        if (retries === MAX_RETRIES || !isConflict(error)) throw translated(error);
        // Two transactions that collided once must not collide again in step.
        await delay(Math.random() * 20 * (retries + 1));
      }
    }
  }

  async #inSession<T>(work: (session: Session) => Promise<T>): Promise<T> {
    const cameAt = performance.now();
    await this.#queue.enter();
    let session: Session | undefined;
    try {
      session = new Session(await this.#connect(performance.now() - cameAt), this.#silence);
      return await work(session);
    } finally {
      session?.release();
      this.#queue.leave(session?.isFit ?? false);
    }
  }

  async #connect(waitedMs: number): Promise<PoolClient> {
    const leftMs = Math.max(LEAST_TO_CONNECT_MS, CONNECTED_WITHIN_MS - waitedMs);
    const connection = this.#pool.connect();
    try {
      return await withinDeadline(leftMs, connection);
    } catch (error) {
      // An answer that arrives later is ignored here.
      connection.then(
        (client) => client.release(),
        () => {},
      );
      throw new DatabaseUnavailable(error);
    }
  }
}

/** One connection while we use it, and whether another caller may use it afterwards. */
class Session implements Transaction {
  #inTransaction = false;
  #fit = true;
  #released = false;

  constructor(
    private readonly client: PoolClient,
    private readonly silence: SilenceWatch,
  ) {}

  /** Whether PostgreSQL answered every statement. */
  get isFit(): boolean {
    return this.#fit;
  }

  async query<Row extends object>({ name, text }: Statement, values: readonly unknown[] = []): Promise<readonly Row[]> {
    if (this.#released) throw new Error(`the transaction is over: ${name} came too late`);
    return (await this.#watched(this.client.query<Row>({ name, text, values: [...values] }))).rows;
  }

  async begin(): Promise<void> {
    await this.#watched(this.client.query('BEGIN'));
    this.#inTransaction = true;
  }

  async undoable<T>(work: () => Promise<T>): Promise<T> {
    await this.#watched(this.client.query('SAVEPOINT undoable'));
    try {
      const result = await work();
      await this.#watched(this.client.query('RELEASE SAVEPOINT undoable'));
      return result;
    } catch (error) {
      if (this.#fit) await this.#watched(this.client.query('ROLLBACK TO SAVEPOINT undoable'));
      throw error;
    }
  }

  async commit(): Promise<void> {
    const { command } = await this.#watched(this.client.query('COMMIT')).catch((error: unknown) => {
      // A deferred constraint or a conflict: PostgreSQL says that it did not commit. Any other error leaves it open.
      this.#inTransaction = false;
      if (/^(23...|40001|40P01)$/.test(sqlStateOf(error) ?? '')) throw error;
      this.#fit = false;
      throw new CommitUnknown(error);
    });
    this.#inTransaction = false;
    // PostgreSQL's answer, without an error, to the COMMIT of a transaction with a failed statement.
    if (command !== 'COMMIT')
      throw new Error('a statement of the transaction had failed: it was rolled back, not committed');
  }

  async rollback(): Promise<void> {
    if (!this.#inTransaction || !this.#fit) return;
    await this.client.query('ROLLBACK').catch(() => {
      this.#fit = false;
    });
  }

  /** A connection in an unknown state is closed, never reused. */
  release(): void {
    this.#released = true;
    this.client.release(!this.#fit);
  }

  async #watched<T>(answer: Promise<T>): Promise<T> {
    try {
      return await this.silence.within(answer);
    } catch (error) {
      if (!leavesConnectionFit(error)) this.#fit = false;
      throw error;
    }
  }
}
