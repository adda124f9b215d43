import type { ReactNode } from 'react';
import { Refusal } from '../service/ask.js';
import { Text } from './text.js';

function Notice({ title, children }: { readonly title: string; readonly children?: ReactNode }) {
  return (
    <div className="panel mx-auto mt-6 max-w-xl px-6 py-8 text-center">
      <h2 className="text-base font-semibold">{title}</h2>
      {children && <div className="mt-2 space-y-3 text-soft">{children}</div>}
    </div>
  );
}

export const Empty = Notice;

function Loading({ what }: { readonly what: string }) {
  return (
    <p className="p-6 text-soft" aria-busy="true">
      Loading {what}…
    </p>
  );
}

interface Asked {
  readonly error: Error | null;
  readonly failureReason: Error | null;
  readonly isPending: boolean;
  refetch(): unknown;
}

/** What stands in the place of content that is not there: it loads, the service is away, it refuses, or it failed. */
export function Absent({
  query,
  what,
  needs,
}: {
  readonly query: Asked;
  readonly what: string;
  readonly needs?: string;
}) {
  const error = query.error ?? query.failureReason;
  if (!error) return <Loading what={what} />;
  if (!(error instanceof Refusal)) return <Failed query={query} title="This page failed" text={error.message} />;
  if (error.mayPass && !query.error)
    return (
      <Notice title="The service does not answer">
        <p>This page tries again by itself.</p>
      </Notice>
    );
  if (error.status === 401)
    return (
      <Notice title="You are not logged in">
        <p>Log in again, and load this page again.</p>
      </Notice>
    );
  if (error.status === 403)
    return (
      <Notice title="You may not see this">
        <p>{needs ? `It needs the scope ${needs}.` : <Text>{error.message}</Text>}</p>
      </Notice>
    );
  if (error.status === 404)
    return (
      <Notice title="There is nothing here">
        <p>It never was, it was removed, or it belongs to somebody else.</p>
      </Notice>
    );
  return <Failed query={query} title={`The service refused ${what}`} text={error.message} id={error.correlationId} />;
}

function Failed({
  query,
  title,
  text,
  id,
}: {
  readonly query: Asked;
  readonly title: string;
  readonly text: string;
  readonly id?: string | undefined;
}) {
  return (
    <Notice title={title}>
      <p>
        <Text>{text}</Text>
      </p>
      {id && <p className="font-mono text-xs">{id}</p>}
      <button type="button" className="button" onClick={() => query.refetch()}>
        Try again
      </button>
    </Notice>
  );
}

/** What the service said to an action that it refused. */
export function Refused({ error }: { readonly error: Error | null }) {
  if (!error) return null;
  return (
    <p role="alert" className="text-bad">
      <Text>{error.message}</Text>
      {error instanceof Refusal && error.details !== undefined && <Details value={error.details} />}
    </p>
  );
}

function Details({ value }: { readonly value: unknown }) {
  const problems = (Object(value) as { errors?: readonly { path: string; message: string }[] }).errors ?? [];
  return problems.map(({ path, message }) => (
    <span key={path + message} className="block text-xs">
      <code>{path}</code> {message}
    </span>
  ));
}
