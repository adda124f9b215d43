"""The steps of one run of a handler.

What is stored is not run again. Output of an earlier run stays valid up to its last finished step, the boundary. So what this run says
before the boundary has returned is held, and dropped when it returns.
"""

from __future__ import annotations

import contextvars
import json
import random
import re
import threading
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any

from .errors import (
    AttemptStopped,
    LeaseLost,
    Refused,
    Suspended,
    TaskFailure,
    TryOver,
    argument_invalid,
    event_invalid,
)
from .events import Event, HalfCharacters, step_retrying_event
from .limits import MAX_HELD_BYTES, MAX_STEP_RESULT_BYTES
from .outcomes import done, pending
from .signal import StopSignal
from .storable import NotStorable, TooLarge, storable_json

_LONGEST_PAUSE = 10.0
_MAX_NUMBER = 999_999_999
_LONGEST_SECONDS = 24 * 60 * 60
_MAX_RETRIES = 1_000
_KEY = re.compile(r"[A-Za-z0-9._:/-]{1,128}")


@dataclass(frozen=True)
class StepContext:
    """What the body of a step is given."""

    idempotency_key: str
    """`task_id:key`: the same in every run, for effects in the outside world that must happen once."""
    signal: StopSignal
    """Set with the signal of the handler, and when the time of this try is over."""


@dataclass(eq=False)
class Try:
    """One try of a step's body."""

    key: str
    has_put_out: bool = False
    has_failed: bool = False


class _Unknown:
    """Where it is not known which code speaks, as in a thread of a pool that the handler shares with others."""


_place: contextvars.ContextVar[Try | type[_Unknown] | None] = contextvars.ContextVar("place", default=_Unknown)
"""Where code of a handler runs: in a try of a step, or outside of steps (None)."""


@dataclass(frozen=True)
class Body:
    """The body of a try, for the driver to run."""

    call: Callable[[StepContext], Any]
    step: StepContext
    key: str
    timeout: float | None


Waiting = Generator["Future[Any] | Body", Any, Any]
"""What a step waits for, one thing after the other. A thread waits by blocking, a coroutine by awaiting."""


class StepsOf:
    """What steps need of the attempt that they belong to."""

    task_id: str
    attempt: int
    signal: StopSignal
    halves: HalfCharacters
    stores_steps: bool

    def send(self, event: Event) -> Future[None] | None:
        raise NotImplementedError

    def head_event_id(self) -> int:
        raise NotImplementedError

    def settled(self) -> Future[None]:
        raise NotImplementedError

    def finish(self, key: str, result_json: str) -> Future[Any]:
        """Stores the result behind all that waits. The future has the result that is stored."""
        raise NotImplementedError

    def fail(self, error: BaseException) -> None:
        raise NotImplementedError

    def report(self, error: BaseException) -> None:
        raise NotImplementedError


class Steps:
    def __init__(self, of: StepsOf, stored: Iterable[tuple[str, Any]], lock: threading.RLock) -> None:
        """`stored`: the finished steps, oldest first."""
        self._of = of
        self._lock = lock
        self._results = dict(stored)
        self._boundary = next(reversed(self._results), None)
        self._asked: set[str] = set()
        self._open: list[Try] = []
        # None behind the boundary.
        self._held: _HeldEvents | None = _HeldEvents() if self._results else None
        self._closed: list[Future[None]] = []

    def outside(self) -> None:
        """The present code is that of the handler, outside of steps."""
        _place.set(None)

    def check_place(self) -> None:
        """Raises TryOver where the caller is the body of a try that has failed: its time was up, say."""
        here = _place.get()
        if isinstance(here, Try) and here.has_failed:
            raise TryOver(here.key)

    def say(self, event: Event | None) -> Future[None] | None:
        """Output, progress or a message. Raises Refused where it belongs to no step for certain."""
        with self._lock:
            if len(self._open) > 1:
                raise _overlap("while two steps are open, none of them may put anything out")
            here = _place.get()
            only = self._open[0] if self._open else None
            if only and here is not _Unknown and here is not only:
                raise _overlap(f"while {only.key} is open, only its body may put anything out")
            if only:
                only.has_put_out = True
            if event is None:
                return None
            if self._held is None:
                return self._of.send(event)
            self._held.add(event, only)
            return None

    @property
    def is_repeating(self) -> bool:
        """Whether what comes now was there before: outside of steps, and before the end of the step that was finished last."""
        return self._held is not None and not self._open

    @property
    def is_open(self) -> bool:
        return bool(self._open)

    def run(
        self,
        key: object,
        body: Callable[[StepContext], Any],
        *,
        index: int | None,
        version: int,
        timeout_seconds: float | None,
        retries: int,
    ) -> Waiting:
        """Its result, of this run or of an earlier one. Raises Refused, and what the body raises."""
        step_key = _key_of(key, index, version, timeout_seconds, retries)
        if not callable(body):
            raise argument_invalid("step", "body", "must be a function")
        with self._lock:
            if step_key in self._asked:
                raise Refused("STEP_REPEATED", f"The step {step_key} was run before in this run of the handler.")
            is_stored = step_key in self._results
            if not is_stored and any(one.has_put_out for one in self._open):
                raise _overlap(f"{step_key} began while another step was open that puts something out")
            self._asked.add(step_key)
            # What came before this step was there before, except what a body says that still runs.
            if self._held:
                self._held.keep(self._open)
            if step_key == self._boundary:
                self.release()
            if is_stored:
                return self._results[step_key]
            first = Try(step_key)
            self._open.append(first)
        return (yield from self._finished(first, body, timeout_seconds, retries))

    def release(self) -> None:
        """Sends what is held: this run takes another way than the one before, or the boundary has returned."""
        with self._lock:
            held, self._held = self._held, None
            if held is None:
                return
            if held.is_full:
                why = f"What a run says before its last finished step has returned may have at most {MAX_HELD_BYTES} bytes."
                self._of.report(Refused("PAYLOAD_TOO_LARGE", why))
            for event, _ in held.events:
                sent = self._of.send(event)
                if sent is not None:
                    sent.add_done_callback(self._note)

    def next_close(self) -> Future[None]:
        """Done when a step closes, at once where none is open."""
        with self._lock:
            if not self._open:
                return done(None)
            self._closed.append(pending())
            return self._closed[-1]

    def _note(self, sent: Future[None]) -> None:
        error = sent.exception()
        if error is not None:
            self._of.fail(error)

    def _finished(self, one: Try, body: Callable[[StepContext], Any], timeout: float | None, retries: int) -> Waiting:
        of = self._of
        last = [one]
        try:
            result = yield from self._tried(last, body, timeout, retries)
            result_json = _result_json(one.key, result)
            if of.halves.is_waiting:
                raise event_invalid("data", "ends within a character")
            # The end of this step is the new boundary. What this run said before it is valid, and no later run says it again.
            self.release()
            if not of.stores_steps:
                yield of.settled()
                return json.loads(result_json)
            return (yield of.finish(one.key, result_json))
        finally:
            with self._lock:
                self._open.remove(last[0])
                closed, self._closed = self._closed, []
            for future in closed:
                future.set_result(None)

    def _tried(
        self, last: list[Try], body: Callable[[StepContext], Any], timeout: float | None, retries: int
    ) -> Waiting:
        """The body's result, after as many tries as it has. `last` keeps the step open until its result is stored."""
        of = self._of
        key = last[0].key
        for failures in range(retries + 1):
            one = last[0]
            if failures:
                one = Try(key)
                with self._lock:
                    self._open[self._open.index(last[0])] = one
                last[0] = one
            is_last = failures == retries
            # Where a new try would begin, should this one put something out.
            if not is_last:
                yield of.settled()
            before = of.head_event_id()
            signal = of.signal if timeout is None else StopSignal()
            forget = of.signal.listen(partial(_pass_on, of.signal, signal))
            token = _place.set(one)
            try:
                return (yield Body(body, StepContext(f"{of.task_id}:{key}", signal), key, timeout))
            except BaseException as error:
                one.has_failed = True
                if is_last or of.signal.is_set() or _is_final(error):
                    raise
            finally:
                _place.reset(token)
                forget()
            of.halves.drop()
            with self._lock:
                held = self._held
                if held:
                    held.drop(one)
            if held is None and one.has_put_out and of.stores_steps:
                sent = of.send(step_retrying_event(key, before, of.attempt))
                if sent is not None:
                    yield sent
            yield self._pause(min(0.1 * 2**failures, _LONGEST_PAUSE) * (0.5 + random.random()))
        raise AssertionError("A step has one try or more.")

    def _pause(self, seconds: float) -> Body:
        """Raises AttemptStopped where the signal is set meanwhile."""
        return Body(_PAUSE, StepContext("", self._of.signal), "", seconds)


def _PAUSE(step: StepContext) -> None:
    """Never called: the driver knows it, and waits."""


PAUSE = _PAUSE


class _HeldEvents:
    """What a run says while it may repeat an earlier run. Most of it is dropped, and a little is sent later."""

    def __init__(self) -> None:
        self.events: list[tuple[Event, Try | None]] = []
        self.is_full = False
        self._size = 0

    def add(self, event: Event, by: Try | None) -> None:
        self._size += event.size
        if self._size > MAX_HELD_BYTES:
            self.is_full = True
        else:
            self.events.append((event, by))

    def keep(self, these: list[Try]) -> None:
        """Drops what others said."""
        self._filter(lambda by: by is not None and by in these)

    def drop(self, one: Try) -> None:
        self._filter(lambda by: by is not one)

    def _filter(self, is_kept: Callable[[Try | None], bool]) -> None:
        self.events = [(event, by) for event, by in self.events if is_kept(by)]
        self._size = sum(event.size for event, _ in self.events)
        self.is_full = False


def _pass_on(signal: StopSignal, to: StopSignal) -> None:
    if signal.why is not None:
        to.set(signal.why)


def _overlap(why: str) -> Refused:
    return Refused("STEP_OVERLAP", f"Steps overlap: {why}.")


def _is_final(error: BaseException) -> bool:
    """Another try would come to the same, or there is nobody left to try."""
    if isinstance(error, TaskFailure):
        return not error.retryable
    return not isinstance(error, Exception) or isinstance(error, (Suspended, Refused, LeaseLost, AttemptStopped))


def _is_whole(value: object, first: int, last: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and first <= value <= last


def _key_of(key: object, index: object, version: object, timeout_seconds: object, retries: object) -> str:
    """As it is stored: the third of a loop is `key#3`, the second version `key@2`."""
    if index is not None and not _is_whole(index, 0, _MAX_NUMBER):
        raise argument_invalid("step", "index", f"must be a whole number from 0 to {_MAX_NUMBER}")
    if not _is_whole(version, 1, _MAX_NUMBER):
        raise argument_invalid("step", "version", f"must be a whole number from 1 to {_MAX_NUMBER}")
    if not _is_whole(retries, 0, _MAX_RETRIES):
        raise argument_invalid("step", "retries", f"must be a whole number from 0 to {_MAX_RETRIES}")
    if timeout_seconds is not None and not (
        isinstance(timeout_seconds, (int, float)) and 0 < timeout_seconds <= _LONGEST_SECONDS
    ):
        raise argument_invalid("step", "timeout_seconds", f"must be more than 0, and at most {_LONGEST_SECONDS}")
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        raise argument_invalid("step", "key", "must be 1 to 128 characters of A-Z a-z 0-9 . _ : / -")
    return f"{key}{'' if index is None else f'#{index}'}{'' if version == 1 else f'@{version}'}"


def _result_json(key: str, result: object) -> str:
    try:
        return storable_json(result, MAX_STEP_RESULT_BYTES)
    except TooLarge:
        most = f"The result of a step may have at most {MAX_STEP_RESULT_BYTES} bytes"
        raise Refused("PAYLOAD_TOO_LARGE", f"{most}; that of {key} has more.") from None
    except NotStorable as error:
        why = f"The result of the step {key} cannot be stored: {error}."
        raise Refused("REQUEST_VALIDATION_ERROR", why) from None
