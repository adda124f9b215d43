import type { Client } from 'pg';
import { removeFinishedTasks } from '../src/database/remove-finished-tasks.js';
import type { Child } from './child.js';
import { percentile } from './median.js';
import { insertWaiting } from './queue-rows.js';
import type { Served, Stage } from './stage.js';

/** Tasks that wait all the time, and their owners. */
const WAITING = 200;
const OWNERS = 20;
const CONNECTIONS = 8;
/** How long it goes on before the reader comes, and after it has gone, as a part of the reader's time. */
const SHARE = 0.1;
/** The fewest of each phase. */
const SAMPLES = 3;
/** How much the indexes may grow after the reader, from the second VACUUM on: the first one empties pages, the next gives them out. */
const GROWTH = 1.1;
/** A statement of the service that runs beside VACUUM keeps what died meanwhile. */
const FEW_DEAD = 50;

type Phase = 'before' | 'reader' | 'after';

export interface Sample {
  readonly phase: Phase;
  /** Since the beginning. */
  readonly seconds: number;
  readonly claimsPerSecond: number;
  /** Milliseconds of a claim over HTTP. */
  readonly p50: number;
  readonly p99: number;
  /** Of `proj_tasks`, as PostgreSQL counts them. */
  readonly deadRows: number;
  /** Transactions, from the service's /metrics. */
  readonly xminAge: number;
  /** The size of each index of `proj_tasks`. */
  readonly indexBytes: Readonly<Record<string, number>>;
}

export interface Verdict {
  readonly what: string;
  readonly found: number;
  readonly limit: number;
  readonly isMet: boolean;
}

export interface SoakOptions {
  readonly everySeconds: number;
  readonly limit: number;
  readonly keepsReader: boolean;
}

/** Churn of a queue of constant length, while a reader keeps PostgreSQL from removing what died, and after the reader has gone. */
export class QueueSoak {
  readonly #startedAt = performance.now();
  readonly #samples: Sample[] = [];

  private constructor(
    private readonly served: Served,
    private readonly client: Child,
    private readonly db: Client,
    private readonly reader: Client,
    private readonly options: SoakOptions,
    private readonly said: (sample: Sample) => void,
  ) {}

  static async start(stage: Stage, options: SoakOptions, said: (sample: Sample) => void): Promise<QueueSoak> {
    const served = await stage.service({ OPEN_TASKS_PER_PRINCIPAL: '0' });
    const db = await stage.connection(served.database);
    const reader = await stage.connection(served.database);
    await insertWaiting(db, { taskType: 'bench.wait', count: WAITING, owners: OWNERS });
    return new QueueSoak(served, stage.child('http-process.ts'), db, reader, options, said);
  }

  /** `seconds`: how long the reader stays. */
  async run(seconds: number): Promise<readonly Verdict[]> {
    const aside = Math.max(seconds * SHARE, SAMPLES * this.options.everySeconds);
    await this.churn('before', aside);
    await this.vacuum();
    await this.reader.query('BEGIN ISOLATION LEVEL REPEATABLE READ');
    await this.reader.query('SELECT count(*) FROM taskbridge.proj_tasks');
    await this.churn('reader', seconds);
    if (!this.options.keepsReader) await this.reader.query('COMMIT');
    const left = await this.vacuum();
    await this.churn('after', aside);
    return this.judge(left);
  }

  /** After the reader every sample ends with a VACUUM, as autovacuum does it in time. */
  private async churn(phase: Phase, seconds: number): Promise<void> {
    const samples = Math.max(SAMPLES, Math.round(seconds / this.options.everySeconds));
    for (let n = 0; n < samples; n += 1) {
      const load = { url: this.served.url, connections: CONNECTIONS, seconds: seconds / samples };
      const { count, claims } = await this.client.call<{ count: number; claims: number[] }>('churn', load, OWNERS);
      await this.removeEnded();
      const sample = {
        phase,
        seconds: (performance.now() - this.#startedAt) / 1000,
        claimsPerSecond: count / load.seconds,
        p50: percentile(claims, 0.5),
        p99: percentile(claims, 0.99),
        deadRows: await this.deadRows(),
        xminAge: await this.xminAge(),
        indexBytes: await this.indexBytes(),
      };
      this.#samples.push(sample);
      this.said(sample);
      if (phase === 'after') await this.vacuum();
    }
  }

  /** What `npm run retention` does, without its days. */
  private async removeEnded(): Promise<void> {
    while ((await removeFinishedTasks(this.db, 0)) > 0);
  }

  /** @returns the dead rows that it had to leave */
  private async vacuum(): Promise<number> {
    let said = '';
    const listen = ({ message }: { message?: string | undefined }) => (said += message);
    this.db.on('notice', listen);
    await this.db.query('VACUUM (VERBOSE, ANALYZE) taskbridge.proj_tasks');
    this.db.off('notice', listen);
    await this.db.query('VACUUM (ANALYZE) taskbridge.events');
    return Number(/(\d+) are dead but not yet removable/.exec(said)?.[1]);
  }

  private async deadRows(): Promise<number> {
    const { rows } = await this.db.query<{ dead: number }>(
      `SELECT n_dead_tup::float8 AS dead FROM pg_stat_user_tables WHERE relid = 'taskbridge.proj_tasks'::regclass`,
    );
    return rows[0]?.dead ?? Number.NaN;
  }

  private async indexBytes(): Promise<Readonly<Record<string, number>>> {
    const { rows } = await this.db.query<{ name: string; bytes: number }>(
      `SELECT indexrelid::regclass::text AS name, pg_relation_size(indexrelid)::float8 AS bytes FROM pg_index
      WHERE indrelid = 'taskbridge.proj_tasks'::regclass ORDER BY 1`,
    );
    return Object.fromEntries(rows.map(({ name, bytes }) => [name, bytes]));
  }

  private async xminAge(): Promise<number> {
    const text = await (await fetch(`${this.served.url}/metrics`)).text();
    return Number(/^taskbridge_oldest_xmin_age_transactions (\S+)$/m.exec(text)?.[1]);
  }

  private judge(left: number): readonly Verdict[] {
    const of = (wanted: Phase) => this.#samples.filter(({ phase }) => phase === wanted);
    const p50Of = (wanted: Phase) =>
      percentile(
        of(wanted).map(({ p50 }) => p50),
        0.5,
      );
    const growth = bytesOf(of('after').at(-1)) / bytesOf(of('after')[0]);
    return [
      verdict('dead rows that VACUUM left', left, FEW_DEAD),
      verdict('claim p50 after the reader, to before it', p50Of('after') / p50Of('before'), this.options.limit),
      verdict('size of the indexes at the end, to that soon after the reader', growth, GROWTH),
    ];
  }
}

/** The indexes together. */
export function bytesOf(sample: Sample | undefined): number {
  return Object.values(sample?.indexBytes ?? {}).reduce((sum, bytes) => sum + bytes, 0);
}

function verdict(what: string, found: number, limit: number): Verdict {
  return { what, found: Number(found.toPrecision(3)), limit, isMet: found <= limit };
}
