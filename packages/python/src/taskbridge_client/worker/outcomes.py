"""What a handler is given for a call: it may leave it alone, and what was refused then is not forgotten."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

from .errors import Suspended, TryOver

T = TypeVar("T")

_CALLS_A_TURN = 64
_calls = itertools.count()


class Outcome(Generic[T]):
    """Await it, or leave it alone: the call goes on in either case."""

    def __init__(self, future: Future[T]) -> None:
        self.future = future
        self.is_heard = False

    def __await__(self) -> Generator[Any, None, T]:
        self.is_heard = True
        if self.future.done():
            # A handler that awaits nothing else would block the event loop. A turn of the loop for each call would take most of its time.
            if next(_calls) % _CALLS_A_TURN == 0:
                yield
            return self.future.result()
        return (yield from asyncio.wrap_future(self.future).__await__())


_FIRST_LOOK = 100


class Outcomes:
    """The outcomes of one attempt."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rejected: list[tuple[BaseException, Outcome[Any] | None]] = []
        self._next_look = _FIRST_LOOK

    def watched(self, future: Future[T]) -> Outcome[T]:
        outcome = Outcome(future)
        if future is SAID:
            return outcome

        def look(done: Future[T]) -> None:
            error = done.exception()
            # Not a refusal: the handler was to end, or the body of a step.
            if error is not None and not isinstance(error, (Suspended, TryOver)):
                self._reject(error, outcome)

        future.add_done_callback(look)
        return outcome

    def fail(self, error: BaseException) -> None:
        """Takes the error of a call whose outcome was good."""
        self._reject(error, None)

    def unheard(self) -> list[BaseException]:
        """The errors that no code of the handler has listened to so far, oldest first."""
        with self._lock:
            return [error for error, outcome in self._rejected if not (outcome and outcome.is_heard)]

    def _reject(self, error: BaseException, outcome: Outcome[Any] | None) -> None:
        with self._lock:
            self._rejected.append((error, outcome))
            if len(self._rejected) >= self._next_look:
                # A handler that listens, and goes on for days, leaves nothing behind.
                self._rejected = [one for one in self._rejected if not (one[1] and one[1].is_heard)]
                self._next_look = 2 * len(self._rejected) + _FIRST_LOOK


def pending() -> Future[Any]:
    """A future that nobody can cancel: what it is about goes on, also when nobody waits any more."""
    future: Future[Any] = Future()
    future.set_running_or_notify_cancel()
    return future


def done(value: T) -> Future[T]:
    future: Future[T] = pending()
    future.set_result(value)
    return future


SAID: Future[Any] = done(None)
"""Of output that is buffered: most calls are, and their outcome is good."""


def failed(error: BaseException) -> Future[Any]:
    future = pending()
    future.set_exception(error)
    return future


def submit(loop: asyncio.AbstractEventLoop, work: Callable[[], Coroutine[Any, Any, T]]) -> Future[T]:
    """Runs it on a loop, from any thread."""
    future: Future[T] = pending()

    async def run() -> None:
        try:
            future.set_result(await work())
        except BaseException as error:
            future.set_exception(error)
            if isinstance(error, asyncio.CancelledError):
                raise

    def begin() -> None:
        task = loop.create_task(run())
        _running.add(task)
        task.add_done_callback(_running.discard)

    loop.call_soon_threadsafe(begin)
    return future


def cancel_soon(loop: asyncio.AbstractEventLoop, task: asyncio.Task[Any]) -> None:
    """From any thread. A loop that is closed has no tasks."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(task.cancel)


_running: set[asyncio.Task[None]] = set()
"""A loop keeps weak references to tasks."""
