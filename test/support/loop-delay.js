// Preloaded into a service that a test measures: `GET /reset` begins a measurement, `GET /max` answers the largest single delay of the
// event loop since then, in milliseconds. The port is on the standard error, which the service itself leaves empty.
import { createServer } from 'node:http';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { isMainThread } from 'node:worker_threads';

if (isMainThread) {
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  const server = createServer((request, response) => {
    if (request.url === '/reset') delay.reset();
    response.end(String(delay.max / 1e6));
  });
  server.listen(0, '127.0.0.1', () => process.stderr.write(`loop-delay ${server.address().port}\n`));
  server.unref();
}
