"""What a reader does with what comes: each event once and in order, whatever the network makes of it."""

import asyncio
import json
from collections.abc import Callable, Iterator

import httpx
import pytest

from taskbridge_client import AsyncTaskBridge, TaskBridge, TaskBridgeError, waiting
from taskbridge_client._async import follow as async_follow
from taskbridge_client._async import http as async_http
from taskbridge_client._sync import follow as sync_follow
from taskbridge_client._sync import http as sync_http
from taskbridge_client.errors import Silent

URL = "http://service.test"


def event(number: int, kind: str = "TASK_PROGRESS", payload: dict | None = None) -> dict:
    given = payload if payload is not None else {"progress": number}
    return {"type": kind, "taskId": "t", "eventId": str(number), "createdAt": "", "payload": given}


END = event(4, "TASK_COMPLETED", {"result": 7})
LOG = [event(1), event(2), event(3), END]


def block(one: dict) -> str:
    return f"id: {one['eventId']}\ndata: {json.dumps(one)}\n\n"


def stream(*events: dict, before: str = "retry: 2000\n\n") -> httpx.Response:
    headers = {"Content-Type": "text/event-stream"}
    return httpx.Response(200, headers=headers, text=before + "".join(block(one) for one in events))


def page(after: int, events: list[dict] | None = None) -> httpx.Response:
    rest = LOG[after:] if events is None else events
    return httpx.Response(200, json={"events": rest, "terminal": not rest or rest[-1] == END, "nextAfterEventId": "0"})


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """No test waits: it sees how long the client would have."""
    made: list[float] = []

    async def async_pause(seconds: float) -> None:
        made.append(seconds)

    for module in (async_http, async_follow):
        monkeypatch.setattr(module, "async_pause", async_pause)
    for module in (sync_http, sync_follow):
        monkeypatch.setattr(module, "pause", made.append)
    yield made


def by_sync(answer: Callable[[httpx.Request], httpx.Response], **options) -> list[str]:
    http_client = httpx.Client(transport=httpx.MockTransport(answer))
    client = TaskBridge(URL, http_client=http_client, **options)
    return [one["eventId"] for one in client.task("t").events()]


def by_async(answer: Callable[[httpx.Request], httpx.Response], **options) -> list[str]:
    async def run() -> list[str]:
        http_client = httpx.AsyncClient(transport=httpx.MockTransport(answer))
        client = AsyncTaskBridge(URL, http_client=http_client, **options)
        return [one["eventId"] async for one in client.task("t").events()]

    return asyncio.run(run())


both = pytest.mark.parametrize("ids_of", [by_sync, by_async])


@both
def test_a_hole_is_read_by_page(ids_of) -> None:
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        assert len(asked) < 9
        return stream(LOG[0], LOG[2], END) if request.url.path.endswith("/stream") else page(1, LOG[1:3])

    assert ids_of(answer) == ["1", "2", "3", "4"]
    assert len(asked) == 2


@both
def test_what_comes_twice_is_dropped_and_nothing_comes_behind_the_end(ids_of) -> None:
    assert ids_of(lambda _: stream(LOG[0], LOG[0], LOG[1], LOG[0], LOG[2], END, event(5))) == ["1", "2", "3", "4"]


@both
def test_a_stream_that_is_cut_is_resumed_after_its_last_event(ids_of) -> None:
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        after = int(request.url.params["lastEventId"])
        asked.append(after)
        return stream(*LOG[after : after + 2])

    assert ids_of(answer) == ["1", "2", "3", "4"]
    assert asked == [0, 2]


@both
def test_an_empty_stream_is_no_end_and_204_is_one(ids_of) -> None:
    answers = iter([stream(), stream(*LOG[:2], before=""), httpx.Response(204)])
    assert ids_of(lambda _: next(answers), transports=["sse"]) == ["1", "2"]


@both
def test_it_goes_down_to_polls_where_streams_say_nothing(ids_of) -> None:
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        is_stream = request.url.path.endswith("/stream")
        asked.append("sse" if is_stream else "poll")
        if is_stream:
            raise httpx.ReadTimeout("silent")
        return page(int(request.url.params["afterEventId"]))

    assert ids_of(answer) == ["1", "2", "3", "4"]
    assert asked == ["sse", "poll"]


@both
def test_credentials_are_asked_before_every_connect(ids_of) -> None:
    seen, tokens = [], iter(["a", "b", "c", "d"])

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers["Authorization"])
        after = int(request.url.params["lastEventId"])
        return stream(*LOG[after : after + 1]) if len(seen) < 4 else stream(*LOG[after:])

    assert ids_of(answer, token=lambda: next(tokens)) == ["1", "2", "3", "4"]
    assert seen == ["Bearer a", "Bearer b", "Bearer c", "Bearer d"]


@both
def test_a_second_401_is_an_end_and_so_is_a_404(ids_of) -> None:
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(401, json={"code": "AUTHENTICATION_ERROR", "message": "Who?", "correlationId": "c"})

    with pytest.raises(TaskBridgeError) as caught:
        ids_of(answer)
    assert (caught.value.code, caught.value.status, caught.value.correlation_id) == ("AUTHENTICATION_ERROR", 401, "c")
    assert len(asked) == 2
    with pytest.raises(TaskBridgeError) as caught:
        ids_of(lambda _: httpx.Response(404, text="<h1>Not found</h1>"))
    assert caught.value.code == "HTTP_404"


@both
def test_the_first_pause_is_up_to_a_second_and_later_ones_up_to_thirty(ids_of, pauses: list[float]) -> None:
    failures = iter(range(40))

    def answer(_: httpx.Request) -> httpx.Response:
        if next(failures, None) is not None:
            raise httpx.ConnectError("nobody there")
        return stream(*LOG)

    assert ids_of(answer, transports=["sse"]) == ["1", "2", "3", "4"]
    assert len(pauses) == 40
    assert pauses[0] <= 1 and max(pauses) <= 30 and max(pauses) > 10


@both
def test_it_waits_as_long_as_the_service_asks(ids_of, pauses: list[float]) -> None:
    answers = iter(
        [httpx.Response(503, headers={"Retry-After": "7"}, json={"code": "SERVICE_UNAVAILABLE"}), stream(*LOG)]
    )
    assert ids_of(lambda _: next(answers), transports=["sse"]) == ["1", "2", "3", "4"]
    assert pauses == [7.0]


def test_full_jitter() -> None:
    assert all(0 <= waiting.backoff(0) <= 1 and waiting.backoff(20) <= 30 for _ in range(200))
    assert len({waiting.backoff(5) for _ in range(20)}) > 10


def test_silence_counts_as_unreachable() -> None:
    assert Silent().may_pass and Silent().code == "UNREACHABLE"
