"""The client."""

from __future__ import annotations

import json
from collections.abc import Generator, MutableMapping, Sequence
from contextlib import closing
from datetime import datetime
from types import TracebackType
from typing import Any, cast
from urllib.parse import urlencode

import httpx

from .._io import Headers, Source
from ..errors import TaskBridgeError
from ..files import File
from ..ladder import Ladder, TransportName
from ..places import FeedPlace
from ..store import KeptRequest, RequestIds
from ..times import timestamp
from ..waiting import Deadline
from ..wire import Change, JsonObject, TaskSnapshot, TaskStatus
from .follow import Follower
from .http import Http
from .task import Task

_LIST_TRIES = 5
"""How often a page of the list is asked for before the list fails."""


class TaskBridge:
    """Creates tasks and follows them. A request is repeated until the service has answered it."""

    def __init__(
        self,
        url: str,
        *,
        token: Source[str] | None = None,
        headers: Source[Headers] | None = None,
        transports: Sequence[TransportName] = ("sse", "poll"),
        store: MutableMapping[str, str] | None = None,
        http_client: httpx.Client | None = None,
    ) -> None:
        """`url` is the address of the service, without `/api/v1`; it may have a path.

        `token` and `headers` may be functions, which are asked before every request. `store` keeps the ids of requests over a
        restart of the program: a FileStore, or anything like a dict. `http_client` is for certificates and proxies; close it yourself.
        """
        self._http = Http(url, token, headers, http_client)
        self._ladder = Ladder(transports)
        self._requests = RequestIds(store)

    def __enter__(self) -> TaskBridge:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def create(
        self,
        task_type: str,
        input: JsonObject | None = None,
        *,
        request_id: str | None = None,
        metadata: JsonObject | None = None,
        files: Sequence[File] = (),
        start_after: datetime | str | None = None,
        timeout: float | None = None,
    ) -> Task:
        """A task, once for each `request_id`: the same id again is the same task. Without one, an id is made up and kept in the store.

        A file is a path, or a name, the bytes, and perhaps a media type. Raises TimeoutError when the service has not answered within
        `timeout` seconds. It may have stored the task then: call again with the same `request_id`.
        """
        request = KeptRequest(request_id, None, {}) if request_id else None
        request = request or self._requests.take(json.dumps([task_type, input, metadata]))
        body: JsonObject = {"clientRequestId": request.request_id, "taskType": task_type, "input": input or {}}
        if metadata is not None:
            body["metadata"] = metadata
        if start_after is not None:
            body["startAfter"] = timestamp(start_after)
        try:
            answer = self._http.json("POST", "/tasks", body=body, files=files, deadline=Deadline(timeout))
        except TaskBridgeError:
            # Refused: the same again would be refused, too.
            request.forget()
            raise
        return Task(self._http, self._ladder, answer["taskId"], request)

    def task(self, task_id: str) -> Task:
        return Task(self._http, self._ladder, task_id)

    def list(
        self,
        *,
        status: TaskStatus | None = None,
        task_type: str | None = None,
        request_id: str | None = None,
        suspended: bool | None = None,
        created_after: datetime | str | None = None,
        created_before: datetime | str | None = None,
    ) -> Generator[TaskSnapshot, None]:
        """The caller's tasks, newest first. Raises TaskBridgeError, also when the service does not answer for a while."""
        given: dict[str, Any] = {"status": status, "taskType": task_type, "clientRequestId": request_id}
        given["suspended"] = None if suspended is None else str(suspended).lower()
        given["createdAfter"] = None if created_after is None else timestamp(created_after)
        given["createdBefore"] = None if created_before is None else timestamp(created_before)
        query = {"limit": "100", **{name: value for name, value in given.items() if value is not None}}
        while True:
            page = self._http.json("GET", f"/tasks?{urlencode(query)}", tries=_LIST_TRIES)
            for task in page["items"]:
                yield cast(TaskSnapshot, task)
            if page["nextCursor"] is None:
                return
            query["cursor"] = page["nextCursor"]

    def changes(self) -> Generator[Change, None]:
        """What changes among the caller's tasks, from the first step of the loop on.

        A change may come twice. After a gap that the service cannot fill, such as a day, it yields every task of the list.
        """
        is_first = True
        while True:
            place = FeedPlace()
            # The cursor before the list, and the list before the feed: nothing falls between.
            place.end_of(self._http.json("GET", place.page_path(0)))
            if not is_first:
                with closing(self.list()) as tasks:
                    for task in tasks:
                        yield {"taskId": task["taskId"], "task": task}
            is_first = False
            try:
                with closing(Follower(self._http, self._ladder, place).batches()) as batches:
                    for batch in batches:
                        for frame in batch:
                            yield _change_of(frame.value)
            except TaskBridgeError as error:
                # A cursor of another day, or of another database.
                if "CURSOR" not in error.code:
                    raise


def _change_of(frame: JsonObject) -> Change:
    if "task" in frame:
        return {"taskId": frame["task"]["taskId"], "task": frame["task"]}
    return {"taskId": frame["taskId"], "removed": True}
