"""Follows the log of a task, or the feed of changes, over every reconnect."""

from __future__ import annotations

import json
import logging
from collections.abc import Generator
from contextlib import closing
from typing import NamedTuple

from .._io import pause
from ..answers import lost
from ..errors import Silent, TaskBridgeError, unreachable
from ..ladder import Ladder
from ..places import Place
from ..sse_blocks import BlockReader
from ..waiting import LONG_POLL, NEVER, Deadline, backoff
from ..wire import JsonObject
from .http import Http

log = logging.getLogger("taskbridge_client")


class Frame(NamedTuple):
    value: JsonObject
    text: str
    """Its JSON, as it came by a stream."""


class Follower:
    def __init__(self, http: Http, ladder: Ladder, place: Place) -> None:
        self._http = http
        self._ladder = ladder
        self._place = place

    def batches(self, deadline: Deadline = NEVER) -> Generator[list[Frame], None]:
        """What came together, each frame once and in order, to the end. Empty: a sign of life.

        With a deadline it polls: a read of a stream does not end in time. Raises TaskBridgeError when it cannot go on, and TimeoutError.
        """
        ladder, place = self._ladder, self._place
        failures = refusals = 0
        level = ladder.begin()
        while not place.is_over:
            heard = False
            name = "poll" if deadline.is_set else ladder.names[level]
            try:
                with closing(self._by_sse() if name == "sse" else self._by_poll(deadline)) as batches:
                    for batch in batches:
                        failures, refusals, heard = 0, 0, True
                        ladder.works(level)
                        yield batch
                continue
            except TaskBridgeError as caught:
                error = caught
            except (ValueError, KeyError) as caught:
                # Not the service: something on the way speaks another language.
                error = lost(caught)
            is_unknown = error.status == 401
            refusals = refusals + 1 if is_unknown else 0
            # Credentials were asked twice, and neither counts. Any other refusal would be the same again.
            if refusals > 1 if is_unknown else not error.may_pass:
                raise error
            is_last = deadline.is_set or ladder.is_last(level)
            log.info("by %s: %s; will resume", name, error)
            if is_unknown:
                continue
            if not heard and not is_last:
                level += 1
                continue
            if not heard:
                # None works: the fault is not that of a transport.
                ladder.works(0)
            elif isinstance(error, Silent) and not is_last:
                ladder.works(level + 1)
            level = ladder.begin()
            pause(deadline.within(max(error.retry_after or 0, backoff(failures))))
            failures += 1

    def _by_sse(self) -> Generator[list[Frame], None]:
        """By httpx, which sends headers and sees the status."""
        place = self._place
        with self._http.stream(place.stream_path) as answer:
            if answer.status_code == 204:
                place.is_over = True
                return
            reader = BlockReader()
            retry_after: float | None = None
            for piece in answer.iter_bytes():
                fresh: list[Frame] = []
                heard = False
                for block in reader.take(piece):
                    if block.retry is not None:
                        retry_after = int(block.retry) / 1_000
                    # A proxy may send an empty stream for a service that is away. It has nothing but `retry`.
                    if not block.data:
                        continue
                    heard = True
                    frame = json.loads(block.data)
                    if block.event == "heartbeat":
                        if "next" in frame:
                            place.take(frame)
                        continue
                    while place.is_ahead(frame):
                        fresh += self._page(0, NEVER)
                    if place.take(frame):
                        fresh.append(Frame(frame, block.data))
                    if place.is_over:
                        break
                if heard:
                    yield fresh
                if place.is_over:
                    return
            raise unreachable(retry_after=retry_after)

    def _by_poll(self, deadline: Deadline) -> Generator[list[Frame], None]:
        """The first answer comes at once, also when the task is over."""
        wait = 0.0
        while not self._place.is_over:
            yield self._page(deadline.within(wait) if wait else 0, deadline)
            wait = LONG_POLL

    def _page(self, wait: float, deadline: Deadline) -> list[Frame]:
        place = self._place
        path = place.page_path(int(wait * 1_000))
        page = self._http.json("GET", path, tries=1, wait=wait, deadline=deadline)
        fresh = [Frame(frame, _text_of(frame)) for frame in place.frames_of(page) if place.take(frame)]
        place.end_of(page)
        return fresh


def _text_of(frame: JsonObject) -> str:
    """As a stream would have it: the service escapes what some readers of lines take for the end of one."""
    text = json.dumps(frame, ensure_ascii=False, separators=(",", ":"))
    return text.replace("\x85", "\\u0085").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
