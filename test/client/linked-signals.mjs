// Run with --expose-gc, and with the address of the client's waiting.js: signals that only other signals are linked to still pass on what ends them.
import { setTimeout as delay } from 'node:timers/promises';

const { linked } = await import(process.argv[2]);

const closing = new AbortController();
const ended = [];
/** Nothing but the last of the chain has a listener, and nobody holds one. */
function chain(name) {
  const first = linked(closing.signal);
  const last = linked(linked(first.signal).signal);
  last.signal.addEventListener('abort', () => ended.push(name));
  return first.abort;
}
const cut = chain('cut');
chain('closed');
for (let n = 0; n < 5; n += 1) {
  globalThis.gc();
  await delay(10);
}
cut(new Error('cut'));
closing.abort(new Error('closed'));
console.log(ended.join());
