"""Files that come with a create."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from .wire import JsonObject, written

File: TypeAlias = Path | tuple[str, bytes] | tuple[str, bytes, str]
"""A path, or a name, the bytes, and perhaps a media type."""


def form_of(members: JsonObject) -> dict[str, str]:
    return {name: value if isinstance(value, str) else written(value).decode() for name, value in members.items()}


def parts_of(files: Sequence[File]) -> list[tuple[str, tuple[str, bytes] | tuple[str, bytes, str]]]:
    named = [(file.name, file.read_bytes()) if isinstance(file, Path) else file for file in files]
    return [("attachments", file) for file in named]
