// The page of test/client/ai.test.ts: a chat that keeps its messages, as a page without a backend would.
import { useChat } from '@ai-sdk/react';
import { TaskChatTransport } from '@taskbridge/ai';
import { createClient } from '@taskbridge/client';
import { lastAssistantMessageIsCompleteWithApprovalResponses as isAnswered } from 'ai';
import { createElement as h, StrictMode, useEffect } from 'react';
import { createRoot } from 'react-dom/client';

const id = location.hash.slice(1);
const transport = new TaskChatTransport({ client: createClient(), taskType: 'chat' });
/** Each text that the answer had on the screen. */
const shown = (globalThis.shown = []);

function Chat() {
  const chat = useChat({
    id,
    transport,
    resume: true,
    messages: JSON.parse(localStorage.getItem(id) ?? '[]'),
    sendAutomaticallyWhen: isAnswered,
    onError: (error) => (globalThis.error = String(error)),
  });
  const { messages, status } = chat;
  globalThis.chat = chat;
  globalThis.cancel = (reason) => transport.cancel(id, reason);
  useEffect(() => localStorage.setItem(id, JSON.stringify(messages)), [messages]);
  const text = textOf(messages.at(-1));
  useEffect(() => void shown.push(text), [text]);
  return h(
    'main',
    null,
    h('p', { id: 'status' }, status),
    h('p', { id: 'text' }, messages.at(-1)?.role === 'assistant' ? text : ''),
    messages
      .at(-1)
      ?.parts.map((part) => part.type === 'dynamic-tool' && h(Approval, { key: part.toolCallId, part, chat })),
  );
}

function Approval({ part, chat }) {
  const answer = (approved) => chat.addToolApprovalResponse({ id: part.approval.id, approved, reason: 'because' });
  return h(
    'p',
    { className: 'tool' },
    `${part.toolName} ${JSON.stringify(part.input)} ${part.state}`,
    part.state === 'approval-requested' && h('button', { onClick: () => answer(true) }, 'approve'),
    part.state === 'approval-requested' && h('button', { onClick: () => answer(false) }, 'deny'),
  );
}

const textOf = (message) =>
  (message?.parts ?? []).flatMap(({ type, text }) => (type === 'text' ? [text] : [])).join('|');

createRoot(document.getElementById('app')).render(h(StrictMode, null, h(Chat)));
