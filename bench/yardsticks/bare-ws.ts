import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createControl, type AddressInfo } from 'node:net';
import { createInterface } from 'node:readline';
import { WebSocketServer, type WebSocket } from 'ws';
import { answerCalls } from '../child.js';
import { TEXT } from '../text.js';
import { speak } from '../tokens.mjs';

// The smallest server that has the events itself: one buffer for each event, sent to every socket of its task. It stores, checks
// and resumes nothing.

interface Task {
  readonly taskId: string;
  readonly sockets: WebSocket[];
  readonly responses: ServerResponse[];
  last: number;
  readonly history: Buffer[];
}

let tasks: Task[] = [];
let byId = new Map<string, Task>();

function publish(task: Task, text = TEXT): void {
  const event = nextEvent(task, text);
  for (const socket of task.sockets) socket.send(event, { binary: false });
  if (task.responses.length === 0) return;
  const framed = Buffer.concat([Buffer.from(`id: ${task.last}\ndata: `), event, Buffer.from('\n\n')]);
  for (const response of task.responses) response.write(framed);
}

function nextEvent(task: Task, text: string): Buffer {
  task.last += 1;
  const { taskId, last: eventId } = task;
  const payload = { message: text, level: 'info' };
  const createdAt = new Date().toISOString();
  return Buffer.from(JSON.stringify({ type: 'TASK_MESSAGE', taskId, eventId: String(eventId), createdAt, payload }));
}

const taskOf = (taskId: string) => byId.get(taskId) as Task;

function stream(request: IncomingMessage, response: ServerResponse): void {
  response.writeHead(200, { 'Content-Type': 'text/event-stream' }).write('retry: 2000\n\n');
  taskOf(request.url?.split('/')[4] ?? '').responses.push(response);
}

answerCalls({
  /** `history` events are there from the beginning, and go to every subscriber. */
  async start(taskIds: readonly string[], controlPath: string, history = 0): Promise<string> {
    tasks = taskIds.map((taskId) => ({ taskId, sockets: [], responses: [], last: 0, history: [] }));
    byId = new Map(tasks.map((task) => [task.taskId, task]));
    for (const task of tasks) for (let n = 0; n < history; n += 1) task.history.push(nextEvent(task, TEXT));
    const http = createServer(stream);
    new WebSocketServer({ server: http, perMessageDeflate: false }).on('connection', (socket) => {
      socket.on('error', () => undefined);
      socket.on('message', (frame) => {
        const { taskId } = JSON.parse(String(frame)) as { taskId: string };
        const task = taskOf(taskId);
        task.sockets.push(socket);
        socket.send('{"type":"SUBSCRIPTION_CONFIRMED"}');
        for (const event of task.history) socket.send(event, { binary: false });
        socket.once('close', () => task.sockets.splice(task.sockets.indexOf(socket), 1));
      });
    });
    createControl((control) => {
      createInterface({ input: control }).on('line', (line) => {
        const command = JSON.parse(line) as { publish: number[]; burst: number };
        for (const index of command.publish) for (let n = 0; n < command.burst; n += 1) publish(tasks[index] as Task);
      });
    }).listen(controlPath);
    await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', 4096, resolve));
    return `http://127.0.0.1:${(http.address() as AddressInfo).port}`;
  },

  /** Tokens of the first `below` tasks for `seconds`: see host-module.mjs. */
  async tokens({ below, seconds, perSecond }: { below: number; seconds: number; perSecond: number }) {
    const chosen = tasks.slice(0, below);
    const tokens = Math.ceil(seconds * perSecond);
    await Promise.all(chosen.map((task) => speak((token) => publish(task, token), tokens, perSecond)));
    return { streams: chosen.length, tokens };
  },
});
