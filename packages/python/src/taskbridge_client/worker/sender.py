"""The events of one attempt on their way to the service: in order, one batch at a time.

Progress and messages leave at once, and so does the first output after 50 ms of silence. Further output is joined until 50 ms are over or
4 KiB are there. A batch keeps its number until it is stored, so that one whose answer was lost is not stored twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from ..wire import JsonObject
from .errors import LeaseLost, Refused
from .events import Event
from .limits import (
    JOIN_BYTES,
    JOIN_SECONDS,
    MAX_BATCH_EVENTS,
    MAX_BUFFERED_BYTES,
    MAX_JOINED_BYTES,
    MAX_SENT_BYTES,
)
from .outcomes import pending

T = TypeVar("T")


@dataclass
class Piece:
    """The event of one call of a handler."""

    event: Event
    stored: Callable[[], None]
    refused: Callable[[BaseException], None]


@dataclass
class _Run:
    """Pieces that are stored as one event."""

    first: Event
    data: list[str]
    size: int


@dataclass
class Batch:
    """Adjacent appends to one channel are one event."""

    pieces: list[Piece] = field(default_factory=list)
    runs: list[_Run] = field(default_factory=list)
    size: int = 0

    @staticmethod
    def of(pieces: list[Piece]) -> Batch:
        """Takes as many pieces as fit, from the first on."""
        batch = Batch()
        for piece in pieces:
            if not batch._take(piece):
                break
        return batch

    def events(self) -> list[JsonObject]:
        return [
            {
                "type": run.first.type,
                "payload": {**run.first.payload, "data": "".join(run.data)} if len(run.data) > 1 else run.first.payload,
            }
            for run in self.runs
        ]

    def _take(self, piece: Piece) -> bool:
        event = piece.event
        last = self.runs[-1] if self.runs else None
        joins = last is not None and _joins(last.first, event) and last.size + event.data_size <= MAX_JOINED_BYTES
        size = event.data_size if joins else event.size
        is_full = self.size + size > MAX_SENT_BYTES or (not joins and len(self.runs) == MAX_BATCH_EVENTS)
        if is_full and self.pieces:
            return False
        if joins and last is not None:
            last.data.append(event.payload["data"])
            last.size += size
        else:
            self.runs.append(_Run(event, [] if event.append is None else [event.payload["data"]], size))
        self.pieces.append(piece)
        self.size += size
        return True


def _joins(event: Event, following: Event) -> bool:
    return event.append is not None and event.append == following.append


class Append(Protocol):
    def __call__(self, batch_seq: int, events: list[JsonObject]) -> Awaitable[int]:
        """Repeats the call until it knows the fate of the batch. Answers the id of its last event."""
        ...


class EventSender:
    """`send` and `buffer` are for any thread; all else runs on the loop of the lease."""

    def __init__(self, loop: asyncio.AbstractEventLoop, append: Append, head_event_id: int) -> None:
        self.head_event_id = head_event_id
        """The last event that is known to be stored."""
        self._loop = loop
        self._append = append
        self._lock = threading.Lock()
        self._pieces: list[Piece] = []
        self._pending = 0
        self._sending = 0
        self._batch_seq = 1
        self._sent_at = float("-inf")
        self._is_urgent = False
        self._is_woken = False
        self._is_closed = False
        self._rooms: list[Future[None]] = []
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._call = asyncio.Lock()
        """One batch at a time: their numbers have no gap."""
        self._pump = loop.create_task(self._run())

    def send(self, event: Event) -> Future[None]:
        """Leaves at once. The future is done when the event is stored, or has why not."""
        done: Future[None] = pending()
        with self._lock:
            if self._is_closed:
                raise LeaseLost
            self._is_urgent = True
            self._push(Piece(event, lambda: done.set_result(None), done.set_exception))
        return done

    def buffer(self, event: Event, refused: Callable[[BaseException], None]) -> Future[None] | None:
        """None: the event is buffered, and more may come. Else the future is done then."""
        with self._lock:
            if self._is_closed:
                raise LeaseLost
            self._push(Piece(event, lambda: None, refused))
            if self._pending + self._sending <= MAX_BUFFERED_BYTES:
                return None
            room: Future[None] = pending()
            self._rooms.append(room)
            return room

    @property
    def is_empty(self) -> bool:
        return self._is_closed or not (self._pieces or self._sending)

    async def settled(self) -> None:
        """All that waits is stored or refused."""
        while True:
            with self._lock:
                if self.is_empty:
                    return
                self._is_urgent = True
                self._idle.clear()
            self._wake.set()
            await self._idle.wait()

    async def finish(self, call: Callable[[int], Awaitable[tuple[int, T]]]) -> T:
        """Stores the end of a step behind all that waits, as a batch of its own."""
        await self.settled()
        async with self._call:
            event_id, result = await call(self._batch_seq)
            self._batch_seq += 1
            self.head_event_id = max(self.head_event_id, event_id)
            return result

    def close(self) -> None:
        """The lease is over. Whatever waits is refused: a thread may wait for it."""
        self._pump.cancel()
        with self._lock:
            self._is_closed = True
            pieces, self._pieces = self._pieces, []
            rooms, self._rooms = self._rooms, []
        for piece in pieces:
            piece.refused(LeaseLost())
        for room in rooms:
            room.set_result(None)
        self._idle.set()

    def _push(self, piece: Piece) -> None:
        event = piece.event
        joins = bool(self._pieces) and _joins(self._pieces[-1].event, event)
        self._pieces.append(piece)
        self._pending += event.data_size if joins else event.size
        is_due = self._is_urgent or self._pending >= JOIN_BYTES or len(self._pieces) == 1
        if is_due and not self._is_woken:
            self._is_woken = True
            self._loop.call_soon_threadsafe(self._wake.set)

    async def _run(self) -> None:
        while True:
            with self._lock:
                # Before the look: what comes behind it wakes again.
                self._wake.clear()
                self._is_woken = False
                wait = self._wait()
            if wait == 0:
                await self._flush()
                continue
            # While output is joined, only what is urgent or fills the batch wakes.
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._wake.wait(), wait)

    def _wait(self) -> float | None:
        """Seconds until the next batch is due. None: nothing waits."""
        if not self._pieces:
            return None
        if self._is_urgent or self._pending >= JOIN_BYTES:
            return 0
        return max(0.0, self._sent_at + JOIN_SECONDS - time.monotonic())

    async def _flush(self) -> None:
        async with self._call:
            with self._lock:
                self._sent_at = time.monotonic()
                batch = Batch.of(self._pieces)
                del self._pieces[: len(batch.pieces)]
                # Output that does not fit does not wait.
                self._is_urgent = bool(self._pieces)
                self._sending = batch.size
                self._pending = max(0, self._pending - batch.size) if self._pieces else 0
            try:
                if batch.pieces:
                    await self._store(batch)
            finally:
                with self._lock:
                    self._sending = 0
                    rooms: list[Future[None]] = []
                    if self._pending <= MAX_BUFFERED_BYTES:
                        rooms, self._rooms = self._rooms, []
                for room in rooms:
                    room.set_result(None)
        if not self._pieces:
            self._idle.set()

    async def _store(self, batch: Batch) -> None:
        pieces = batch.pieces
        try:
            self.head_event_id = await self._append(self._batch_seq, batch.events())
        except asyncio.CancelledError:
            for piece in pieces:
                piece.refused(LeaseLost())
            raise
        except Exception as error:
            if len(pieces) > 1 and isinstance(error, Refused):
                # Nothing was stored. The batch is halved until the refused event is alone, so that its neighbours are stored.
                middle = (len(pieces) + 1) // 2
                await self._store(Batch.of(pieces[:middle]))
                await self._store(Batch.of(pieces[middle:]))
                return
            for piece in pieces:
                piece.refused(error)
        else:
            self._batch_seq += 1
            for piece in pieces:
                piece.stored()
