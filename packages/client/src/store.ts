import { randomId } from './waiting.js';

/** Where ids of requests are kept over a reload: `sessionStorage`, `localStorage`, React Native's AsyncStorage, or one of your own. */
export interface Store {
  getItem(key: string): string | null | Promise<string | null>;
  setItem(key: string, value: string): void | Promise<void>;
  removeItem(key: string): void | Promise<void>;
}

/** The id of a request, and how to forget it. */
export interface KeptRequest {
  readonly requestId: string;
  forget(): void;
}

/**
 * Gives each request an id before the network has it. The same request of an earlier load of the page, whose task has not ended here,
 * gives its id again. Two equal requests of one load are two tasks.
 */
export class RequestIds {
  readonly #made = new Map<string, number>();

  constructor(private readonly store: Store) {}

  async take(content: string): Promise<KeptRequest> {
    const { store } = this;
    const request = `taskbridge:${content}`;
    const place = this.#made.get(request) ?? 0;
    this.#made.set(request, place + 1);
    const key = `${request}#${place}`;
    let requestId = randomId();
    try {
      requestId = (await store.getItem(key)) ?? requestId;
      await store.setItem(key, requestId);
    } catch {
      // A browser may refuse storage. Then a reload does not find the task, and no more.
    }
    return { requestId, forget: () => void (async () => store.removeItem(key))().catch(() => {}) };
  }
}
