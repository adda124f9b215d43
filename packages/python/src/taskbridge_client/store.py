"""Where the ids of requests are kept, so that a program that is started again makes no second task."""

from __future__ import annotations

import hashlib
import os
import threading
import uuid
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass
from pathlib import Path


class FileStore(MutableMapping[str, str]):
    """A folder with a file for each key. What was set is on the disk when the call returns."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._folder = Path(folder)
        self._folder.mkdir(parents=True, exist_ok=True)

    def _path(self, key: str) -> Path:
        return self._folder / hashlib.sha256(key.encode()).hexdigest()

    def __getitem__(self, key: str) -> str:
        try:
            return self._path(key).read_text(encoding="utf-8")
        except FileNotFoundError:
            raise KeyError(key)

    def __setitem__(self, key: str, value: str) -> None:
        path = self._path(key)
        written = path.with_suffix(f".{uuid.uuid4().hex}")
        with written.open("w", encoding="utf-8") as file:
            file.write(value)
            file.flush()
            os.fsync(file.fileno())
        written.replace(path)

    def __delitem__(self, key: str) -> None:
        try:
            self._path(key).unlink()
        except FileNotFoundError:
            raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        """The names of the files: keys are not kept."""
        return (path.name for path in self._folder.iterdir() if not path.suffix)

    def __len__(self) -> int:
        return sum(1 for _ in self)


@dataclass(frozen=True)
class KeptRequest:
    request_id: str
    key: str | None
    store: MutableMapping[str, str]

    def forget(self) -> None:
        """Its task has ended, or is refused."""
        if self.key is not None:
            self.store.pop(self.key, None)


class RequestIds:
    """Gives each request an id before the network has it.

    The same request of an earlier run of the program, whose task has not ended there, gives its id again. Two equal requests of one run
    are two tasks.
    """

    def __init__(self, store: MutableMapping[str, str] | None) -> None:
        self._store = store
        self._made: dict[str, int] = {}
        self._lock = threading.Lock()

    def take(self, content: str) -> KeptRequest:
        if self._store is None:
            return KeptRequest(uuid.uuid4().hex, None, {})
        with self._lock:
            place = self._made.get(content, 0)
            self._made[content] = place + 1
            key = f"taskbridge:{content}#{place}"
            request_id = self._store.get(key) or uuid.uuid4().hex
            self._store[key] = request_id
        return KeptRequest(request_id, key, self._store)
