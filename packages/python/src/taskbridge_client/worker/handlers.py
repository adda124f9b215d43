"""Runs handlers: ordinary functions in threads of their own, coroutine functions on the event loop."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any

from .attempt import Attempt
from .context import AsyncTaskContext, TaskContext
from .outcomes import cancel_soon, pending

Handler = Callable[[Any, Any], Any]


def begun(handler: Handler, attempt: Attempt, loop: asyncio.AbstractEventLoop) -> Future[Any]:
    """`loop` is that of the handlers. The future has what the handler returns or raises."""
    return _on_loop(handler, attempt, loop) if _is_async(handler) else _in_thread(handler, attempt)


def _is_async(handler: Handler) -> bool:
    while isinstance(handler, partial):
        handler = handler.func
    return inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(type(handler).__call__)


def _in_thread(handler: Handler, attempt: Attempt) -> Future[Any]:
    future = pending()

    def run() -> None:
        attempt.steps.outside()
        try:
            future.set_result(handler(attempt.lease["input"], TaskContext(attempt)))
        except BaseException as error:
            future.set_exception(error)

    # A daemon: one that does not obey when the worker stops does not keep the process.
    threading.Thread(target=run, name=f"taskbridge {attempt.task_id}", daemon=True).start()
    return future


def _on_loop(handler: Handler, attempt: Attempt, loop: asyncio.AbstractEventLoop) -> Future[Any]:
    future = pending()

    async def run() -> Any:
        attempt.steps.outside()
        return await handler(attempt.lease["input"], AsyncTaskContext(attempt))

    def over(task: asyncio.Task[Any]) -> None:
        if task.cancelled():
            future.set_exception(asyncio.CancelledError())
        elif (error := task.exception()) is not None:
            future.set_exception(error)
        else:
            future.set_result(task.result())

    def begin() -> None:
        task = loop.create_task(run(), name=f"taskbridge {attempt.task_id}")
        forget = attempt.signal.listen(lambda: cancel_soon(loop, task))
        task.add_done_callback(over)
        task.add_done_callback(lambda _: forget())

    loop.call_soon_threadsafe(begin)
    return future
