"""A create is one task, whatever happens on the way."""

from pathlib import Path

import httpx
import pytest

from taskbridge_client import FileStore, TaskBridge, TaskBridgeError
from taskbridge_client._sync import http as sync_http

MADE = {"taskId": "t", "status": "ACCEPTED", "clientRequestId": "r", "deduplicated": False}


def client_of(answer, store=None) -> TaskBridge:
    return TaskBridge(
        "http://service.test", store=store, http_client=httpx.Client(transport=httpx.MockTransport(answer))
    )


def test_the_id_is_on_the_disk_before_the_network_has_it(tmp_path: Path) -> None:
    sent: list[str] = []

    def die(request: httpx.Request) -> httpx.Response:
        sent.append(request.content.decode())
        assert [path.read_text() in sent[-1] for path in tmp_path.iterdir()] == [True]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        client_of(die, FileStore(tmp_path)).create("report", {"n": 1})

    def take(request: httpx.Request) -> httpx.Response:
        sent.append(request.content.decode())
        return httpx.Response(201, json=MADE)

    # The program is started again. Its second create with the same content is another task.
    again = client_of(take, FileStore(tmp_path))
    again.create("report", {"n": 1})
    again.create("report", {"n": 1})
    assert sent[0] == sent[1] != sent[2]


def test_a_refused_request_is_forgotten_and_so_is_one_whose_task_has_ended(tmp_path: Path) -> None:
    refusal = httpx.Response(422, json={"code": "REQUEST_VALIDATION_ERROR", "details": {"errors": []}})
    with pytest.raises(TaskBridgeError) as caught:
        client_of(lambda _: refusal, FileStore(tmp_path)).create("report")
    assert caught.value.details == {"errors": []}
    assert len(FileStore(tmp_path)) == 0

    def answer(request: httpx.Request) -> httpx.Response:
        snapshot = {"status": "COMPLETED", "headEventId": "2", "result": 7}
        return httpx.Response(200, json=MADE if request.method == "POST" else snapshot)

    task = client_of(answer, FileStore(tmp_path)).create("report")
    assert len(FileStore(tmp_path)) == 1
    assert task.result() == 7
    assert len(FileStore(tmp_path)) == 0


def test_it_repeats_the_same_request_until_it_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sync_http, "pause", lambda _: None)
    sent = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request.content)
        if len(sent) == 1:
            raise httpx.ReadError("cut")
        return httpx.Response(502) if len(sent) == 2 else httpx.Response(200, json=MADE)

    assert client_of(answer).create("report").id == "t"
    assert len(sent) == 3 and len(set(sent)) == 1


def test_it_gives_up_in_time() -> None:
    with pytest.raises(TimeoutError):
        client_of(lambda _: httpx.Response(503)).create("report", timeout=0.05)


@pytest.mark.parametrize("url", ["service.test", "ftp://service.test", ""])
def test_an_address_that_cannot_be_meant_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="url"):
        TaskBridge(url)
