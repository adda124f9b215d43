// Preloaded into a service that a test measures. `GET /reset` begins a measurement; `GET /max` answers what the longest turn of the event
// loop since then took, in milliseconds: by the clock, and of the processor's time, which a busy machine does not change.
// The port is on the standard error, which the service itself leaves empty.
import { createServer } from 'node:http';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { isMainThread } from 'node:worker_threads';

if (isMainThread) {
  const delay = monitorEventLoopDelay({ resolution: 1 });
  let longest = 0;
  let last = 0;
  const usedMs = () => {
    const { user, system } = process.threadCpuUsage();
    return (user + system) / 1000;
  };
  const tick = setInterval(() => {
    const now = usedMs();
    longest = Math.max(longest, now - last);
    last = now;
  }, 1);
  tick.unref();
  delay.enable();
  const server = createServer((request, response) => {
    if (request.url === '/reset') {
      delay.reset();
      longest = 0;
      last = usedMs();
    }
    response.end(JSON.stringify({ delayMs: delay.max / 1e6, processorMs: longest }));
  });
  server.listen(0, '127.0.0.1', () => process.stderr.write(`loop-delay ${server.address().port}\n`));
  server.unref();
}
