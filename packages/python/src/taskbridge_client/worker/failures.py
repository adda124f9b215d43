"""The failure that clients see when an error ended a handler."""

from __future__ import annotations

import math

from ..wire import JsonObject
from .errors import Refused, TaskFailure
from .limits import LONGEST_RETRY_AFTER_MS, MAX_FAILURE_MESSAGE_LENGTH, MAX_NAME_LENGTH, MAX_RESULT_JSON_BYTES
from .storable import NotStorable, TooLarge, storable_text

_OWN_CODES = frozenset(
    {
        "ATTACHMENT_REFUSED",
        "EVENT_LIMIT_EXCEEDED",
        "EVENT_REFUSED",
        "INPUT_INVALID",
        "NOT_REPAIRABLE",
        "QUESTION_REPEATED",
        "RESULT_INVALID",
        "RESULT_NOT_STORABLE",
        "RESULT_TOO_LARGE",
        "STEP_OVERLAP",
        "STEP_REPEATED",
    }
)
"""Codes of refusals that are codes of TASK_FAILED, too."""


def failure_of(error: BaseException | None) -> JsonObject:
    """Clients see nothing of an error that is no TaskFailure, because its text may hold anything."""
    if isinstance(error, Refused):
        if error.code in _OWN_CODES:
            return _final(error.code, error.message)
        return _final("EVENT_REFUSED", f"A call of the handler was refused. {error.message}")
    if not isinstance(error, TaskFailure):
        return {"code": "HANDLER_ERROR", "message": "The handler failed.", "retryable": True}
    failure: JsonObject = {
        "code": storable_text(_text(error, "code"), MAX_NAME_LENGTH) or "HANDLER_ERROR",
        "message": storable_text(_text(error, "message"), MAX_FAILURE_MESSAGE_LENGTH),
        "retryable": error.retryable is True,
    }
    after = error.retry_after
    if isinstance(after, (int, float)) and not isinstance(after, bool) and not math.isnan(after):
        failure["retryAfterMs"] = round(min(max(after * 1_000, 0), LONGEST_RETRY_AFTER_MS))
    return failure


def result_refused(error: BaseException) -> JsonObject:
    """The handler has done its work. Another attempt would change nothing."""
    if isinstance(error, TooLarge) or (isinstance(error, Refused) and error.code == "PAYLOAD_TOO_LARGE"):
        return _final("RESULT_TOO_LARGE", f"A result may have at most {MAX_RESULT_JSON_BYTES} bytes.")
    why = "the service did not take it."
    if isinstance(error, NotStorable):
        why = f"{error}."
    elif isinstance(error, Refused):
        why = error.message
    return _final("RESULT_NOT_STORABLE", f"The result cannot be stored: {why}")


def _text(error: TaskFailure, name: str) -> str:
    """A subclass may have anything there, also properties that raise."""
    try:
        return str(getattr(error, name))
    except Exception:
        return ""


def _final(code: str, message: str) -> JsonObject:
    return {"code": code, "message": storable_text(message, MAX_FAILURE_MESSAGE_LENGTH), "retryable": False}
