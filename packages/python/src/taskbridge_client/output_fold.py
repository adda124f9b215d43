"""The text that a task has put out, event by event. The service and the TypeScript client fold alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class _Piece:
    """What one event, or several that were joined, made of the text of a channel."""

    after: int
    """The event before the first."""
    event_id: int
    """The last."""
    is_replacement: bool
    data: str


class OutputFold:
    def __init__(self, begun: Mapping[str, Any] | None = None) -> None:
        """From the start of the log, or from a snapshot with output."""
        self._pieces: dict[str, list[_Piece]] = {}
        self.is_exact = True
        """False: an event voids text that only the service knows. Read the snapshot again."""
        if begun is None:
            return
        settled_id, head = int(begun["settledEventId"]), int(begun["headEventId"])
        for channel, shown in begun["output"].items():
            settled = _Piece(0, settled_id, True, shown["settled"])
            self._pieces[channel] = [settled, _Piece(settled_id, head, True, shown["data"])]

    def add(self, event_id: int, event_type: str, payload: Mapping[str, Any]) -> None:
        since = payload.get("supersedesAfterEventId")
        if since is not None:
            self._void(int(since))
        if event_type == "TASK_OUTPUT":
            piece = _Piece(event_id - 1, event_id, payload["op"] == "replace", payload["data"])
            self._pieces.setdefault(payload["channel"], []).append(piece)

    def join(self, kept: int) -> None:
        """Keeps the newest pieces of each channel apart and joins those before, so that a long text takes the memory of its characters."""
        for pieces in self._pieces.values():
            old = pieces[:-kept]
            if not old:
                continue
            counted = _counting(old)
            joined = _Piece(old[0].after, old[-1].event_id, counted[0].is_replacement, _text(counted))
            pieces[: len(old)] = [joined]

    def texts(self) -> dict[str, str]:
        return {channel: _text(_counting(pieces)) for channel, pieces in self._pieces.items()}

    def _void(self, since: int) -> None:
        for channel, pieces in list(self._pieces.items()):
            while pieces and pieces[-1].event_id > since:
                if pieces[-1].after < since:
                    self.is_exact = False
                pieces.pop()
            if not pieces:
                del self._pieces[channel]


def _counting(pieces: Sequence[_Piece]) -> Sequence[_Piece]:
    """What makes up the text: from the last replacement on."""
    first = next((at for at in range(len(pieces) - 1, -1, -1) if pieces[at].is_replacement), 0)
    return pieces[first:]


def _text(pieces: Sequence[_Piece]) -> str:
    return "".join(piece.data for piece in pieces)
