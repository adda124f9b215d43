/** Shows each line as it came, until the signal. */
type Wire = (taskId: string, show: (line: string) => void, signal: AbortSignal) => void;

const base = (taskId: string) => `/api/v1/tasks/${encodeURIComponent(taskId)}/events`;

/** The whole log over each transport, as a client without a library would get it. */
export const WIRES = {
  WebSocket(taskId, show, signal) {
    const socket = new WebSocket(`${location.origin.replace(/^http/, 'ws')}/api/v1/tasks/ws`, 'taskbridge.v1');
    const subscribe = JSON.stringify({ action: 'subscribe', taskId, lastEventId: '0' });
    socket.onopen = () => {
      show(`→ ${subscribe}`);
      socket.send(subscribe);
    };
    socket.onmessage = ({ data }) => show(`← ${String(data)}`);
    socket.onclose = ({ code, reason }) => show(`closed with ${code} ${reason}`);
    signal.addEventListener('abort', () => socket.close());
  },

  SSE(taskId, show, signal) {
    const path = `${base(taskId)}/stream`;
    const read = async () => {
      show(`GET ${path}`);
      const answer = await fetch(path, { headers: { Accept: 'text/event-stream' }, signal });
      const reader = answer.body?.pipeThrough(new TextDecoderStream()).getReader();
      let rest = '';
      for (let piece = await reader?.read(); piece && !piece.done; piece = await reader?.read()) {
        const lines = (rest + piece.value).split('\n');
        rest = lines.pop() ?? '';
        for (const line of lines) if (line !== '') show(line);
      }
      show('the stream has ended');
    };
    read().catch((error: unknown) => show(`the stream broke: ${String(error)}`));
  },

  poll(taskId, show, signal) {
    const read = async () => {
      for (let after = '0'; !signal.aborted; ) {
        const path = `${base(taskId)}?afterEventId=${after}&waitTimeoutMs=20000`;
        show(`GET ${path}`);
        const text = await (await fetch(path, { signal })).text();
        show(text);
        const { nextAfterEventId, terminal } = JSON.parse(text) as { nextAfterEventId?: string; terminal?: boolean };
        if (terminal) return;
        after = nextAfterEventId ?? after;
      }
    };
    read().catch((error: unknown) => show(`the poll broke: ${String(error)}`));
  },
} satisfies Readonly<Record<string, Wire>>;

export type WireName = keyof typeof WIRES;
