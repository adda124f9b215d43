import { AsyncLocalStorage } from 'node:async_hooks';
import type { EventEmitter } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { runInStory, type Story, storyFrom } from '../observability/correlation.js';

const stories = new WeakMap<IncomingMessage, Story>();

/** Always the same for one request, also for the raw request of a WebSocket upgrade, which no middleware sees. */
export function storyOfRequest(req: IncomingMessage): Story {
  let story = stories.get(req);
  if (story === undefined) {
    const { traceparent } = req.headers;
    story = storyFrom(typeof traceparent === 'string' ? traceparent : undefined);
    stories.set(req, story);
  }
  return story;
}

/** The first middleware. Everything behind it, refusals included, belongs to the story of its request. */
export function correlation(req: IncomingMessage, res: ServerResponse, next: () => void): void {
  const story = storyOfRequest(req);
  res.setHeader('X-Correlation-Id', story.correlationId);
  runInStory(story, () => {
    const inStory = AsyncLocalStorage.snapshot();
    listenIn(inStory, req);
    listenIn(inStory, res);
    next();
  });
}

/** Node emits the events of a request in the context of its connection, where listeners would have lost the story. */
function listenIn(inStory: ReturnType<typeof AsyncLocalStorage.snapshot>, emitter: EventEmitter): void {
  const { emit } = emitter;
  emitter.emit = (...args: Parameters<typeof emit>) => inStory(() => Reflect.apply(emit, emitter, args));
}
