import type { TransportName } from '../../packages/client/src/client-api.js';

export interface ChaosSizes {
  /** nginx. */
  readonly port: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly runs: number;
  readonly seed: number;
  readonly atATime: number;
}

/** What a run was like. It is right when `wrong` is empty. */
export interface ChaosVerdict {
  readonly run: number;
  readonly transports: string;
  readonly ms: number;
  /** What befell its connections. */
  readonly faults: string;
  readonly wrong: readonly string[];
}

/** By turns. The first of an order is tried first; a run with one has no other. */
export const ORDERS: readonly (readonly TransportName[])[] = [
  ['websocket', 'sse', 'poll'],
  ['websocket'],
  ['sse'],
  ['poll'],
  ['sse', 'poll'],
];
