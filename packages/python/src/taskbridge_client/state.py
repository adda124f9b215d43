"""The state of a task: its snapshot, and the events behind."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

from .output_fold import OutputFold
from .wire import JsonObject, TaskEvent, TaskSnapshot

Status = Literal["waiting", "running", "asking", "retrying", "completed", "failed", "cancelled"]

_KEPT_PIECES = 1_000


@dataclass(frozen=True)
class TaskState:
    task_id: str
    status: Status
    """`retrying`: an attempt failed, and the next has not said anything. A cut connection is no state."""
    progress: float | None = None
    """0 to 100: that of the last TASK_PROGRESS."""
    stage: str | None = None
    message: str | None = None
    """The last text for a person: of TASK_MESSAGE, or of TASK_PROGRESS."""
    output: dict[str, str] = field(default_factory=dict)
    """By channel, what the task has put out and is not void."""
    attempt: int = 0
    event_id: int = 0
    """The id of the last event that is in this state."""
    question: JsonObject | None = None
    """With `asking`: the payload of its TASK_SUSPENDED."""
    reason: str | None = None
    """With `retrying` and `cancelled`."""
    not_before: str | None = None
    """With `retrying`: when the next attempt may begin."""
    result: Any = None
    failure: JsonObject | None = None
    """With `failed`: `code`, `message` and `retryable`."""

    @property
    def text(self) -> str:
        """The text of the channel `text`."""
        return self.output.get("text", "")

    @property
    def is_over(self) -> bool:
        return self.status in ("completed", "failed", "cancelled")


class TaskFold:
    def __init__(self, task_id: str, snapshot: TaskSnapshot | None = None) -> None:
        """From the start of the log, or from a snapshot with output."""
        self._output = OutputFold(snapshot)
        self._pieces = 0
        self._state = TaskState(task_id, "waiting")
        if snapshot is not None:
            self._state = replace(
                self._state,
                progress=snapshot.get("progress"),
                attempt=snapshot["attempt"],
                event_id=int(snapshot["headEventId"]),
                **_standing_of(snapshot),
            )

    @property
    def head(self) -> int:
        return self._state.event_id

    @property
    def is_exact(self) -> bool:
        return self._output.is_exact

    def state(self) -> TaskState:
        return replace(self._state, output=self._output.texts())

    def add(self, event: TaskEvent) -> None:
        """The next event of the log."""
        event_id, event_type, payload = int(event["eventId"]), event["type"], event["payload"]
        self._output.add(event_id, event_type, payload)
        if event_type == "TASK_OUTPUT":
            self._pieces += 1
            if self._pieces % _KEPT_PIECES == 0:
                self._output.join(_KEPT_PIECES)
        shown = self._state
        changed: dict[str, Any] = {}
        if event_type == "TASK_PROGRESS":
            message = payload.get("message", shown.message)
            changed = {"progress": payload["progress"], "stage": payload.get("stage"), "message": message}
        elif event_type == "TASK_MESSAGE":
            changed = {"message": payload["message"]}
        elif event_type == "TASK_COMPLETED":
            changed = {"progress": 100}
        attempt = payload.get("attempt", max(shown.attempt, 1))
        cleared = {"question": None, "reason": None, "not_before": None}
        self._state = replace(
            shown, event_id=event_id, attempt=attempt, **{**cleared, **changed, **_standing_after(event_type, payload)}
        )


def _standing_of(snapshot: TaskSnapshot) -> dict[str, Any]:
    status = snapshot["status"]
    if status == "COMPLETED":
        return {"status": "completed", "result": snapshot.get("result")}
    if status == "FAILED":
        return {"status": "failed", "failure": snapshot.get("failure")}
    # The reason is in the terminal event alone, which the reader of the snapshot adds.
    if status == "CANCELLED":
        return {"status": "cancelled", "reason": ""}
    if "openSuspension" in snapshot:
        return {"status": "asking", "question": snapshot["openSuspension"]}
    if snapshot.get("waitingFor") == "retry":
        return {"status": "retrying"}
    return {"status": "waiting" if status == "ACCEPTED" else "running"}


def _standing_after(event_type: str, payload: JsonObject) -> dict[str, Any]:
    if event_type == "TASK_SUSPENDED":
        return {"status": "asking", "question": payload}
    if event_type == "TASK_RETRYING":
        return {"status": "retrying", "reason": payload["reason"], "not_before": payload.get("notBefore")}
    if event_type == "TASK_COMPLETED":
        return {"status": "completed", "result": payload["result"]}
    if event_type == "TASK_FAILED":
        return {"status": "failed", "failure": payload}
    if event_type == "TASK_CANCELLED":
        return {"status": "cancelled", "reason": payload["reason"]}
    return {"status": "running"}
