"""How a handler learns that it is to end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

from .errors import AttemptStopped, StopReason


class StopSignal:
    """Set when the task is cancelled, the lease is lost, or the worker stops. For threads and coroutines."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._listeners: list[Callable[[], None]] = []
        self.why: StopReason | None = None

    def is_set(self) -> bool:
        return self._event.is_set()

    def raise_if_set(self) -> None:
        if self.why is not None:
            raise AttemptStopped(self.why)

    def wait(self, timeout: float | None = None) -> bool:
        """Blocks until it is set, at most `timeout` seconds. For handlers in threads."""
        return self._event.wait(timeout)

    async def wait_async(self) -> None:
        """Returns when it is set."""
        loop = asyncio.get_running_loop()
        event = asyncio.Event()
        forget = self.listen(lambda: loop.call_soon_threadsafe(event.set))
        try:
            await event.wait()
        finally:
            forget()

    def set(self, why: StopReason) -> bool:
        """The first reason counts. Answers whether this is it."""
        with self._lock:
            if self.why is not None:
                return False
            self.why = why
            self._event.set()
            listeners = list(self._listeners)
        for listener in listeners:
            listener()
        return True

    def listen(self, listener: Callable[[], object]) -> Callable[[], None]:
        """Calls it once, at once where the signal is set. Answers what ends that."""

        def call() -> None:
            listener()

        with self._lock:
            is_set = self.why is not None
            if not is_set:
                self._listeners.append(call)
        if is_set:
            call()

        def forget() -> None:
            with self._lock:
                if call in self._listeners:
                    self._listeners.remove(call)

        return forget
