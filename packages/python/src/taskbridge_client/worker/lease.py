"""A lease that is held over HTTP, and the signs of life of all leases of a worker.

Every accepted call extends a lease; when there is none for a third of its length, a heartbeat does. Without answers it is over at last by
this process's own monotonic clock: a worker that hears nothing any more must not believe that it still holds the task.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

from ..wire import JsonObject
from .errors import LeaseLost, Refused, Unavailable
from .limits import MAX_HELD_LEASES
from .service import Answer, Service, ServiceRefused, UnknownThere

_CALL_TIMEOUT = 10.0
"""How long one call may take; within a short lease less, so that it can be repeated before the end."""
_PATIENCE = 2
"""How long a lease that is over by this process's own clock may still be renewed, in leases: the service may have stood still."""
_LONGEST_PAUSE = 2.0
_OVER = frozenset({"LEASE_LOST", "TASK_ASIDE"})
"""Refusals that say: the lease is over. `TASK_ASIDE`: the task waits for an operator of the service."""
_ABOUT_CONTENT = frozenset({400, 403, 413, 415, 422})


def pause_seconds(failures: int, longest: float, at_least: float = 0) -> float:
    """Doubled with every failure, ± 50 %, so that the workers of a service that restarts do not all come back in one moment."""
    return max(at_least, min(0.1 * 2.0 ** min(failures, 20), longest) * (0.5 + random.random()))


class HeldLease:
    def __init__(
        self,
        lease: JsonObject,
        service: Service,
        heartbeats: Heartbeats,
        cancelled: Callable[[], None],
        lost: Callable[[], None],
    ) -> None:
        self.lease = lease
        self.task_id: str = lease["taskId"]
        self.token: str = lease["leaseToken"]
        self.seconds = 0.0
        self.beat_at = float("inf")
        self.is_over = False
        self.lost = lost
        self._service = service
        self._heartbeats = heartbeats
        self._cancelled = cancelled
        self._ends_at = 0.0

    def begin(self, service_time: float) -> bool:
        """Whether the lease is fresh.

        An answer that seems old, measured by the lease, may have waited in the socket of a process that was stopped: then a renewal says
        whether the lease is alive.
        """
        self.heard(Answer(self.lease, service_time))
        self._heartbeats.add(self)
        return abs(time.time() - service_time) <= self.seconds / 2

    @property
    def timeout(self) -> float:
        return min(_CALL_TIMEOUT, max(1.0, self.seconds / 3))

    async def append(self, batch_seq: int, events: list[JsonObject]) -> int:
        has_steps = any(event["type"] == "TASK_STEP" for event in events)
        body = await self._call("events", {"batchSeq": batch_seq, "events": events}, is_of_steps=has_steps)
        return int(body["eventIds"][-1])

    async def finish_step(self, batch_seq: int, key: str, result_json: str) -> tuple[int, Any]:
        body = await self._call("steps", {"batchSeq": batch_seq, "key": key}, result_json, is_of_steps=True)
        return int(body["eventId"]), body["result"]

    async def attach(self, filename: str, media_type: str | None, content: bytes) -> JsonObject:
        if self.is_over:
            raise LeaseLost
        try:
            if not await self._service.knows("workerFiles"):
                # Another attempt may find that it does.
                raise RuntimeError("The service does not take files of workers.")
            answer = await self._service.upload(self.task_id, self.token, filename, media_type, content)
        except ServiceRefused as error:
            raise Unavailable(error.text) if error.status == 404 else self._translated(error)
        except Unavailable as error:
            raise self._translated(error)
        self.heard(answer)
        return {name: value for name, value in answer.body.items() if name not in _SIGN}

    async def read(self, attachment_id: str) -> bytes:
        address = next(
            (file["url"] for file in self.lease["attachments"] if file["attachmentId"] == attachment_id), None
        )
        if address is None:
            raise KeyError(f"The task had no file {attachment_id} when the attempt began.")
        try:
            return await self._service.download(address, self.token)
        except (ServiceRefused, Unavailable) as error:
            raise self._translated(error)

    async def renew(self) -> None:
        """Revives a lease that expired and that nobody took. Raises LeaseLost and Unavailable."""
        try:
            await self._call("heartbeat", {})
        except LeaseLost:
            self.close()
            raise

    async def give_back(self, name: str, members: JsonObject, result_json: str | None = None) -> None:
        """Ends the lease. Behind this call a heartbeat would only learn that it is over."""
        self.beat_at = float("inf")
        await self._call(name, members, result_json)
        self.close()

    def close(self) -> None:
        self.is_over = True
        self._heartbeats.remove(self)

    def heard(self, answer: Answer) -> None:
        if self.is_over:
            return
        body = answer.body
        if body.get("cancellationRequested"):
            self._cancelled()
        expires_at = body.get("leaseExpiresAt")
        if expires_at is None:
            return
        ends = datetime.fromisoformat(expires_at.replace("Z", "+00:00")).timestamp()
        self.seconds = ends - answer.service_time
        self._ends_at = time.monotonic() + self.seconds
        self.beat_at = time.monotonic() + self.seconds / 3

    def out_of_patience(self) -> bool:
        return time.monotonic() > self._ends_at + _PATIENCE * self.seconds

    async def _call(
        self, name: str, members: JsonObject, result_json: str | None = None, is_of_steps: bool = False
    ) -> JsonObject:
        if self.is_over:
            raise LeaseLost
        body = {"leaseToken": self.token, **members}

        async def post() -> Answer:
            return await self._service.post(f"tasks/{self.task_id}/{name}", body, self.timeout, result_json)

        try:
            answer = await (self._service.unless_unknown(post) if is_of_steps else post())
        except (ServiceRefused, Unavailable) as error:
            raise self._translated(error)
        self.heard(answer)
        return answer.body

    def _translated(self, error: ServiceRefused | Unavailable) -> Exception:
        """The error in the words of the runner."""
        if isinstance(error, ServiceRefused):
            if error.code in _OVER:
                return LeaseLost()
            return Refused(error.code, error.text) if error.status in _ABOUT_CONTENT else error
        if not self.out_of_patience():
            return error
        self.close()
        return LeaseLost()


_SIGN = frozenset({"leaseExpiresAt", "cancellationRequested", "cancelReason"})


class Heartbeats:
    """Signs of life of all leases of a worker in one call, when one of them is due."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._held: set[HeldLease] = set()
        self._changed = asyncio.Event()

    def add(self, lease: HeldLease) -> None:
        self._held.add(lease)
        self._changed.set()

    def remove(self, lease: HeldLease) -> None:
        self._held.discard(lease)

    async def run(self) -> None:
        failures = 0
        while True:
            self._changed.clear()
            next_at = min((lease.beat_at for lease in self._held), default=float("inf"))
            wait = next_at - time.monotonic()
            if wait > 0:
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), None if wait == float("inf") else wait)
                continue
            held = [lease for lease in self._held if lease.beat_at < float("inf")]
            parts = [held[at : at + MAX_HELD_LEASES] for at in range(0, len(held), MAX_HELD_LEASES)]
            good = await asyncio.gather(*(self._beat(part) for part in parts))
            failures = 0 if all(good) else failures + 1
            for lease in held:
                if lease.beat_at > time.monotonic() or lease.is_over:
                    continue
                if lease.out_of_patience():
                    lease.lost()
                lease.beat_at = time.monotonic() + pause_seconds(failures, min(_LONGEST_PAUSE, lease.seconds / 6))

    async def _beat(self, held: list[HeldLease]) -> bool:
        """Whether there was an answer."""
        if not self._service.knew("heartbeats"):
            return all(await asyncio.gather(*(self._beat_alone(lease) for lease in held)))
        leases = [{"taskId": lease.task_id, "leaseToken": lease.token} for lease in held]
        timeout = min(lease.timeout for lease in held)

        async def post() -> Answer:
            return await self._service.post("heartbeats", {"leases": leases}, timeout)

        try:
            answer = await self._service.unless_unknown(post)
        except UnknownThere:
            return all(await asyncio.gather(*(self._beat_alone(lease) for lease in held)))
        except (ServiceRefused, Unavailable):
            return False
        for lease, extended in zip(held, answer.body.get("leases", ()), strict=False):
            if "code" in extended:
                lease.lost()
            else:
                lease.heard(Answer(extended, answer.service_time))
        return True

    async def _beat_alone(self, lease: HeldLease) -> bool:
        try:
            await lease.renew()
        except LeaseLost:
            lease.lost()
        except (Unavailable, ServiceRefused):
            return False
        return True
