"""What a handler is given: TaskContext in a thread, AsyncTaskContext on the event loop."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from datetime import datetime
from typing import Any, Literal, TypeVar, overload

from ..wire import JsonObject
from .attempt import Attachment, Attempt
from .errors import Suspended
from .events import message_event, output_event, progress_event
from .outcomes import Outcome, cancel_soon, done, failed, pending
from .question import SuspendAnswer, SuspensionKind, question_of
from .signal import StopSignal
from .steps import PAUSE, Body, StepContext, Waiting

T = TypeVar("T")
Level = Literal["info", "warning", "debug"]


class _Context:
    def __init__(self, attempt: Attempt) -> None:
        lease = attempt.lease
        self._attempt = attempt
        self.task_id: str = attempt.task_id
        self.task_type: str = lease["taskType"]
        self.attempt: int = attempt.attempt
        """From 1. An earlier attempt may have done work outside already."""
        self.metadata: JsonObject = lease["metadata"]
        self.attachments: Sequence[Attachment] = attempt.attachments
        """The files of the task when the attempt began: those that came with it, then those that earlier runs attached."""
        self.traceparent: str | None = lease.get("traceparent")
        """W3C trace context of the request that created the task."""
        self.resume: SuspendAnswer | None = attempt.answers[-1] if attempt.answers else None
        """The last answer, when this invocation follows one."""

    @property
    def signal(self) -> StopSignal:
        """Set when the task is cancelled, the lease is lost, or the worker stops."""
        return self._attempt.signal

    def _progress(self, progress: float, stage: str | None, message: str | None) -> Future[None]:
        self._attempt.check()
        return self._attempt.say(progress_event(progress, stage, message))

    def _message(self, message: str, level: Level | None) -> Future[None]:
        self._attempt.check()
        return self._attempt.say(message_event(message, level))

    def _output(self, data: str, channel: str, op: str) -> Future[None]:
        attempt = self._attempt
        with attempt.lock:
            attempt.check()
            return attempt.say(output_event(channel, op, data, attempt.attempt, attempt.halves))

    def _suspend(
        self,
        reason_code: str,
        allowed_actions: Sequence[str],
        key: str | None,
        kind: str,
        schema_version: int,
        expires_at: datetime | str | None,
        objects: Mapping[str, Mapping[str, Any] | None],
    ) -> SuspendAnswer:
        attempt = self._attempt
        attempt.check_place()
        question = question_of(
            attempt.asked + 1,
            key=key,
            kind=kind,
            schema_version=schema_version,
            reason_code=reason_code,
            allowed_actions=allowed_actions,
            expires_at=expires_at,
            objects=objects,
        )
        return attempt.ask(question)


class TaskContext(_Context):
    """The calls of a handler in a thread. Each returns when it is stored, or raises why not."""

    def progress(self, progress: float, *, stage: str | None = None, message: str | None = None) -> None:
        """`progress` is 0 to 100."""
        self._progress(progress, stage, message).result()

    def message(self, message: str, level: Level | None = None) -> None:
        self._message(message, level).result()

    def output(self, data: str, *, channel: str = "text", op: Literal["append", "replace"] = "append") -> None:
        """Streamed output such as a model's tokens.

        Returns when it is buffered, and waits while more than 256 KiB are. What comes up within 50 ms is stored as one event. Half a
        character waits for its other half.
        """
        self._output(data, channel, op).result()

    def suspend(
        self,
        *,
        reason_code: str,
        allowed_actions: Sequence[str],
        key: str | None = None,
        kind: SuspensionKind = "USER_ACTION_REQUIRED",
        schema_version: int = 1,
        action_schemas: Mapping[str, Any] | None = None,
        expires_at: datetime | str | None = None,
        ui_hints: Mapping[str, Any] | None = None,
        interaction: Mapping[str, Any] | None = None,
    ) -> SuspendAnswer:
        """Asks the owner. Ends this invocation by raising Suspended, which the handler must not catch.

        After the answer the handler runs again from its start, on any worker, and the same call returns the answer. `key` names the
        question; without it that is its ordinal.
        """
        objects = {"actionSchemas": action_schemas, "uiHints": ui_hints, "interaction": interaction}
        return self._suspend(reason_code, allowed_actions, key, kind, schema_version, expires_at, objects)

    def step(
        self,
        key: str,
        body: Callable[[StepContext], T],
        *,
        index: int | None = None,
        version: int = 1,
        timeout_seconds: float | None = None,
        retries: int = 0,
    ) -> T:
        """Work that is done once in the life of the task.

        When `body` returns, its result is stored (JSON, at most 64 KiB), and what was put out so far stays valid. A later run of the
        handler gets the stored result and does not run `body`. A key is used once in a run: loops give an `index`. Another
        `version` is another step. `retries` are further tries after an error, in the same attempt. A body that takes longer than
        `timeout_seconds` goes on in its thread, and nothing of it is stored.
        """
        self._attempt.check()
        steps = self._attempt.steps
        result: T = _driven(
            steps.run(key, body, index=index, version=version, timeout_seconds=timeout_seconds, retries=retries)
        )
        return result

    def attach(self, filename: str, data: str | bytes, *, media_type: str | None = None) -> Attachment:
        """Attaches a file to the task, for its owner and for later attempts.

        The task has one file of its handler under a name: other bytes replace it, the same bytes again are the same file. Text is
        stored as UTF-8. Without `media_type` it is what the bytes and the name say.
        """
        return self._attempt.attach(filename, data, media_type).result()

    def read(self, attachment: Attachment) -> bytes:
        """The bytes of one of `attachments`."""
        return self._attempt.read(attachment["attachmentId"]).result()

    def sleep(self, seconds: float) -> None:
        """Raises AttemptStopped as soon as the signal is set."""
        self.signal.wait(seconds)
        self.signal.raise_if_set()


class AsyncTaskContext(_Context):
    """The calls of a handler on the event loop. You need not await them: the end of the attempt waits for all of them.

    When the signal is set, the coroutine of the handler is cancelled, as asyncio has it.
    """

    def progress(self, progress: float, *, stage: str | None = None, message: str | None = None) -> Outcome[None]:
        """`progress` is 0 to 100. Done when it is stored."""
        return self._outcome(lambda: self._progress(progress, stage, message))

    def message(self, message: str, level: Level | None = None) -> Outcome[None]:
        """Done when it is stored."""
        return self._outcome(lambda: self._message(message, level))

    def output(self, data: str, *, channel: str = "text", op: Literal["append", "replace"] = "append") -> Outcome[None]:
        """Streamed output such as a model's tokens.

        Done when it is buffered, and waits while more than 256 KiB are. What comes up within 50 ms is stored as one event. Half a character
        waits for its other half.
        """
        return self._outcome(lambda: self._output(data, channel, op))

    def suspend(
        self,
        *,
        reason_code: str,
        allowed_actions: Sequence[str],
        key: str | None = None,
        kind: SuspensionKind = "USER_ACTION_REQUIRED",
        schema_version: int = 1,
        action_schemas: Mapping[str, Any] | None = None,
        expires_at: datetime | str | None = None,
        ui_hints: Mapping[str, Any] | None = None,
        interaction: Mapping[str, Any] | None = None,
    ) -> Outcome[SuspendAnswer]:
        """Asks the owner: as that of TaskContext."""
        objects = {"actionSchemas": action_schemas, "uiHints": ui_hints, "interaction": interaction}
        ask = (reason_code, allowed_actions, key, kind, schema_version, expires_at, objects)
        return self._outcome(lambda: done(self._suspend(*ask)))

    @overload
    def step(
        self,
        key: str,
        body: Callable[[StepContext], Awaitable[T]],
        *,
        index: int | None = None,
        version: int = 1,
        timeout_seconds: float | None = None,
        retries: int = 0,
    ) -> Outcome[T]: ...

    @overload
    def step(
        self,
        key: str,
        body: Callable[[StepContext], T],
        *,
        index: int | None = None,
        version: int = 1,
        timeout_seconds: float | None = None,
        retries: int = 0,
    ) -> Outcome[T]: ...

    def step(
        self,
        key: str,
        body: Callable[[StepContext], Any],
        *,
        index: int | None = None,
        version: int = 1,
        timeout_seconds: float | None = None,
        retries: int = 0,
    ) -> Outcome[Any]:
        """Work that is done once in the life of the task: as that of TaskContext. A body that takes too long is cancelled."""

        def begin() -> Future[Any]:
            self._attempt.check()
            steps = self._attempt.steps
            waiting = steps.run(
                key, body, index=index, version=version, timeout_seconds=timeout_seconds, retries=retries
            )
            return _begun(waiting, self.signal)

        return self._outcome(begin)

    def attach(self, filename: str, data: str | bytes, *, media_type: str | None = None) -> Outcome[Attachment]:
        """Attaches a file to the task: as that of TaskContext."""
        return self._outcome(lambda: self._attempt.attach(filename, data, media_type))

    def read(self, attachment: Attachment) -> Outcome[bytes]:
        """The bytes of one of `attachments`."""
        return self._outcome(lambda: self._attempt.read(attachment["attachmentId"]))

    def _outcome(self, call: Callable[[], Future[T]]) -> Outcome[T]:
        try:
            future = call()
        except (Exception, Suspended) as error:
            future = failed(error)
        return self._attempt.outcomes.watched(future)


def _driven(waiting: Waiting) -> Any:
    """Runs a step in this thread."""
    value: Any = None
    error: BaseException | None = None
    while True:
        try:
            thing = waiting.send(value) if error is None else waiting.throw(error)
        except StopIteration as stop:
            return stop.value
        value, error = None, None
        try:
            value = thing.result() if isinstance(thing, Future) else _body(thing)
        except BaseException as raised:
            error = raised


def _body(body: Body) -> Any:
    step = body.step
    if body.call is PAUSE:
        step.signal.wait(body.timeout)
        step.signal.raise_if_set()
        return None
    if body.timeout is None:
        return body.call(step)
    future = pending()

    def run() -> None:
        try:
            future.set_result(body.call(step))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=contextvars.copy_context().run, args=(run,), daemon=True).start()
    with suppress(FutureTimeout):
        return future.result(body.timeout)
    if future.done():
        return future.result()
    raise _late(body)


def _begun(waiting: Waiting, signal: StopSignal) -> Future[Any]:
    """Runs a step on this event loop."""
    future = pending()
    loop = asyncio.get_running_loop()
    task = loop.create_task(_awaited(waiting))
    _running.add(task)
    forget = signal.listen(lambda: cancel_soon(loop, task))

    def over(task: asyncio.Task[Any]) -> None:
        _running.discard(task)
        forget()
        if task.cancelled():
            future.set_exception(asyncio.CancelledError())
        elif (error := task.exception()) is not None:
            future.set_exception(error)
        else:
            future.set_result(task.result())

    task.add_done_callback(over)
    return future


_running: set[asyncio.Task[Any]] = set()
"""A loop keeps weak references to tasks."""


async def _awaited(waiting: Waiting) -> Any:
    value: Any = None
    error: BaseException | None = None
    while True:
        try:
            thing = waiting.send(value) if error is None else waiting.throw(error)
        except StopIteration as stop:
            return stop.value
        value, error = None, None
        try:
            value = await (asyncio.wrap_future(thing) if isinstance(thing, Future) else _async_body(thing))
        except BaseException as raised:
            error = raised


async def _async_body(body: Body) -> Any:
    step = body.step
    if body.call is PAUSE:
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(step.signal.wait_async(), body.timeout)
        step.signal.raise_if_set()
        return None
    result = body.call(step)
    if not isinstance(result, Awaitable):
        return result
    if body.timeout is None:
        return await result
    task = asyncio.ensure_future(result)
    try:
        await asyncio.wait({task}, timeout=body.timeout)
        if task.done():
            return task.result()
    finally:
        task.cancel()
    raise _late(body)


def _late(body: Body) -> TimeoutError:
    body.step.signal.set("timed_out")
    return TimeoutError(f"The step {body.key} took longer than {body.timeout} s.")
