"""What differs between the blocking client and the other one. Everything else is the same code: make_sync.py."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias, TypeVar

T = TypeVar("T")

Headers: TypeAlias = Mapping[str, str]
Source: TypeAlias = T | Callable[[], T]
"""A value, or a function that is asked for it before every request."""
AsyncSource: TypeAlias = T | Callable[[], T | Awaitable[T]]


def given(source: Source[T]) -> T:
    return source() if callable(source) else source


async def async_given(source: AsyncSource[T]) -> T:
    if not callable(source):
        return source
    value = source()
    return await value if inspect.isawaitable(value) else value


def pause(seconds: float) -> None:
    time.sleep(seconds)


async def async_pause(seconds: float) -> None:
    await asyncio.sleep(seconds)
