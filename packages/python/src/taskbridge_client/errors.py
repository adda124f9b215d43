"""What the client raises. Decide by `code`: the errors of PROTOCOL.md, and those that are named here."""

from __future__ import annotations

from typing import Any


class TaskBridgeError(Exception):
    """A refusal of the service, or a failure on the way to it.

    `code` is one of PROTOCOL.md; `HTTP_` and the status where a proxy answered; `UNREACHABLE` where nothing answered; or `NO_QUESTION`
    where `answer` was called while the task asks nothing.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        status: int | None = None,
        details: dict[str, Any] | None = None,
        correlation_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        """Of the HTTP answer. None where none came."""
        self.details = details or {}
        self.correlation_id = correlation_id
        """Leads the operator to the logs."""
        self.retry_after = retry_after
        """How long the service asks to wait, in seconds."""

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"

    @property
    def may_pass(self) -> bool:
        """Whether the same request may succeed later."""
        if self.status is None:
            return self.code == "UNREACHABLE"
        return self.status in (408, 429) or self.status >= 500


class Silent(TaskBridgeError):
    """Nothing was heard for too long: evidence against the transport."""

    def __init__(self) -> None:
        super().__init__("UNREACHABLE", "It is silent.")


class TaskFailed(Exception):
    """The task ended with TASK_FAILED."""

    def __init__(self, task_id: str, code: str, message: str, retryable: bool) -> None:
        super().__init__(task_id, code, message, retryable)
        self.task_id = task_id
        self.code = code
        self.message = message
        self.retryable = retryable
        """Whether the same request as a new task might succeed."""

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


class TaskCancelled(Exception):
    """The task ended with TASK_CANCELLED."""

    def __init__(self, task_id: str, reason: str) -> None:
        super().__init__(task_id, reason)
        self.task_id = task_id
        self.reason = reason

    def __str__(self) -> str:
        return f"The task was cancelled: {self.reason}"


def unreachable(message: str = "The connection was lost.", retry_after: float | None = None) -> TaskBridgeError:
    return TaskBridgeError("UNREACHABLE", message, retry_after=retry_after)
