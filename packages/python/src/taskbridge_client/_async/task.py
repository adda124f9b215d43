"""A task of the service."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Literal, cast
from urllib.parse import quote

from ..errors import TaskBridgeError, TaskCancelled, TaskFailed
from ..ladder import Ladder
from ..outcomes import ANSWERS, AnswerOutcome, CancelOutcome, OutputChange
from ..places import LogPlace
from ..state import TaskFold, TaskState
from ..store import KeptRequest
from ..waiting import NEVER, Deadline
from ..wire import JsonObject, TaskEvent, TaskSnapshot
from .follow import Follower, Frame
from .http import Http

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

_STREAM_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


class AsyncTask:
    """Nothing is followed until somebody looks. Leaving a loop only stops looking: the task goes on."""

    def __init__(self, http: Http, ladder: Ladder, task_id: str, request: KeptRequest | None = None) -> None:
        self.id = task_id.lower()
        self._http = http
        self._ladder = ladder
        self._request = request
        self._path = f"/tasks/{quote(self.id, safe='')}"
        self._actions: dict[str, str] = {}

    @property
    def request_id(self) -> str | None:
        """The id of the request that created it, where this client did."""
        return self._request.request_id if self._request else None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id!r})"

    async def events(self, after: str | int = 0) -> AsyncGenerator[TaskEvent, None]:
        """The events after the cursor, each once and in order, over every reconnect and restart, to the terminal event."""
        async with aclosing(self._batches(_cursor(after))) as batches:
            async for batch in batches:
                for frame in batch:
                    yield cast(TaskEvent, frame.value)

    async def snapshot(self) -> TaskSnapshot:
        """The task as it is now, with its input and without its output. The members are those of PROTOCOL.md."""
        return cast(TaskSnapshot, await self._http.json("GET", self._path))

    async def state(self) -> TaskState:
        """The task as it is now, with what it has put out."""
        return (await self._joined()).state()

    async def states(self) -> AsyncGenerator[TaskState, None]:
        """The task as it is now, and then whenever something has changed, to its end. Events that come together are one state."""
        fold = await self._joined()
        yield fold.state()
        while not fold.state().is_over:
            async with aclosing(self._batches(fold.head)) as batches:
                async for batch in batches:
                    for frame in batch:
                        fold.add(cast(TaskEvent, frame.value))
                    if not fold.is_exact:
                        break
                    if batch:
                        yield fold.state()
            if not fold.is_exact:
                # An event voids text that only the service knows.
                fold = await self._joined()
                yield fold.state()

    async def output(self, channel: str = "text") -> AsyncGenerator[OutputChange, None]:
        """The text of a channel as it grows, to the end of the task."""
        before = ""
        async with aclosing(self.states()) as states:
            async for state in states:
                text = state.output.get(channel, "")
                replaced = not text.startswith(before)
                if text != before:
                    yield OutputChange(text, text if replaced else text[len(before) :], replaced)
                before = text

    async def result(self, timeout: float | None = None) -> Any:
        """Waits for the end of the task. Raises TaskFailed, TaskCancelled, and TimeoutError after `timeout` seconds."""
        deadline = Deadline(timeout)
        snapshot = await self._http.json("GET", self._path, deadline=deadline)
        # The reason of a cancellation is in the log alone.
        after = int(snapshot["headEventId"]) - (snapshot["status"] == "CANCELLED")
        if snapshot["status"] == "COMPLETED":
            self._ended()
            return snapshot["result"]
        if snapshot["status"] == "FAILED":
            self._ended()
            raise self._failed(snapshot["failure"])
        last: JsonObject = {}
        async with aclosing(self._batches(after, deadline)) as batches:
            async for batch in batches:
                last = batch[-1].value if batch else last
        if last["type"] == "TASK_FAILED":
            raise self._failed(last["payload"])
        if last["type"] == "TASK_CANCELLED":
            raise TaskCancelled(self.id, last["payload"]["reason"])
        return last["payload"]["result"]

    async def answer(
        self, action_type: str, payload: JsonObject | None = None, *, suspend_id: str | None = None
    ) -> AnswerOutcome:
        """Answers the open question, or that of `suspend_id`. The same answer again is the same action."""
        asked = suspend_id or await self._open_question()
        content = json.dumps([asked, action_type, payload or {}])
        action_id = self._actions.setdefault(content, uuid.uuid4().hex)
        body = {"clientActionId": action_id, "suspendId": asked, "actionType": action_type, "payload": payload or {}}
        answer = await self._http.json("POST", f"{self._path}/actions", body=body)
        return ANSWERS.get(answer["status"], "accepted")

    async def cancel(self, reason: str | None = None) -> CancelOutcome:
        """Asks the service to end it."""
        body = {} if reason is None else {"reason": reason}
        answer = await self._http.json("POST", f"{self._path}/cancel", body=body)
        return "over" if answer["status"] == "ALREADY_TERMINAL" else "requested"

    async def follow_token(self, *may: Literal["read", "answer", "cancel"], seconds: int | None = None) -> str:
        """A token for a page that follows this task. Without `may` it may read."""
        body: JsonObject = {"taskId": self.id, "may": list(may) or ["read"]}
        if seconds is not None:
            body["seconds"] = seconds
        return str((await self._http.json("POST", "/follow-tokens", body=body))["token"])

    async def sse(self, request: Request) -> Response:
        """Passes the events on to a browser, as a response of Starlette or FastAPI.

        It begins after the `Last-Event-ID` of the request, or its query parameter `lastEventId`. When the connection to the
        service breaks, the page sees nothing of it. A task that is over is 204, which makes an EventSource stop. Who may see the
        task is for the caller to decide.
        """
        from starlette.responses import JSONResponse, Response, StreamingResponse

        try:
            after = _cursor(request.headers.get("last-event-id") or request.query_params.get("lastEventId") or 0)
            page = await self._http.json("GET", LogPlace(self.id, after).page_path(0), tries=1)
            if page["terminal"] and not page["events"]:
                return Response(status_code=204, headers=_STREAM_HEADERS)
        except TaskBridgeError as error:
            if not error.may_pass:
                body: JsonObject = {"code": error.code, "message": error.message, "details": error.details}
                body["correlationId"] = error.correlation_id
                return JSONResponse(body, status_code=error.status or 502, headers=_STREAM_HEADERS)
        return StreamingResponse(self._passed_on(after), media_type="text/event-stream", headers=_STREAM_HEADERS)

    async def _passed_on(self, after: int) -> AsyncGenerator[bytes, None]:
        yield b"retry: 2000\n\n"
        try:
            async with aclosing(self._batches(after)) as batches:
                async for batch in batches:
                    yield b"".join(_block_of(frame) for frame in batch) or _HEARTBEAT
        except TaskBridgeError:
            # The page comes back, and the answer says why.
            return

    async def _batches(self, after: int, deadline: Deadline = NEVER) -> AsyncGenerator[list[Frame], None]:
        place = LogPlace(self.id, after)
        async with aclosing(Follower(self._http, self._ladder, place).batches(deadline)) as batches:
            async for batch in batches:
                if place.is_over:
                    self._ended()
                yield batch

    async def _joined(self) -> TaskFold:
        """From a snapshot, so that a long log need not be read."""
        snapshot = await self._http.json("GET", f"{self._path}?include=output")
        fold = TaskFold(self.id, snapshot)
        if fold.state().is_over:
            self._ended()
        if snapshot["status"] == "CANCELLED":
            async with aclosing(self._batches(fold.head - 1)) as batches:
                async for batch in batches:
                    for frame in batch:
                        fold.add(cast(TaskEvent, frame.value))
        return fold

    async def _open_question(self) -> str:
        snapshot = await self.snapshot()
        if "openSuspension" not in snapshot:
            raise TaskBridgeError("NO_QUESTION", "The task asks nothing.")
        return str(snapshot["openSuspension"]["suspendId"])

    def _failed(self, failure: JsonObject) -> TaskFailed:
        return TaskFailed(self.id, failure["code"], failure["message"], failure["retryable"])

    def _ended(self) -> None:
        if self._request:
            self._request.forget()


_HEARTBEAT = b'event: heartbeat\ndata: {"type":"HEARTBEAT","live":true}\n\n'


def _block_of(frame: Frame) -> bytes:
    return f"id: {frame.value['eventId']}\ndata: {frame.text}\n\n".encode()


def _cursor(after: str | int) -> int:
    text = str(after)
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise TaskBridgeError("INVALID_CURSOR", "The cursor is no event id.", status=400)
    return int(text)
