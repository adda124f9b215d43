import type { TaskEvent } from '@taskbridge/client';
import { useVirtualizer } from '@tanstack/react-virtual';
import { memo, useLayoutEffect, useMemo, useRef, useState } from 'react';
import { Json, Text } from '../../parts/text.js';
import { Time } from '../../parts/time.js';
import type { EventLog } from './event-log.js';
import { EventFilter } from './event-filter.js';

const ROW_PX = 32;
const HIGHEST_PX = 384;

/** The events in a list that draws what is on the screen. It stays at the end, unless the reader has scrolled or stands in it. */
export function EventList({ log }: { readonly log: EventLog }) {
  const [type, setType] = useState('');
  const [text, setText] = useState('');
  const [open, setOpen] = useState<ReadonlySet<string>>(new Set());
  const [filter] = useState(() => new EventFilter());
  const shown = useMemo(() => filter.of(log.events, type, text), [filter, log.events, type, text]);
  const box = useRef<HTMLDivElement>(null);
  const isAtEnd = useRef(true);
  const rows = useVirtualizer({
    count: shown.length,
    getScrollElement: () => box.current,
    estimateSize: () => ROW_PX,
    getItemKey: (index) => shown[index]?.eventId ?? index,
    overscan: 8,
  });
  useLayoutEffect(() => {
    const isRead = box.current?.contains(document.activeElement) && document.activeElement !== box.current;
    if (isAtEnd.current && !isRead) box.current?.scrollTo({ top: rows.getTotalSize() });
  }, [shown, rows]);
  const older = async () => {
    const first = shown[0]?.eventId;
    isAtEnd.current = false;
    await log.readOlder();
    const now = filter.of(log.events, type, text);
    rows.scrollToIndex(
      Math.max(
        0,
        now.findIndex(({ eventId }) => eventId === first),
      ),
      { align: 'start' },
    );
  };
  const toggle = (eventId: string) => {
    const next = new Set(open);
    if (!next.delete(eventId)) next.add(eventId);
    setOpen(next);
  };
  return (
    <>
      <div className="mb-2 flex flex-wrap items-center gap-2">
        <label>
          <span className="sr-only">Type of event</span>
          <select className="field w-auto" value={type} onChange={({ target }) => setType(target.value)}>
            <option value="">All types</option>
            {filter.types.map((one) => (
              <option key={one}>{one}</option>
            ))}
          </select>
        </label>
        <label className="min-w-40 flex-1">
          <span className="sr-only">Text in events</span>
          <input
            type="search"
            className="field"
            placeholder="Text in events"
            value={text}
            onChange={({ target }) => setText(target.value)}
          />
        </label>
        <span className="text-xs text-soft tabular-nums">
          {shown.length.toLocaleString()} of {Number(log.events.at(-1)?.eventId ?? 0).toLocaleString()}
        </span>
        {log.hasOlder && (
          <button type="button" className="button" disabled={log.isReadingOlder} onClick={() => void older()}>
            Older events
          </button>
        )}
      </div>
      {log.error && <p className="mb-2 text-bad">Events cannot be read: {log.error.message}</p>}
      {log.isReady && shown.length === 0 ? (
        <p className="py-4 text-soft">
          {log.events.length === 0 ? 'There is no event yet.' : 'No loaded event matches.'}
        </p>
      ) : (
        <div
          ref={box}
          role="group"
          aria-label="Events of the task"
          tabIndex={0}
          className="overflow-auto rounded-md border border-line"
          style={{ height: Math.min(rows.getTotalSize() + 2, HIGHEST_PX) }}
          onScroll={({ currentTarget: { scrollTop, clientHeight, scrollHeight } }) => {
            isAtEnd.current = scrollTop + clientHeight > scrollHeight - ROW_PX;
          }}
        >
          <ol className="relative" style={{ height: rows.getTotalSize() }}>
            {rows.getVirtualItems().map(({ index, key, start }) => {
              const event = shown[index];
              if (!event) return null;
              return (
                <li
                  key={key}
                  ref={rows.measureElement}
                  data-index={index}
                  aria-setsize={shown.length}
                  aria-posinset={index + 1}
                  className="absolute inset-x-0 top-0 border-b border-line"
                  style={{ transform: `translateY(${start}px)` }}
                >
                  <Row event={event} isOpen={open.has(event.eventId)} onToggle={toggle} />
                </li>
              );
            })}
          </ol>
        </div>
      )}
    </>
  );
}

interface RowGiven {
  readonly event: TaskEvent;
  readonly isOpen: boolean;
  onToggle(eventId: string): void;
}

const Row = memo(EventRow, (one, other) => one.event === other.event && one.isOpen === other.isOpen);

function EventRow({ event, isOpen, onToggle }: RowGiven) {
  return (
    <>
      <button
        type="button"
        aria-expanded={isOpen}
        className="flex h-[31px] w-full items-center gap-3 px-3 text-left text-xs hover:bg-sunk focus-visible:-outline-offset-2"
        onClick={() => onToggle(event.eventId)}
      >
        <span className="w-10 shrink-0 text-right sm:w-14 font-mono text-soft tabular-nums">{event.eventId}</span>
        <span className="hidden w-32 shrink-0 text-soft sm:block">
          <Time at={event.createdAt} />
        </span>
        <span className="w-24 shrink-0 font-medium sm:w-32">
          {event.type.replace('TASK_', '').toLowerCase().replaceAll('_', ' ')}
        </span>
        <span className="min-w-0 flex-1 truncate">
          <Text short={200}>{summary(event)}</Text>
        </span>
      </button>
      {isOpen && (
        <div className="px-3 pb-3">
          <Json label={`Payload of event ${event.eventId}`} value={event.payload} />
        </div>
      )}
    </>
  );
}

function summary({ type, payload }: TaskEvent): string {
  switch (type) {
    case 'TASK_PROGRESS':
      return [`${Math.floor(payload.progress)} %`, payload.stage, payload.message].filter(Boolean).join(' · ');
    case 'TASK_MESSAGE':
      return payload.message;
    case 'TASK_OUTPUT':
      return payload.data;
    case 'TASK_STEP':
      return `${payload.key} ${payload.state}`;
    case 'TASK_SUSPENDED':
      return payload.reasonCode;
    case 'TASK_ACTION_ACCEPTED':
      return payload.actionType;
    case 'TASK_FAILED':
      return `${payload.code} · ${payload.message}`;
    case 'TASK_CANCELLED':
      return payload.reason;
    case 'TASK_RETRYING':
      return `attempt ${payload.attempt} after ${payload.reason}`;
    case 'TASK_COMPLETED':
      return JSON.stringify(payload.result)?.slice(0, 300) ?? '';
    default:
      return '';
  }
}
