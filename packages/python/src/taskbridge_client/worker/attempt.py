"""One run of a handler under one lease, from the claim to the end of the lease."""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
import unicodedata
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any, Literal, TypedDict, TypeVar

from ..wire import JsonObject
from .errors import (
    LeaseLost,
    Refused,
    StopReason,
    Suspended,
    TaskFailure,
    TryOver,
    Unavailable,
    event_invalid,
    file_refused,
    tangible,
)
from .events import Event, HalfCharacters
from .failures import failure_of, result_refused
from .lease import HeldLease, pause_seconds
from .limits import MAX_NAME_LENGTH, MAX_RESULT_JSON_BYTES
from .outcomes import SAID, Outcomes, done, submit
from .question import SuspendAnswer
from .sender import EventSender
from .service import ServiceRefused
from .signal import StopSignal
from .steps import Steps, StepsOf
from .storable import NotStorable, TooLarge, storable_json, text_fault

T = TypeVar("T")
Report = Callable[[Literal["handler_failed", "call_refused"], "BaseException | None"], None]
_LONGEST_PAUSE = 2.0
_MEDIA_TYPE = re.compile(r"[\w!#$&^.+-]{1,127}/[\w!#$&^.+-]{1,127}", re.ASCII)


class _Attachment(TypedDict):
    attachmentId: str
    filename: str
    contentType: str
    sizeBytes: int
    sha256: str


class Attachment(_Attachment, total=False):
    """A file of the task. `source` is `worker` where a handler attached it."""

    source: str


class _End:
    """How the lease ends."""

    def __init__(self, name: str, members: JsonObject, result_json: str | None = None) -> None:
        self.name = name
        self.members = members
        self.result_json = result_json


class Attempt(StepsOf):
    """Its coroutines run on the loop of the leases. What a handler calls may run in any thread."""

    def __init__(self, holder: HeldLease, loop: asyncio.AbstractEventLoop, report: Report) -> None:
        lease = holder.lease
        self.lease = lease
        self.task_id = holder.task_id
        self.attempt = int(lease["attempt"])
        self.signal = StopSignal()
        self.halves = HalfCharacters()
        self.outcomes = Outcomes()
        self.lock = threading.RLock()
        self.stores_steps = "steps" in lease
        self.answers: list[SuspendAnswer] = lease.get("answers") or ([lease["resume"]] if "resume" in lease else [])
        files = [{name: value for name, value in file.items() if name != "url"} for file in lease["attachments"]]
        self.attachments: list[Attachment] = files  # type: ignore[assignment]
        self._holder = holder
        self._loop = loop
        self._report = report
        self._lost = asyncio.Event()
        self._sender = EventSender(loop, self._append, int(lease["headEventId"]))
        stored = [(step["key"], step["result"]) for step in lease.get("steps", ())]
        self.steps = Steps(self, stored, self.lock)
        # The files of earlier runs of the handler, and of this one, by name.
        self._attached = {file["filename"]: file for file in self.attachments if file.get("source") == "worker"}
        self._attaching: set[Future[Any]] = set()
        self._is_done = False
        self._is_late = False
        self._asked: set[str] = set()
        self._question: JsonObject | None = None

    # For the worker, on the loop of the leases.

    def stop(self, why: StopReason) -> None:
        """Has the handler stop. The first reason counts, but a lost lease outweighs all."""
        self.signal.set(why)
        if why == "lease_lost":
            self._lost.set()

    async def renew(self) -> None:
        """A sign of life, repeated until it is answered. Raises LeaseLost."""
        await self._watched(self._answered(self._holder.renew))

    async def run(self, begin: Callable[[], Future[Any]]) -> None:
        """Returns when the lease is over; the handler may still run when it does not obey its signal."""
        work = asyncio.create_task(self._run_to_end(begin))
        lost = asyncio.create_task(self._lost.wait())
        try:
            await asyncio.wait({work, lost}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
        finally:
            with self.lock:
                self._is_done = True
            for task in (work, lost):
                task.cancel()
            self._sender.close()

    async def abandon(self) -> None:
        """Hands the task back although the handler still runs: nothing that it says from now on is stored."""
        with contextlib.suppress(Exception):
            await self._call(lambda: self._holder.give_back("release", {}))
        self.stop("lease_lost")

    async def _run_to_end(self, begin: Callable[[], Future[Any]]) -> None:
        end = await self._execute(begin)
        try:
            await self._end(end)
        except LeaseLost:
            # Another call has ended the lease, or this very one did and its answer was lost.
            return
        except (Refused, ServiceRefused) as error:
            self._report("call_refused", error)
            failure = result_refused(error) if end.name == "complete" else failure_of(error)
            try:
                await self._end(_End("fail", failure))
            except LeaseLost:
                return
            except (Refused, ServiceRefused) as again:
                self._report("call_refused", again)

    async def _end(self, end: _End) -> None:
        await self._call(lambda: self._holder.give_back(end.name, end.members, end.result_json))

    async def _execute(self, begin: Callable[[], Future[Any]]) -> _End:
        result: Any = None
        error: BaseException | None = None
        try:
            self.signal.raise_if_set()
            result = await asyncio.wrap_future(begin())
        except BaseException as thrown:
            if isinstance(thrown, asyncio.CancelledError) and self._lost.is_set():
                raise
            error = tangible(thrown)
        while self.steps.is_open:
            await asyncio.wrap_future(self.steps.next_close())
        self.steps.release()
        while self._attaching:
            await asyncio.wait([asyncio.wrap_future(attaching) for attaching in list(self._attaching)])
        await self._all_sent()
        if self.halves.is_waiting:
            self.outcomes.fail(event_invalid("data", "ends within a character"))
        unheard = self.outcomes.unheard()
        if error is None and not unheard and not self._question:
            return self._completed(result)
        if self.signal.is_set():
            return _End("cancelled" if self.signal.why == "cancelled" else "release", {})
        return self._not_completed(error, unheard)

    async def _all_sent(self) -> None:
        while True:
            await self._sender.settled()
            with self.lock:
                if self._sender.is_empty:
                    self._is_done = True
                    return

    def _completed(self, result: Any) -> _End:
        try:
            return _End("complete", {}, storable_json(result, MAX_RESULT_JSON_BYTES))
        except (NotStorable, TooLarge) as error:
            self._report("call_refused", error)
            return _End("fail", result_refused(error))

    def _not_completed(self, error: BaseException | None, unheard: list[BaseException]) -> _End:
        """`unheard`: what was refused while the handler did not listen. It outweighs all but words of its own."""
        refused = unheard[0] if unheard else None
        if len(unheard) > 1:
            self._report("call_refused", Refused("", f"{refused} (and {len(unheard) - 1} more)"))
        elif unheard:
            self._report("call_refused", refused)
        # Also when the handler let another error out meanwhile: `suspend` ends it, and it asks again from its start.
        if self._question and not unheard:
            return _End("suspend", self._question)
        if isinstance(error, TaskFailure):
            return _End("fail", failure_of(error))
        is_own = error is not None and not isinstance(error, Suspended) and error is not refused
        if not unheard or is_own:
            self._report("call_refused" if isinstance(error, Refused) else "handler_failed", error)
        return _End("fail", failure_of(refused if unheard else error))

    async def _append(self, batch_seq: int, events: list[JsonObject]) -> int:
        return await self._call(lambda: self._holder.append(batch_seq, events))

    async def _call(self, call: Callable[[], Awaitable[T]]) -> T:
        return await self._watched(self._answered(call, self.renew))

    async def _watched(self, answer: Awaitable[T]) -> T:
        try:
            return await answer
        except LeaseLost:
            self.stop("lease_lost")
            raise

    async def _answered(
        self, call: Callable[[], Awaitable[T]], when_expired: Callable[[], Awaitable[None]] | None = None
    ) -> T:
        """A call that was refused because of an expired lease is repeated after the renewal, because nobody took the lease."""
        failures = 0
        while True:
            if self._lost.is_set():
                raise LeaseLost
            try:
                return await call()
            except Unavailable as error:
                longest = min(_LONGEST_PAUSE, self._holder.seconds / 6)
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._lost.wait(), pause_seconds(failures, longest, error.retry_after))
            except LeaseLost:
                if when_expired is None:
                    raise
                await when_expired()
            failures += 1

    # For the handler, in any thread.

    def check(self) -> None:
        """Raises where nothing may be said any more."""
        self.signal.raise_if_set()
        if self._is_done:
            raise self._too_late("The handler had returned before this call.")
        self.check_place()

    def check_place(self) -> None:
        try:
            self.steps.check_place()
        except TryOver as error:
            self._too_late(str(error))
            raise

    def say(self, event: Event | None) -> Future[None]:
        with self.lock:
            self.check()
            return self.steps.say(event) or SAID

    def ask(self, question: JsonObject) -> SuspendAnswer:
        """The answer, when the question was asked before and answered; else the end of this invocation."""
        suspend_id = question["suspendId"]
        with self.lock:
            if suspend_id in self._asked:
                why = f"The question {suspend_id} was asked before in this run of the handler."
                raise Refused("QUESTION_REPEATED", why)
            self._asked.add(suspend_id)
            for answer in self.answers:
                if answer["suspendId"] == suspend_id:
                    return answer
            self._question = self._question or question
        raise Suspended

    @property
    def asked(self) -> int:
        return len(self._asked)

    def attach(self, filename: object, data: object, media_type: object) -> Future[Attachment]:
        self.check()
        if not isinstance(filename, str) or not 1 <= len(filename) <= MAX_NAME_LENGTH or text_fault(filename):
            raise file_refused(f"Its name must be text of 1 to {MAX_NAME_LENGTH} characters.")
        if media_type is not None and not (isinstance(media_type, str) and _MEDIA_TYPE.fullmatch(media_type)):
            raise file_refused("media_type must be a media type such as image/png, without parameters.")
        if not isinstance(data, (str, bytes, bytearray, memoryview)):
            raise file_refused("Its bytes must be text or bytes.")
        name, kind = unicodedata.normalize("NFC", filename), media_type
        content = data.encode("utf-8", "replace") if isinstance(data, str) else bytes(data)
        with self.lock:
            if self.steps.is_repeating and name in self._attached:
                return done(self._attached[name])
            attaching: Future[Attachment] = submit(self._loop, lambda: self._attach(name, kind, content))
            self._attaching.add(attaching)
        attaching.add_done_callback(self._attaching.discard)
        return attaching

    def read(self, attachment_id: str) -> Future[bytes]:
        self.check()
        return submit(self._loop, lambda: self._call(lambda: self._holder.read(attachment_id)))

    async def _attach(self, name: str, media_type: str | None, content: bytes) -> Attachment:
        try:
            attachment = await self._call(lambda: self._holder.attach(name, media_type, content))
        except Refused as error:
            raise file_refused(error.message) from error
        self._attached[name] = attachment  # type: ignore[assignment]
        return attachment  # type: ignore[return-value]

    def _too_late(self, why: str) -> LeaseLost:
        """Code of the handler that goes on behind its end. What it says is not stored, and the operator hears of it once."""
        if not self._is_late:
            self._report("call_refused", Refused("TOO_LATE", why))
        self._is_late = True
        return LeaseLost()

    # For the steps, in any thread.

    def send(self, event: Event) -> Future[None] | None:
        if event.type == "TASK_OUTPUT":
            return self._sender.buffer(event, self.outcomes.fail)
        return self._sender.send(event)

    def head_event_id(self) -> int:
        return self._sender.head_event_id

    def settled(self) -> Future[None]:
        return submit(self._loop, self._sender.settled)

    def finish(self, key: str, result_json: str) -> Future[Any]:
        def store(batch_seq: int) -> Awaitable[tuple[int, Any]]:
            return self._call(lambda: self._holder.finish_step(batch_seq, key, result_json))

        return submit(self._loop, lambda: self._sender.finish(store))

    def fail(self, error: BaseException) -> None:
        self.outcomes.fail(error)

    def report(self, error: BaseException) -> None:
        self._report("call_refused", error)
