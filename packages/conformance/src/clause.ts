import type { Scene } from './scene.js';

/** What a clause needs besides the principal whose credentials were given. */
export type Need = 'task' | 'worker' | 'other-principal' | 'maximal-age';

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
  /** Absent where nobody can check it from outside; then `reason` says why. */
  readonly check?: Check;
  readonly reason?: string;
}

/** The service does not do what the clause demands. */
export class Broken extends Error {
  override readonly name = 'Broken';
}

/** This installation does not let the clause be checked. */
export class NotChecked extends Error {
  override readonly name = 'NotChecked';
}
