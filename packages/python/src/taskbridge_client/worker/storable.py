"""Which values can be stored, and the JSON that is stored of them. The one place that decides."""

from __future__ import annotations

import json
import math
from typing import Any

from .limits import MAX_DEPTH

_FORBIDDEN_NAMES = frozenset({"__proto__", "constructor"})
"""They would pollute prototypes in careless readers."""


class NotStorable(Exception):
    """The service takes no such value. The message says what is in it, and nothing of it."""


class TooLarge(Exception):
    pass


def whole(text: str) -> str:
    """The text with its halves of characters joined: JSON and streams may cut a character into two."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


def text_fault(text: str) -> str | None:
    """Why a text cannot be stored. PostgreSQL has no U+0000, and UTF-8 no half characters."""
    if "\0" in text:
        return "has U+0000"
    if text.isascii():
        return None
    try:
        text.encode()
    except UnicodeEncodeError:
        return "has half a character"
    return None


def storable_text(text: str, max_length: int) -> str:
    """Cut to `max_length` UTF-16 units, never within a character. What cannot be stored becomes U+FFFD."""
    units = whole(text).replace("\0", "\ufffd").encode("utf-16-le", "surrogatepass")[: 2 * max_length]
    cut = units.decode("utf-16-le", "surrogatepass")
    if len(units) == 2 * max_length and cut and "\ud800" <= cut[-1] <= "\udbff":
        cut = cut[:-1]
    return "".join("\ufffd" if "\ud800" <= letter <= "\udfff" else letter for letter in cut)


def stored_json(value: Any) -> str:
    """As the service writes it: it escapes what some readers of lines take for the end of one."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    if text.isascii():
        return text
    return text.replace("\x85", "\\u0085").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def bytes_of(value: Any) -> int:
    return len(stored_json(value).encode("utf-8", "surrogatepass"))


def storable_json(value: Any, max_bytes: int) -> str:
    """Raises NotStorable, and TooLarge where it has more bytes."""
    _check(value, MAX_DEPTH, [])
    try:
        text = stored_json(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise NotStorable("it has no JSON") from error
    if len(text) > max_bytes or len(text.encode()) > max_bytes:
        raise TooLarge
    return text


def _check(value: Any, levels: int, around: list[int]) -> None:
    if value is None or isinstance(value, bool):
        return
    if isinstance(value, str):
        fault = text_fault(value)
        if fault:
            raise NotStorable(f"a string in it {fault}")
    elif isinstance(value, int):
        # Beyond the range of a double other readers would see infinity.
        if value.bit_length() > 1_024 or abs(value) >= 2**1024 - 2**970:
            raise NotStorable("a bigint in it is beyond the range of a double")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise NotStorable("a number in it is not finite")
    elif isinstance(value, (dict, list, tuple)):
        if id(value) in around:
            raise NotStorable("it contains itself")
        if levels == 0:
            raise NotStorable(f"it is nested deeper than {MAX_DEPTH}")
        around.append(id(value))
        for name in value if isinstance(value, dict) else ():
            _check_name(name)
        for member in value.values() if isinstance(value, dict) else value:
            _check(member, levels - 1, around)
        around.pop()
    else:
        raise NotStorable(f"a {type(value).__name__} in it has no JSON")


def _check_name(name: object) -> None:
    if not isinstance(name, str):
        raise NotStorable("the name of a member is no text")
    fault = f"is {name}" if name in _FORBIDDEN_NAMES else text_fault(name)
    if fault:
        raise NotStorable(f"the name of a member {fault}")
