import { callControl } from '../control.js';
import { bareWs } from '../fan-out.js';
import type { Goal, Side } from '../goal.js';
import type { Stage } from '../stage.js';
import { streamingTasks } from '../tasks.js';

const TOKENS_A_SECOND = 30;
/** The bound of the time from the call of `output` to the socket. Tokens of 50 ms are one event. */
const P99_MS = 100;
/** A stream more or less is not worth a try. */
const FINENESS = 0.15;

interface Speech {
  readonly below: number;
  readonly seconds: number;
  readonly perSecond: number;
}

/** Servers whose handlers put out tokens. */
interface Speakers {
  /** Where to follow each stream. */
  readonly streams: readonly { readonly url: string; readonly taskId: string }[];
  speak(speech: Speech): Promise<readonly { readonly streams: number; readonly tokens: number }[]>;
  /** Seconds of CPU: of the servers, and of PostgreSQL. */
  cpu(): Promise<readonly [servers: number, postgres: number]>;
}

/**
 * Streams for each core that servers and PostgreSQL take together, of as many streams as the bound allows: the search is before the
 * repetitions, and a repetition that misses the bound goes on with fewer.
 */
function streamsACore(serve: (stage: Stage) => Promise<Speakers>) {
  return async (stage: Stage): Promise<Side> => {
    const { streams, speak, cpu } = await serve(stage);
    const followers = stage.child('token-process.ts');
    await followers.call('follow', streams);
    const seconds = 2 * stage.sizes.seconds;
    const trial = async (below: number) => {
      await followers.call('begin');
      const before = await cpu();
      const startedAt = performance.now();
      const spoken = await speak({ below, seconds, perSecond: TOKENS_A_SECOND });
      const tookSeconds = (performance.now() - startedAt) / 1000;
      const after = await cpu();
      const running = spoken.reduce((sum, one) => sum + one.streams, 0);
      if (running !== below) throw new Error(`${running} streams ran, of ${below}`);
      const { p50, p99 } = await followers.call<{ p50: number; p99: number }>('latencies', below, spoken[0]?.tokens);
      const [servers, postgres] = [(after[0] - before[0]) / tookSeconds, (after[1] - before[1]) / tookSeconds];
      return {
        figure: below / (servers + postgres),
        streams: below,
        'p50 ms': p50,
        'p99 ms': p99,
        'CPU-seconds a second': servers,
        'CPU-seconds of PostgreSQL a second': postgres,
      };
    };
    // Streams end only with the service, so a trial has the first of them.
    let [good, bad] = [0, streams.length + 1];
    const [first] = stage.sizes.streams;
    for (let next = Math.min(first, streams.length); next > good && next < bad; ) {
      if ((await trial(next))['p99 ms'] <= P99_MS) good = next;
      else bad = next;
      next = bad > streams.length ? Math.min(2 * good, streams.length) : Math.floor((good + bad) / 2);
      if (bad - good <= FINENESS * bad) break;
    }
    let below = Math.max(good, 1);
    return async () => {
      for (;;) {
        const finding = await trial(below);
        if (finding['p99 ms'] <= P99_MS || below === 1) return finding;
        below = Math.max(1, Math.floor(below * 0.9));
      }
    };
  };
}

/** Each stream runs on one replica, and is followed on the next. */
function replicas(count: number) {
  return async (stage: Stage): Promise<Speakers> => {
    const served = await stage.replicas(count, { OPEN_TASKS_PER_PRINCIPAL: '0' });
    const taskIds = await streamingTasks(served, stage.sizes.streams[1]);
    return {
      streams: taskIds.map((taskId, index) => ({ taskId, url: served[(index + 1) % count]?.url ?? '' })),
      speak: (speech) => Promise.all(served.map((one) => callControl<never>(one, 'tokens', speech))),
      cpu: async () => {
        const each = await Promise.all(served.map((one) => one.cpuSeconds()));
        const [{ database }] = served as [(typeof served)[0]];
        return [each.reduce((sum, one) => sum + one, 0), await stage.postgresCpuSeconds(database)];
      },
    };
  };
}

async function bareServer(stage: Stage): Promise<Speakers> {
  const { url, taskIds, child } = await bareWs(stage, stage.sizes.streams[1]);
  return {
    streams: taskIds.map((taskId) => ({ url, taskId })),
    speak: async (speech) => [await child.call('tokens', speech)],
    cpu: async () => [await child.cpuSeconds(), 0],
  };
}

const tokens = (count: number) =>
  ({
    title: `streams of 30 tokens/s, ${count} replica${count > 1 ? 's' : ''}`,
    against: 'bare ws, nothing stored',
    unit: 'streams a core',
    judged: 'ratio',
    ours: streamsACore(replicas(count)),
    yardstick: streamsACore(bareServer),
  }) as const;

export const TOKENS: readonly Goal[] = [
  { name: 'G20', ...tokens(1) },
  { name: 'G20b', ...tokens(2) },
  { name: 'G20c', ...tokens(4) },
];
