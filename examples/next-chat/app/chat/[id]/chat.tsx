'use client';

import { useChat } from '@ai-sdk/react';
import { TaskChatTransport } from '@taskbridge/ai';
import { createClient } from '@taskbridge/client';
import { lastAssistantMessageIsCompleteWithApprovalResponses, type UIMessage } from 'ai';
import { type FormEvent, useEffect } from 'react';

// A route of Next carries no WebSocket.
const client = createClient({ transports: ['sse', 'poll'] });
const transport = new TaskChatTransport({ client, taskType: 'chat' });

export function Chat({ id }: { readonly id: string }) {
  const { messages, setMessages, sendMessage, addToolApprovalResponse, resumeStream, status, error } = useChat({
    id,
    transport,
    sendAutomaticallyWhen: lastAssistantMessageIsCompleteWithApprovalResponses,
  });
  // The messages are kept in the browser. The turn that was going on is replayed behind them.
  useEffect(() => {
    setMessages(JSON.parse(localStorage.getItem(id) ?? '[]') as UIMessage[]);
    void resumeStream();
  }, [id, setMessages, resumeStream]);
  useEffect(() => {
    if (messages.length > 0) localStorage.setItem(id, JSON.stringify(messages));
  }, [id, messages]);

  const send = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = event.currentTarget;
    void sendMessage({ text: String(new FormData(form).get('text')) });
    form.reset();
  };
  const isBusy = status === 'submitted' || status === 'streaming';
  return (
    <main aria-busy={isBusy}>
      {messages.map((message) => (
        <article key={message.id} className={message.role}>
          {message.parts.map((part, at) => {
            if (part.type === 'text') return <p key={at}>{part.text}</p>;
            if (part.type !== 'dynamic-tool') return null;
            const { toolCallId, toolName, input, state } = part;
            return (
              <fieldset key={toolCallId} disabled={state !== 'approval-requested'}>
                <legend>
                  {toolName} {JSON.stringify(input)}
                </legend>
                {state === 'approval-requested' && (
                  <>
                    <button onClick={() => addToolApprovalResponse({ id: part.approval.id, approved: true })}>
                      Approve
                    </button>
                    <button onClick={() => addToolApprovalResponse({ id: part.approval.id, approved: false })}>
                      Deny
                    </button>
                  </>
                )}
                {state === 'output-available' && 'It was approved.'}
                {state === 'output-denied' && 'It was denied.'}
              </fieldset>
            );
          })}
        </article>
      ))}
      {error && <p role="alert">{error.message}</p>}
      <form onSubmit={send}>
        <input name="text" aria-label="Your message" required />
        <button disabled={isBusy}>Send</button>
        {isBusy && (
          <button type="button" onClick={() => void transport.cancel(id)}>
            Stop
          </button>
        )}
      </form>
    </main>
  );
}
