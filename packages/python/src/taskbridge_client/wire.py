"""What comes over the wire, under the names that it has there."""

from __future__ import annotations

import json
from typing import Any, Literal, TypedDict

JsonObject = dict[str, Any]
TaskStatus = Literal["ACCEPTED", "RUNNING", "COMPLETED", "FAILED", "CANCELLED"]

TERMINAL = frozenset({"TASK_COMPLETED", "TASK_FAILED", "TASK_CANCELLED"})


class TaskEvent(TypedDict):
    """An entry in the log of a task. Types and payloads: the table in PROTOCOL.md."""

    type: str
    taskId: str
    eventId: str
    createdAt: str
    payload: JsonObject


class _Snapshot(TypedDict):
    taskId: str
    clientRequestId: str
    taskType: str
    status: TaskStatus
    attempt: int
    attemptsLeft: int
    cancellationRequested: bool
    headEventId: str
    createdAt: str
    updatedAt: str


class TaskSnapshot(_Snapshot, total=False):
    """A task as it is now. Members that have no value are absent."""

    metadata: JsonObject
    attachments: list[JsonObject]
    progress: float
    startedAt: str
    finishedAt: str
    waitingFor: str
    openSuspension: JsonObject
    questions: list[JsonObject]
    result: Any
    failure: JsonObject
    rerunOf: str
    reruns: list[str]
    aside: JsonObject
    input: JsonObject
    output: dict[str, JsonObject]
    settledEventId: str
    outputAfterEventId: str


class Change(TypedDict, total=False):
    """The newest state of a task, in `task`, or that it is gone: `removed`. Replace what you have of it, by `taskId`."""

    taskId: str
    task: TaskSnapshot
    removed: bool


def written(value: Any) -> bytes:
    """The JSON of a request. Raises ValueError and TypeError for what JSON has no word for."""
    return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()
