"""The worker and a real service, within this process."""

import asyncio
import os
import threading
import time
import uuid
from collections.abc import Iterator

import pytest

from taskbridge_client import TaskBridge, TaskCancelled
from taskbridge_client.worker import AsyncTaskContext, AttemptStopped, Refused, TaskContext, TaskFailure, Worker

# A run of these tests beside another one has types of its own.
RUN = uuid.uuid4().hex[:8]
stopped: list[str] = []


def new_worker() -> Worker:
    worker = Worker(os.environ["SERVICE_URL"], os.environ["WORKER_TOKEN"], version="9", drain_timeout=1)

    @worker.task(f"{RUN}.thread")
    def in_thread(input: dict, c: TaskContext) -> dict:
        parts = [c.step("part", lambda step: step.idempotency_key, index=n) for n in range(input["parts"])]
        c.output("half \ud83e")
        c.output("\udd8a")
        answer = c.suspend(reason_code="GO", allowed_actions=["go"])
        if c.attempt == 1:
            raise TaskFailure("AGAIN", "Once more.", retryable=True, retry_after=0.01)
        return {"parts": parts, "payload": answer["payload"], "thread": threading.current_thread().name}

    @worker.task(f"{RUN}.loop")
    async def on_loop(_input: dict, c: AsyncTaskContext) -> dict:
        async def load(_step: object) -> int:
            await asyncio.sleep(0)
            return 2**60

        got = await c.step("load", load)
        with pytest.raises(Refused):
            await c.progress(101)
        c.message("left alone")
        return {"got": got, "thread": threading.current_thread().name}

    @worker.task(f"{RUN}.obeys")
    def obeys(_input: dict, c: TaskContext) -> None:
        c.message("working")
        try:
            c.sleep(60)
        except AttemptStopped as stop:
            stopped.append(stop.why)
            raise

    return worker


@pytest.fixture(scope="module")
def client() -> Iterator[TaskBridge]:
    worker = new_worker()
    thread = threading.Thread(target=lambda: worker.run(handle_signals=False), name="the handlers' loop")
    thread.start()
    with TaskBridge(os.environ["TASKBRIDGE_URL"], headers={"Authorization": os.environ["AUTHORIZATION"]}) as client:
        yield client
    worker.stop()
    thread.join(10)
    assert not thread.is_alive()


def test_a_handler_in_a_thread_has_steps_asks_and_is_tried_again(client: TaskBridge) -> None:
    task = client.create(f"{RUN}.thread", {"parts": 3})
    for state in task.states():
        if state.status == "asking":
            assert state.text == "half 🦊"
            assert task.answer("go", {"a": [1]}) == "accepted"
            break
    result = task.result(30)
    assert result["parts"] == [f"{task.id}:part#{n}" for n in range(3)]
    assert result["payload"] == {"a": [1]}
    assert result["thread"] == f"taskbridge {task.id}"
    assert task.state().attempt == 2


def test_a_handler_on_the_loop_keeps_digits_and_hears_of_refusals(client: TaskBridge) -> None:
    task = client.create(f"{RUN}.loop")
    assert task.result(20) == {"got": 2**60, "thread": "the handlers' loop"}
    assert [event["type"] for event in task.events()] == ["TASK_STARTED", "TASK_STEP", "TASK_MESSAGE", "TASK_COMPLETED"]


def test_a_cancellation_reaches_a_thread_at_once(client: TaskBridge) -> None:
    task = client.create(f"{RUN}.obeys")
    for event in task.events():
        if event["type"] == "TASK_MESSAGE":
            break
    asked_at = time.monotonic()
    task.cancel("enough")
    with pytest.raises(TaskCancelled, match="enough"):
        task.result(20)
    assert time.monotonic() - asked_at < 3
    assert stopped == ["cancelled"]


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"token": ""}, "token"),
        ({"url": "service"}, "url"),
        ({"concurrency": 0}, "concurrency"),
        ({"version": "a b"}, "version"),
        ({"lease_seconds": 0}, "lease_seconds"),
    ],
)
def test_an_option_that_cannot_be_meant_is_refused(options: dict, why: str) -> None:
    given = {"url": "http://127.0.0.1:1", "token": "t", **options}
    with pytest.raises(ValueError, match=why):
        Worker(given.pop("url"), given.pop("token"), **given)
    with pytest.raises(ValueError, match="handler"):
        Worker("http://127.0.0.1:1", "t").run(handle_signals=False)
