import { Injectable } from '@nestjs/common';
import type { Latency, NumbersPoint } from '#protocol/operators.js';
import { Registry } from 'prom-client';
import { Rounds } from '../rounds.js';
import { OpenStreams } from '../streaming/open-streams.js';
import { MeasureBacklog } from '../tasks/measure-backlog.js';
import { type Buckets, latencyBetween } from './latency.js';

const EVERY_SECONDS = 10;
/** A quarter of an hour. */
const POINTS = 90;

/** The replica's own numbers of the last quarter of an hour, for charts where there is no Prometheus. */
@Injectable()
export class Numbers {
  readonly everySeconds = EVERY_SECONDS;
  readonly #points: NumbersPoint[] = [];
  readonly #before = new Map<string, Buckets>();
  readonly #rounds = new Rounds(
    () => this.round(),
    () => EVERY_SECONDS * 1000,
  );

  constructor(
    private readonly backlog: MeasureBacklog,
    private readonly streams: OpenStreams,
    private readonly registry: Registry,
  ) {}

  get points(): readonly NumbersPoint[] {
    return this.#points;
  }

  start(): void {
    this.#rounds.start();
  }

  stop(): Promise<void> {
    return this.#rounds.stop();
  }

  private async round(): Promise<void> {
    const { waiting, held, running, suspended, aside } = await this.backlog.execute();
    const append = await this.latency('taskbridge_append_seconds');
    const delivery = await this.latency('taskbridge_commit_to_delivery_seconds');
    this.#points.push({
      at: new Date().toISOString(),
      ...(Number.isFinite(waiting) && { tasks: { waiting, held, running, suspended, aside } }),
      streams: this.streams.size,
      ...(append && { append }),
      ...(delivery && { delivery }),
    });
    if (this.#points.length > POINTS) this.#points.shift();
  }

  /** Of the time since the last point. Undefined where nothing was measured, or a host measures elsewhere. */
  private async latency(name: string): Promise<Latency | undefined> {
    const metric = await this.registry.getSingleMetric(name)?.get();
    if (!metric) return undefined;
    const buckets: Buckets = metric.values.flatMap(({ labels, value }) => {
      const { le } = labels as { readonly le?: number | string };
      return le === undefined ? [] : [{ seconds: le === '+Inf' ? Infinity : Number(le), count: value }];
    });
    const before = this.#before.get(name) ?? [];
    this.#before.set(name, buckets);
    return latencyBetween(before, buckets);
  }
}
