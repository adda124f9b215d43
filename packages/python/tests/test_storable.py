"""What can be stored, character by character."""

import pytest

from taskbridge_client.worker.events import HalfCharacters
from taskbridge_client.worker.storable import NotStorable, TooLarge, storable_json, storable_text, whole

FOX = "🦊"
FIRST, SECOND = "\ud83e", "\udd8a"


def test_halves_of_a_character_are_joined() -> None:
    assert whole(FIRST + SECOND) == FOX
    halves = HalfCharacters()
    assert halves.complete("text", "append", f"a {FIRST}") == "a "
    assert halves.complete("other", "append", "b") == "b"
    assert halves.is_waiting
    assert halves.complete("text", "append", f"{SECOND} c") == f"{FOX} c"
    assert not halves.is_waiting


def test_a_text_is_cut_between_characters() -> None:
    assert storable_text(f"ab{FOX}", 3) == "ab"
    assert storable_text(f"ab{FOX}", 4) == f"ab{FOX}"
    assert storable_text(f"a\0{FIRST}", 9) == "a\ufffd\ufffd"


@pytest.mark.parametrize(
    "value", ["\0", FIRST, float("nan"), {"constructor": 1}, {1: 2}, object(), 10**309, {"a": {1}}]
)
def test_what_cannot_be_stored_is_refused(value: object) -> None:
    with pytest.raises(NotStorable):
        storable_json([value], 1_000)


def test_what_can_be_stored_keeps_its_digits_and_has_no_ends_of_lines() -> None:
    assert (
        storable_json([9007199254740993, "\u2028\x85", (1, None)], 100)
        == '[9007199254740993,"\\u2028\\u0085",[1,null]]'
    )


def test_a_limit_counts_bytes() -> None:
    assert storable_json("ää", 6) == '"ää"'
    with pytest.raises(TooLarge):
        storable_json("ää", 5)
