"""What the calls of a handler raise, and what it may raise itself."""

from __future__ import annotations

from typing import Literal

from .limits import MAX_EVENT_BYTES

StopReason = Literal["cancelled", "lease_lost", "released", "timed_out"]


class TaskFailure(Exception):
    """A handler's own way to fail. Any other exception counts as passing, and the task is tried again."""

    def __init__(self, code: str, message: str, *, retryable: bool = False, retry_after: float | None = None) -> None:
        """`retry_after`: seconds until the next attempt. Without it the service decides."""
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.retryable = retryable
        self.retry_after = retry_after


class Suspended(BaseException):
    """Ends the invocation that asks. The handler runs again from its start; `except Exception` does not catch it."""

    def __init__(self) -> None:
        super().__init__("The handler waits for an answer; it runs again from its start.")


class AttemptStopped(Exception):
    """The handler is to end: its task was cancelled, its lease is lost, or the worker stops."""

    def __init__(self, why: StopReason) -> None:
        super().__init__(f"The attempt is over: {why}.")
        self.why = why


class LeaseLost(Exception):
    """The lease has expired or is over. Only a renewal tells which."""

    def __init__(self) -> None:
        super().__init__("The lease is over.")


class Unavailable(Exception):
    """No answer, or one that says "later": the call may have been obeyed, and is made again."""

    def __init__(self, message: str, retry_after: float = 0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Refused(Exception):
    """What was to be stored is not taken. Nothing of the call was stored; the same would be refused again."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class TryOver(Exception):
    """The body of a step goes on behind the end of its try. Nothing of it is stored, and the handler is not to blame for it."""

    def __init__(self, key: str) -> None:
        super().__init__(f"The try of the step {key} was over before this call.")


def event_invalid(path: str, problem: str) -> Refused:
    return Refused("REQUEST_VALIDATION_ERROR", f"The event is not valid: {path} {problem}.")


def argument_invalid(what: str, name: str, problem: str) -> Refused:
    return Refused("REQUEST_VALIDATION_ERROR", f"The {what} is not valid: {name} {problem}.")


def event_too_large() -> Refused:
    return Refused("PAYLOAD_TOO_LARGE", f"An event payload may have at most {MAX_EVENT_BYTES} bytes.")


def file_refused(why: str) -> Refused:
    return Refused("ATTACHMENT_REFUSED", f"A file was refused. {why}")


def tangible(error: BaseException) -> BaseException:
    """What was raised, or an error in its place where it lets nobody look at it."""
    try:
        str(error), repr(error)
    except Exception:
        return RuntimeError("What was raised cannot be looked at.")
    return error
