"""Events on their way: nobody waits for one whose lease is over."""

import asyncio

import pytest

from taskbridge_client.worker.errors import LeaseLost, Refused
from taskbridge_client.worker.events import Event, HalfCharacters, message_event, output_event
from taskbridge_client.worker.sender import EventSender


def output(text: str) -> Event:
    event = output_event("text", "append", text, 1, HalfCharacters())
    assert event is not None
    return event


def test_what_waits_when_the_lease_ends_is_refused() -> None:
    async def run() -> None:
        begun = asyncio.Event()

        async def append(_seq: int, _events: list) -> int:
            begun.set()
            await asyncio.sleep(60)
            return 1

        refused: list[BaseException] = []
        sender = EventSender(asyncio.get_running_loop(), append, 0)
        first = sender.send(message_event("under way", None))
        await begun.wait()
        second = sender.send(message_event("waits", None))
        sender.buffer(output("waits, too"), refused.append)
        settled = asyncio.create_task(sender.settled())
        await asyncio.sleep(0)
        sender.close()
        await asyncio.wait_for(settled, 1)
        await asyncio.sleep(0)
        for sent in (first, second):
            with pytest.raises(LeaseLost):
                sent.result(1)
        assert [type(error) for error in refused] == [LeaseLost]
        with pytest.raises(LeaseLost):
            sender.send(message_event("late", None))

    asyncio.run(run())


def test_the_neighbours_of_a_refused_event_are_stored_and_numbers_have_no_gap() -> None:
    async def run() -> None:
        stored: list[tuple[int, list[str]]] = []

        async def append(seq: int, events: list) -> int:
            texts = [event["payload"]["message"] for event in events]
            if "bad" in texts:
                raise Refused("REQUEST_VALIDATION_ERROR", "no")
            stored.append((seq, texts))
            return seq

        sender = EventSender(asyncio.get_running_loop(), append, 0)
        sent = [sender.send(message_event(text, None)) for text in ("a", "b", "bad", "c")]
        await sender.settled()
        assert [one.exception(1) is None for one in sent] == [True, True, False, True]
        assert stored == [(1, ["a", "b"]), (2, ["c"])]
        sender.close()

    asyncio.run(run())


def test_adjacent_output_is_one_event() -> None:
    async def run() -> None:
        batches: list[list] = []

        async def append(seq: int, events: list) -> int:
            batches.append(events)
            return seq

        sender = EventSender(asyncio.get_running_loop(), append, 0)
        for n in range(2_000):
            sender.buffer(output(f"{n} "), lambda error: None)
        await sender.settled()
        sender.close()
        events = [event for batch in batches for event in batch]
        assert "".join(event["payload"]["data"] for event in events) == "".join(f"{n} " for n in range(2_000))
        assert len(events) <= 3

    asyncio.run(run())
