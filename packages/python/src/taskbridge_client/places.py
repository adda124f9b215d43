"""Where a reader is, in the log of a task or in the feed of changes. Nothing here waits."""

from __future__ import annotations

from typing import Any, Protocol
from urllib.parse import quote

from .wire import TERMINAL, JsonObject

_PAGE_EVENTS = 500
"""The most that the service puts on a page."""


class Place(Protocol):
    """Each frame is taken once and in order, whatever brings it."""

    is_over: bool

    @property
    def stream_path(self) -> str: ...
    def page_path(self, wait_ms: int) -> str: ...
    def take(self, frame: JsonObject) -> bool:
        """Whether the frame is new, and the next."""
        ...

    def is_ahead(self, frame: JsonObject) -> bool:
        """Whether something is missing before the frame."""
        ...

    def frames_of(self, page: JsonObject) -> list[Any]: ...
    def end_of(self, page: JsonObject) -> None:
        """Notes where the page ends, after its frames."""
        ...


class LogPlace:
    """The log of one task. Its ids have no hole: what the place has is dropped, and what is missing is read by page."""

    def __init__(self, task_id: str, after: int) -> None:
        self._path = f"/tasks/{quote(task_id, safe='')}/events"
        self.head = after
        self.is_over = False

    @property
    def stream_path(self) -> str:
        return f"{self._path}/stream?lastEventId={self.head}"

    def page_path(self, wait_ms: int) -> str:
        return f"{self._path}?afterEventId={self.head}&maxEvents={_PAGE_EVENTS}&waitTimeoutMs={wait_ms}"

    def take(self, frame: JsonObject) -> bool:
        if int(frame["eventId"]) != self.head + 1:
            return False
        self.head += 1
        self.is_over = frame["type"] in TERMINAL
        return True

    def is_ahead(self, frame: JsonObject) -> bool:
        return int(frame["eventId"]) > self.head + 1

    def frames_of(self, page: JsonObject) -> list[Any]:
        return list(page["events"])

    def end_of(self, page: JsonObject) -> None:
        # Otherwise the terminal event ends the log, and never before a hole in front of it.
        if page["terminal"] and not page["events"]:
            self.is_over = True


class FeedPlace:
    """The changes of the caller's tasks. Its cursors are opaque."""

    def __init__(self) -> None:
        self._cursor = ""
        self.is_over = False

    @property
    def stream_path(self) -> str:
        return f"/tasks/changes/stream?after={quote(self._cursor, safe='')}"

    def page_path(self, wait_ms: int) -> str:
        return f"/tasks/changes?after={quote(self._cursor, safe='')}&waitTimeoutMs={wait_ms}"

    def take(self, frame: JsonObject) -> bool:
        self._cursor = frame.get("cursor") or frame.get("next") or self._cursor
        return "task" in frame or "removed" in frame

    def is_ahead(self, frame: JsonObject) -> bool:
        return False

    def frames_of(self, page: JsonObject) -> list[Any]:
        return list(page["changes"])

    def end_of(self, page: JsonObject) -> None:
        self._cursor = page["next"]
