"""The cancellations of all leases of a worker, as they come."""

from __future__ import annotations

import time
from collections.abc import Callable

from .limits import MAX_HELD_LEASES
from .service import Answer, Service

_WAIT = 20.0
"""How long one call waits for a signal, held open by the service."""
_ANSWER = 10.0
"""How much longer its answer may take."""


class Signals:
    def __init__(self, service: Service, worker_id: str, cancelled: Callable[[str], bool]) -> None:
        """`cancelled` is called with the task of a cancelled lease, and answers whether the worker holds it."""
        self._service = service
        self._worker_id = worker_id
        self._cancelled = cancelled
        # Tasks whose cancellation was heard, the newest last.
        self._known: dict[str, None] = {}

    async def wait(self) -> bool | None:
        """Waits for signals once. Answers whether it makes sense to wait again at once; None where the service knows no signals."""
        if not await self._service.knows("signals"):
            return None
        asked_at = time.monotonic()
        known = list(self._known)[-MAX_HELD_LEASES:]
        body = {"workerId": self._worker_id, "known": known, "waitTimeoutMs": int(_WAIT * 1_000)}

        async def post() -> Answer:
            return await self._service.post("signals", body, _WAIT + _ANSWER)

        signals = (await self._service.unless_unknown(post)).body["signals"]
        heard = [
            signal["taskId"] for signal in signals if signal["type"] == "cancel" and self._cancelled(signal["taskId"])
        ]
        self._known.update(dict.fromkeys(heard))
        # A replica that drains answers early and with nothing. A task that is not held yet would be signalled again and again.
        return bool(heard) or (not signals and time.monotonic() - asked_at >= _WAIT / 2)

    def forget(self, task_id: str) -> None:
        """The worker does not hold the task any more."""
        self._known.pop(task_id, None)
