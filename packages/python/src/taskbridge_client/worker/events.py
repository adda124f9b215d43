"""The events of a handler. Refuses what the service would refuse, one event at a time: the service would refuse the whole batch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ..wire import JsonObject
from .errors import event_invalid, event_too_large
from .limits import MAX_EVENT_BYTES
from .storable import bytes_of, text_fault, whole


@dataclass(frozen=True)
class Event:
    type: str
    payload: JsonObject
    size: int
    """Bytes of the payload as it is stored."""
    append: str | None = None
    """For an append: its channel."""
    data_size: int = 0
    """For an append: the bytes that it adds to an earlier append to the same channel."""


def progress_event(progress: object, stage: object, message: object) -> Event:
    if isinstance(progress, bool) or not isinstance(progress, (int, float)) or not 0 <= progress <= 100:
        raise event_invalid("progress", "must be a number from 0 to 100")
    payload: JsonObject = {"progress": int(progress) if math.floor(progress) == progress else progress}
    payload.update({name: value for name, value in (("stage", stage), ("message", message)) if value is not None})
    return _checked("TASK_PROGRESS", payload)


def message_event(message: object, level: object) -> Event:
    if level is not None and level not in ("info", "warning", "debug"):
        raise event_invalid("level", "must be info, warning or debug")
    return _checked("TASK_MESSAGE", {"message": message, **({} if level is None else {"level": level})})


def output_event(channel: object, op: object, data: object, attempt: int, halves: HalfCharacters) -> Event | None:
    """None: the data is the first half of a character, which waits for the other half."""
    for name, value in (("channel", channel), ("data", data)):
        if not isinstance(value, str):
            raise event_invalid(name, "must be a string")
    if op not in ("append", "replace"):
        raise event_invalid("op", "must be append or replace")
    complete = halves.complete(str(channel), str(op), str(data))
    if complete is None:
        return None
    payload = {"channel": channel, "op": op, "data": complete}
    _check_texts(payload)
    data_size = bytes_of(complete) - 2
    # The service stores the attempt with it.
    size = _around(str(channel), str(op), attempt) + data_size
    return _sized(Event("TASK_OUTPUT", payload, size, str(channel) if op == "append" else None, data_size))


@lru_cache
def _around(channel: str, op: str, attempt: int) -> int:
    return bytes_of({"channel": channel, "op": op, "data": "", "attempt": attempt})


def step_retrying_event(key: str, since: int, attempt: int) -> Event:
    """A new try of a step. What is after the event `since` is void."""
    payload = {"key": key, "state": "retrying", "supersedesAfterEventId": str(since)}
    return Event("TASK_STEP", payload, bytes_of({**payload, "attempt": attempt}))


class HalfCharacters:
    """A stream that is cut anywhere is also cut within characters. The first half waits for the next append to its channel."""

    def __init__(self) -> None:
        self._held: dict[str, str] = {}

    @property
    def is_waiting(self) -> bool:
        return bool(self._held)

    def drop(self) -> None:
        self._held.clear()

    def complete(self, channel: str, op: str, data: str) -> str | None:
        """What can be sent now. None: all of it waits."""
        held = self._held.pop(channel, "")
        if not held and data.isascii():
            return data
        text = whole((held if op == "append" else "") + data)
        cut = text[:-1] if "\ud800" <= text[-1:] <= "\udbff" else text
        # A waiting half that another text follows is given up with this call.
        if len(cut) < len(text) and text_fault(cut) is None:
            self._held[channel] = text[-1]
        return None if cut == "" and data != "" else cut


def _checked(event_type: str, payload: JsonObject) -> Event:
    for name, value in payload.items():
        if name not in ("progress", "level") and not isinstance(value, str):
            raise event_invalid(name, "must be a string")
    _check_texts(payload)
    return _sized(Event(event_type, payload, bytes_of(payload)))


def _check_texts(payload: dict[str, Any]) -> None:
    for name, value in payload.items():
        fault = text_fault(value) if isinstance(value, str) else None
        if fault:
            raise event_invalid(name, fault)


def _sized(event: Event) -> Event:
    if event.size > MAX_EVENT_BYTES:
        raise event_too_large()
    return event
