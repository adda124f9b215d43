import type { Need } from './installation.js';
import type { Scene } from './scene.js';

export type Check = (scene: Scene) => Promise<void>;

/** One sentence that the protocol promises, and how it is checked from outside. */
export interface Clause {
  readonly id: string;
  readonly document: string;
  /** The heading under which the sentence stands, without its `#`. */
  readonly section: string;
  /** A part of what is written there, word by word. */
  readonly sentence: string;
  readonly needs: readonly Need[];
  /** It waits for a clock of the service, for this many seconds at most. */
  readonly waitsSeconds?: number;
  /** Absent when no check from outside is possible. Then `reason` says why. */
  readonly check?: Check;
  readonly reason?: string;
}
