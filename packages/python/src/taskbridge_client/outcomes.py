"""What the calls of a task answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

AnswerOutcome = Literal["accepted", "expired", "answered-by-another"]
CancelOutcome = Literal["requested", "over"]

ANSWERS: dict[str, AnswerOutcome] = {"REJECTED_EXPIRED": "expired", "REJECTED_ALREADY_RESOLVED": "answered-by-another"}


@dataclass(frozen=True)
class OutputChange:
    text: str
    """The whole text that counts now."""
    delta: str
    """What came behind the text before; with `replaced` the whole text."""
    replaced: bool
    """Whether the text before is no beginning of this one: a part of it became void, or was replaced."""
