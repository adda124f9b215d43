"""The blocks of an SSE stream."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Block:
    event: str = "message"
    id: str | None = None
    data: str = ""
    retry: str | None = None

    def frame(self) -> bytes:
        """As it is sent on. One line of data: the service breaks none."""
        members = [("event", self.event if self.event != "message" else None), ("id", self.id), ("retry", self.retry)]
        lines = [f"{name}: {value}" for name, value in members if value is not None]
        if self.data:
            lines.append(f"data: {self.data}")
        return ("\n".join(lines) + "\n\n").encode()


class BlockReader:
    """Makes blocks of bytes that come in pieces."""

    def __init__(self) -> None:
        self._rest = b""
        self._fields: dict[str, str] = {}

    def take(self, piece: bytes) -> list[Block]:
        *lines, self._rest = (self._rest + piece).split(b"\n")
        blocks = []
        for line in lines:
            text = line.removesuffix(b"\r").decode()
            if text == "":
                if self._fields:
                    blocks.append(Block(**self._fields))
                self._fields = {}
                continue
            name, _, value = text.partition(":")
            value = value.removeprefix(" ")
            if name == "data" and "data" in self._fields:
                value = f"{self._fields['data']}\n{value}"
            if name in ("event", "id", "data", "retry"):
                self._fields[name] = value
        return blocks
