"""The client and a real service: test/python/client.test.ts starts it, and says where it is."""

import asyncio
import os
import threading
import time
from datetime import datetime, timedelta, timezone

import pytest

from taskbridge_client import AsyncTaskBridge, TaskBridge, TaskBridgeError, TaskCancelled, TaskFailed

URL = os.environ["TASKBRIDGE_URL"]
HEADERS = {"Authorization": os.environ["AUTHORIZATION"]}


@pytest.fixture
def client():
    with TaskBridge(URL, headers=HEADERS) as client:
        yield client


def test_a_task_is_created_once_and_listed(client: TaskBridge) -> None:
    task = client.create("burst", {"events": 4}, request_id=f"once-{time.time_ns()}", metadata={"a": 1})
    assert client.create("burst", {"events": 4}, request_id=task.request_id).id == task.id
    assert task.result(timeout=20) is None
    [listed] = client.list(request_id=task.request_id)
    assert (listed["taskId"], listed["metadata"]) == (task.id, {"a": 1})
    assert list(client.list(request_id=task.request_id, created_after=datetime.now(timezone.utc))) == []
    with pytest.raises(TaskBridgeError) as caught:
        client.create("burst", {"events": 5}, request_id=task.request_id)
    assert caught.value.code == "IDEMPOTENCY_CONFLICT"


def test_a_list_goes_over_its_pages(client: TaskBridge) -> None:
    tomorrow = datetime.now(timezone.utc) + timedelta(days=1)
    made = {client.create("burst", {"events": 1}, start_after=tomorrow).id for _ in range(120)}
    listed = [task["taskId"] for task in client.list(task_type="burst", status="ACCEPTED")]
    # Other versions of Python make such tasks at the same time.
    assert made <= set(listed)
    assert len(set(listed)) == len(listed)
    for task_id in made:
        client.task(task_id).cancel()


def test_the_errors_of_the_service_have_their_codes(client: TaskBridge) -> None:
    for call, code in [
        (lambda: client.create("no such type"), "REQUEST_VALIDATION_ERROR"),
        (lambda: client.task("01a2").result(), "TASK_NOT_FOUND"),
        (lambda: list(client.task("01a2").events()), "TASK_NOT_FOUND"),
        (lambda: list(client.list(status="DONE")), "INVALID_REQUEST"),  # type: ignore[arg-type]
        (lambda: client.task("../x").state(), "TASK_NOT_FOUND"),
    ]:
        with pytest.raises(TaskBridgeError) as caught:
            call()
        assert caught.value.code == code
        assert caught.value.correlation_id
    task = client.create("burst", {"events": 2})
    task.result()
    for after, code in [("99", "CURSOR_AHEAD"), ("x", "INVALID_CURSOR"), ("-1", "INVALID_CURSOR")]:
        with pytest.raises(TaskBridgeError) as caught:
            list(task.events(after=after))
        assert caught.value.code == code
    with pytest.raises(TaskBridgeError) as caught:
        task.answer("yes")
    assert caught.value.code == "NO_QUESTION"


@pytest.mark.parametrize("transport", ["sse", "poll"])
def test_events_begin_after_the_cursor(transport: str) -> None:
    with TaskBridge(URL, headers=HEADERS, transports=[transport]) as client:  # type: ignore[list-item]
        task = client.create("burst", {"events": 1_300})
        ids = [int(event["eventId"]) for event in task.events()]
        assert ids == list(range(1, len(ids) + 1))
        assert [int(event["eventId"]) for event in task.events(after=ids[-3])] == ids[-2:]
        assert list(task.events(after=ids[-1])) == []


def test_a_question_is_answered_once(client: TaskBridge) -> None:
    task = client.create("story", {"pauseMs": 1})
    for state in task.states():
        if state.status == "asking":
            break
    assert state.question and state.question["allowedActions"] == ["go", "stop"]
    with pytest.raises(TimeoutError):
        task.result(timeout=0.2)
    with pytest.raises(TaskBridgeError) as caught:
        task.answer("fly")
    assert caught.value.code == "ACTION_NOT_ALLOWED"
    with TaskBridge(URL, headers=HEADERS) as other:
        assert other.task(task.id).answer("go", {"a": 1}) == "accepted"
    assert task.answer("go", suspend_id=state.question["suspendId"]) == "answered-by-another"
    assert task.result()["actionType"] == "go"
    assert task.cancel() == "over"


def test_a_cancelled_task_has_its_reason(client: TaskBridge) -> None:
    task = client.create("story", {"pauseMs": 100})
    waiting = threading.Thread(target=lambda: outcomes.append(outcome_of(task)))
    outcomes: list[object] = []
    waiting.start()
    time.sleep(0.3)
    assert task.cancel("no longer needed") == "requested"
    waiting.join(20)
    assert outcomes == ["no longer needed"]
    assert outcome_of(client.task(task.id)) == "no longer needed"
    assert client.task(task.id).state().reason == "no longer needed"


def outcome_of(task) -> object:
    try:
        return task.result()
    except TaskCancelled as cancelled:
        return cancelled.reason
    except TaskFailed as failed:
        return failed.code


def test_changes_come_as_they_happen() -> None:
    async def run() -> list[str]:
        async with AsyncTaskBridge(URL, headers=HEADERS) as client:
            seen: list[str] = []

            async def watch() -> None:
                async for change in client.changes():
                    if change["taskId"] == task_id and "task" in change:
                        seen.append(change["task"]["status"])
                        if seen[-1] == "COMPLETED":
                            return

            task_id = ""
            watching = asyncio.create_task(watch())
            await asyncio.sleep(1)
            task = await client.create("burst", {"events": 400})
            task_id = task.id
            await asyncio.wait_for(watching, 20)
            return seen

    assert asyncio.run(run())[-1] == "COMPLETED"


def test_a_loop_that_is_left_closes_its_connection() -> None:
    async def run() -> None:
        async with AsyncTaskBridge(URL, headers=HEADERS) as client:
            task = await client.create("story", {"pauseMs": 50})
            async for _ in task.events():
                break
            await asyncio.sleep(0.1)
            pool = client._http._client._transport._pool  # type: ignore[attr-defined]
            assert all(connection.is_idle() for connection in pool.connections)
            await task.cancel()

    asyncio.run(run())


def test_a_file_comes_with_its_task(client: TaskBridge, tmp_path) -> None:
    path = tmp_path / "Plan ä.txt"
    path.write_text("a plan")
    task = client.create("burst", {"events": 1}, files=[path, ("b.csv", b"1,2", "text/csv")], metadata={"n": 1})
    files = task.snapshot()["attachments"]
    assert [(file["filename"], file["sizeBytes"]) for file in files] == [("Plan ä.txt", 6), ("b.csv", 3)]
    assert task.snapshot()["metadata"] == {"n": 1}
