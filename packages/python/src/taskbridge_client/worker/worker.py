"""Claims tasks of a TaskBridge service and runs their handlers in this process."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import signal
import socket
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Literal, TypeVar

from ..wire import JsonObject
from .attempt import Attempt
from .errors import LeaseLost
from .handlers import Handler, begun
from .lease import Heartbeats, HeldLease, pause_seconds
from .limits import MAX_CLAIM
from .outcomes import pending
from .service import Service, ServiceRefused
from .signals import Signals

log = logging.getLogger("taskbridge_client.worker")

_WAIT = 20.0
"""How long one claim waits for a task, held open by the service."""
_ANSWER = 10.0
"""How much longer its answer may take."""
_LONGEST_PAUSE = 5.0
_NO_SIGNALS = 5.0
"""How often the service is asked whether it knows signals."""
_KNOWN = ["heartbeats", "leaseSeconds", "policies", "signals", "steps"]
"""What this package uses where the service has it."""
_SIGNALS = (signal.SIGTERM, signal.SIGINT)

F = TypeVar("F", bound=Handler)


@dataclass(frozen=True)
class WorkerProblem:
    """Something that the service does not learn of, or did not take."""

    kind: Literal["claim_failed", "handler_failed", "call_refused"]
    """`claim_failed`: no answer to the claim, or a refusal; once for each series, the worker goes on asking. `handler_failed`: a handler
    raised something that is no TaskFailure; clients see HANDLER_ERROR and nothing of it. `call_refused`: what the handler wanted stored
    cannot be, or the service refused how it ended."""
    error: BaseException | None
    task_id: str | None = None
    task_type: str | None = None
    attempt: int | None = None


def log_problem(problem: WorkerProblem) -> None:
    task = f" (task {problem.task_id}, {problem.task_type}, attempt {problem.attempt})" if problem.task_id else ""
    trace = problem.error if problem.kind == "handler_failed" else None
    log.error("%s%s: %s", problem.kind, task, problem.error, exc_info=trace)


class Worker:
    """`@worker.task("report")` names a handler, and `worker.run()` claims tasks until SIGTERM or SIGINT.

    Leases are renewed in a thread of their own: a handler that blocks the event loop does not lose its task.
    """

    def __init__(
        self,
        url: str,
        token: str,
        *,
        concurrency: int = 10,
        worker_id: str | None = None,
        version: str | None = None,
        lease_seconds: int | None = None,
        drain_timeout: float = 5.0,
        report: Callable[[WorkerProblem], None] = log_problem,
    ) -> None:
        """`url` is where the service is; it may have a path. `token` is one of its WORKER_TOKENS.

        `concurrency`: tasks at a time. `version`: of your program, for operators; the policies of handlers are registered under it, and
        without it they are not. `drain_timeout`: seconds that handlers may take to obey when the worker stops; then their tasks are
        handed back while they still run. `report` gets problems that the service does not learn of.
        """
        if not re.fullmatch(r"https?://.+", url):
            raise ValueError("url: the address of the service, with http:// or https://")
        if not re.fullmatch(r"[\x21-\x7e]+", token or ""):
            raise ValueError("token: one of WORKER_TOKENS of the service")
        if concurrency < 1:
            raise ValueError("concurrency: a whole number from 1")
        if version is not None and not re.fullmatch(r"[\x21-\x7e]{1,64}", version):
            raise ValueError("version: 1 to 64 visible ASCII characters")
        if lease_seconds is not None and lease_seconds < 1:
            raise ValueError("lease_seconds: a whole number from 1")
        host = re.sub(r"[^\x21-\x7e]", "-", socket.gethostname())[:80]
        self.worker_id = worker_id or f"{host}:{uuid.uuid4()}"
        self._url = url
        self._token = token
        self._concurrency = concurrency
        self._version = version
        self._lease_seconds = lease_seconds
        self._drain_timeout = drain_timeout
        self._report = report
        self._handlers: dict[str, Handler] = {}
        self._policies: dict[str, JsonObject] = {}
        self._stopped = threading.Event()
        self._engine: _Engine | None = None

    def task(self, task_type: str, *, policy: JsonObject | None = None) -> Callable[[F], F]:
        """The handler of a type of task: `def` or `async def`, called with the input and the context.

        `policy` has members such as `maxRunning`: docs/queue.md.
        """

        def named(handler: F) -> F:
            if task_type in self._handlers:
                raise ValueError(f"there are two handlers for the task type {task_type}")
            self._handlers[task_type] = handler
            if policy:
                self._policies[task_type] = policy
            return handler

        return named

    def run(self, *, handle_signals: bool = True) -> None:
        """Runs until SIGTERM, SIGINT or `stop()`, and returns when nothing is held any more. A second signal ends the process at once."""
        asyncio.run(self.run_async(handle_signals=handle_signals))

    async def run_async(self, *, handle_signals: bool = False) -> None:
        """As `run`, with coroutine handlers on the present event loop."""
        if self._engine is not None:
            raise RuntimeError("the worker was started before")
        if not self._handlers:
            raise ValueError("a worker needs a handler")
        finished: Future[None] = pending()
        engine = self._engine = _Engine(self, asyncio.get_running_loop())

        def serve() -> None:
            try:
                asyncio.run(engine.serve())
                finished.set_result(None)
            except BaseException as error:
                finished.set_exception(error)

        before = {name: signal.signal(name, self._on_signal) for name in _SIGNALS} if handle_signals else {}
        threading.Thread(target=serve, name="taskbridge leases", daemon=True).start()
        try:
            await asyncio.wrap_future(finished)
        except asyncio.CancelledError:
            self.stop()
            await asyncio.shield(asyncio.wrap_future(finished))
            raise
        finally:
            for name, handler in before.items():
                signal.signal(name, handler)

    def stop(self) -> None:
        """Claims no more, and hands back what runs, for others to go on with at once. From any thread."""
        self._stopped.set()
        if self._engine is not None:
            self._engine.stop_soon()

    def _on_signal(self, *_: object) -> None:
        for name in _SIGNALS:
            signal.signal(name, signal.SIG_DFL)
        self.stop()


class _Engine:
    """What runs in the thread of the leases."""

    def __init__(self, worker: Worker, handlers_loop: asyncio.AbstractEventLoop) -> None:
        self._of = worker
        self._handlers_loop = handlers_loop
        self._loop: asyncio.AbstractEventLoop | None = None
        self._running: dict[Attempt, asyncio.Task[None]] = {}

    def stop_soon(self) -> None:
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._stop.set)

    async def serve(self) -> None:
        of = self._of
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._room = asyncio.Event()
        self._busy = asyncio.Event()
        self._service = Service(of._url, of._token)
        self._heartbeats = Heartbeats(self._service)
        self._signals = Signals(self._service, of.worker_id, self._cancelled)
        if of._stopped.is_set():
            self._stop.set()
        beating = asyncio.create_task(self._heartbeats.run())
        listening = asyncio.create_task(self._listen())
        claiming = asyncio.create_task(self._claim_all())
        await self._stop.wait()
        for attempt in list(self._running):
            attempt.stop("released")
        claiming.cancel()
        listening.cancel()
        await asyncio.wait({claiming, listening})
        if self._running:
            await asyncio.wait(set(self._running.values()), timeout=of._drain_timeout)
        await asyncio.gather(*(attempt.abandon() for attempt in list(self._running)))
        if self._running:
            await asyncio.wait(set(self._running.values()))
        beating.cancel()
        await self._service.aclose()

    async def _claim_all(self) -> None:
        failures = 0
        while True:
            while len(self._running) >= self._of._concurrency:
                self._room.clear()
                await self._room.wait()
            try:
                await self._claim()
                failures = 0
            except Exception as error:
                self._service.forget_features()
                if failures == 0:
                    self._tell(WorkerProblem("claim_failed", error))
                await asyncio.sleep(pause_seconds(failures, _LONGEST_PAUSE))
                failures += 1

    async def _claim(self) -> None:
        """Waits for tasks, never for more than there are free slots: a task that waits here is one that nobody else can run."""
        of = self._of
        asked_at = time.monotonic()
        claim: JsonObject = {
            "workerId": of.worker_id,
            "taskTypes": list(of._handlers),
            "maxTasks": min(of._concurrency - len(self._running), MAX_CLAIM),
            "waitTimeoutMs": int(_WAIT * 1_000),
            **await self._additions(),
        }
        answer = await self._service.post("leases", claim, _WAIT + _ANSWER)
        leases = answer.body["leases"]
        for lease in leases:
            self._begin(lease, answer.service_time)
        # A replica that drains answers waiting claims with nothing, and the next one too.
        if not leases and time.monotonic() - asked_at < _WAIT / 2:
            await asyncio.sleep(pause_seconds(3, _LONGEST_PAUSE))

    async def _additions(self) -> JsonObject:
        """What not every release takes in a claim."""
        of, knows = self._of, self._service.knows
        additions: JsonObject = {}
        if await knows("steps"):
            additions["steps"] = True
        if of._lease_seconds is not None and await knows("leaseSeconds"):
            additions["leaseSeconds"] = of._lease_seconds
        if await knows("registration"):
            additions["features"] = _KNOWN
            if of._version is not None:
                additions["version"] = of._version
        if of._version is not None and of._policies and await knows("policies"):
            additions["policies"] = of._policies
        return additions

    def _begin(self, lease: JsonObject, service_time: float) -> None:
        assert self._loop is not None
        task_id, task_type, number = lease["taskId"], lease["taskType"], lease["attempt"]

        def report(kind: Literal["handler_failed", "call_refused"], error: BaseException | None) -> None:
            self._tell(WorkerProblem(kind, error, task_id, task_type, number))

        held = HeldLease(
            lease,
            self._service,
            self._heartbeats,
            cancelled=lambda: attempt.stop("cancelled"),
            lost=lambda: attempt.stop("lease_lost"),
        )
        attempt = Attempt(held, self._loop, report)

        async def run() -> None:
            try:
                if not held.begin(service_time):
                    await attempt.renew()
                await attempt.run(lambda: begun(self._of._handlers[task_type], attempt, self._handlers_loop))
            except (LeaseLost, ServiceRefused):
                # A lease that is no longer alive is no problem: another worker has the task.
                pass
            except Exception as error:
                report("handler_failed", error)
            finally:
                held.close()
                self._running.pop(attempt, None)
                self._signals.forget(task_id)
                self._room.set()
                if not self._running:
                    self._busy.clear()

        self._running[attempt] = asyncio.create_task(run())
        self._busy.set()
        if self._stop.is_set():
            attempt.stop("released")

    def _tell(self, problem: WorkerProblem) -> None:
        try:
            self._of._report(problem)
        except Exception:
            log.exception("report of %s failed", problem.kind)

    def _cancelled(self, task_id: str) -> bool:
        """Whether the task runs here."""
        attempts = [attempt for attempt in self._running if attempt.task_id == task_id]
        for attempt in attempts:
            attempt.stop("cancelled")
        return bool(attempts)

    async def _listen(self) -> None:
        """While something runs. Without signals, heartbeats bring cancellations."""
        failures = 0
        while True:
            await self._busy.wait()
            try:
                goes_on = await self._signals.wait()
                if not goes_on:
                    await asyncio.sleep(_NO_SIGNALS if goes_on is None else pause_seconds(3, _LONGEST_PAUSE))
                failures = 0
            except Exception:
                await asyncio.sleep(pause_seconds(failures, _LONGEST_PAUSE))
                failures += 1
