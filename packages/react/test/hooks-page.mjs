// The page of test/client/react.test.ts, bundled with the React that is tested.
import { createClient } from '@taskbridge/client';
import { createHooks } from '@taskbridge/react';
import { createElement as h, StrictMode, useState } from 'react';
import { createRoot } from 'react-dom/client';

const { Provider, useAnswer, useConnection, useQuestions, useStart, useTask, useTasks } = createHooks();
const client = createClient();
/** Renders by component. */
const renders = (globalThis.renders = {});
const count = (name) => (renders[name] = (renders[name] ?? 0) + 1);

function Started() {
  const { task, start } = useStart('demo.greet', { key: location.hash.slice(1) });
  globalThis.start = start;
  globalThis.started = task;
  return task ? h('section', null, h(Status, { task }), h(Percent, { task })) : h('p', null, 'nothing');
}

/** Renders when the status changes, and not with each event. */
function Status({ task }) {
  count('status');
  const { status, isOver } = useTask(task, ({ status }) => ({ status, isOver: status === 'completed' }));
  return h('p', { id: 'status' }, `${status} ${isOver}`);
}

function Percent({ task }) {
  count('percent');
  return h('p', { id: 'percent' }, useTask(task).progress);
}

function Questions() {
  return h(
    'ul',
    { id: 'questions' },
    useQuestions().map((question) => h(Question, { key: question.taskId, question })),
  );
}

function Question({ question }) {
  const { answer, outcome, isSending } = useAnswer(question);
  return h(
    'li',
    null,
    h('button', { onClick: () => answer('approve') }, isSending ? 'sending' : (outcome ?? 'approve')),
  );
}

function List() {
  const { tasks, status } = useTasks({ taskType: 'demo.greet' });
  return h('p', { id: 'list' }, `${status} ${tasks.map((task) => task.status).join()}`);
}

function App() {
  const [isListed, setListed] = useState(false);
  globalThis.showInbox = setListed;
  return h(
    Provider,
    { client },
    h(Started),
    h('p', { id: 'connection' }, h(Connection)),
    isListed && h('div', null, h(Questions), h(List)),
  );
}

function Connection() {
  return useConnection().status;
}

createRoot(document.getElementById('app')).render(h(StrictMode, null, h(App)));
