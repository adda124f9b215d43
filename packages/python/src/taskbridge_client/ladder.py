"""Which transport a client uses."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Literal

TransportName = Literal["sse", "poll"]

RISE = 300.0
"""Seconds that a lower transport is kept before the first is tried again."""


class Ladder:
    """The transports of a client in the order in which they are tried, and the one that works as far as is known."""

    def __init__(self, names: Sequence[TransportName]) -> None:
        if not names or any(name not in ("sse", "poll") for name in names):
            raise ValueError("transports: one or both of 'sse' and 'poll'")
        self.names = tuple(names)
        self._level = 0
        self._fell_at = 0.0

    def begin(self) -> int:
        if time.monotonic() - self._fell_at > RISE:
            self._level = 0
        return self._level

    def works(self, level: int) -> None:
        if level > self._level:
            self._fell_at = time.monotonic()
        self._level = level

    def is_last(self, level: int) -> bool:
        return level + 1 >= len(self.names)
