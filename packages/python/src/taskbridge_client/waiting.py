"""How long the client waits, in seconds."""

from __future__ import annotations

import random
import time

FIRST_BYTE = 10.0
"""A service that takes longer for the beginning of its answer counts as away."""
SILENCE = 40.0
"""A server heartbeats after 15 s of silence. Two that are missed, and a delay, mean a broken connection."""
BODY = 60.0
LONG_POLL = 25.0
LONGEST_PAUSE = 30.0


def backoff(failures: int) -> float:
    """Before the next try: full jitter up to 1 s, doubling to 30 s. `failures` counts those before."""
    return random.random() * min(LONGEST_PAUSE, 2.0 ** min(failures, 10))


class Deadline:
    """When the caller does not want to wait any more. Without seconds it never comes."""

    def __init__(self, seconds: float | None = None) -> None:
        self._at = None if seconds is None else time.monotonic() + seconds

    @property
    def is_set(self) -> bool:
        return self._at is not None

    def within(self, seconds: float) -> float:
        """The given seconds, or fewer where the deadline comes earlier. Raises TimeoutError when it has come."""
        if self._at is None:
            return seconds
        left = self._at - time.monotonic()
        if left <= 0:
            raise TimeoutError("The task was not over in time.")
        return min(seconds, left)

    def check(self) -> None:
        self.within(0)


NEVER = Deadline()
