/** What of a request the service has to see. */
const PASSED = ['accept', 'content-type', 'last-event-id'];

/**
 * Passes a request of the page on to the service, with the credentials of the user. An application of yours takes them from its session;
 * this one has a user for all.
 */
async function passOn(request: Request): Promise<Response> {
  const { TASKBRIDGE_URL = 'http://127.0.0.1:3000', TASKBRIDGE_HEADERS = '{}' } = process.env;
  const { pathname, search } = new URL(request.url);
  const headers = new Headers(JSON.parse(TASKBRIDGE_HEADERS) as Record<string, string>);
  for (const name of PASSED) {
    const value = request.headers.get(name);
    if (value !== null) headers.set(name, value);
  }
  const { method, signal } = request;
  const body = method === 'GET' ? undefined : await request.arrayBuffer();
  try {
    const answer = await fetch(TASKBRIDGE_URL + pathname + search, {
      method,
      headers,
      body,
      signal,
      cache: 'no-store',
    });
    const passed = new Headers(answer.headers);
    // The body is decoded, and goes on as it comes.
    for (const name of ['connection', 'content-encoding', 'content-length', 'keep-alive', 'transfer-encoding'])
      passed.delete(name);
    return new Response(answer.body, { status: answer.status, headers: passed });
  } catch {
    return new Response(null, { status: 502 });
  }
}

export { passOn as GET, passOn as POST };
