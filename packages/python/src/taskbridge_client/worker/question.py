"""A handler's question. Checked here, where the handler gets the error: at the end of the attempt the service could only refuse it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, Literal, TypedDict

from ..wire import JsonObject
from .errors import event_invalid, event_too_large
from .limits import MAX_ALLOWED_ACTIONS, MAX_EVENT_BYTES, MAX_NAME_LENGTH
from .storable import NotStorable, TooLarge, bytes_of, storable_json, text_fault

SuspensionKind = Literal["USER_ACTION_REQUIRED", "EXTERNAL_CONFIRMATION_PENDING", "SYSTEM_PAUSED"]
_KINDS = ("USER_ACTION_REQUIRED", "EXTERNAL_CONFIRMATION_PENDING", "SYSTEM_PAUSED")


class SuspendAnswer(TypedDict):
    """The answer of the owner."""

    suspendId: str
    clientActionId: str
    actionType: str
    payload: JsonObject
    actorId: str


def question_of(
    ordinal: int,
    *,
    key: str | None,
    kind: str,
    schema_version: int,
    reason_code: str,
    allowed_actions: Sequence[str],
    expires_at: datetime | str | None,
    objects: Mapping[str, Mapping[str, Any] | None],
) -> JsonObject:
    """As it is stored. `ordinal` counts the questions of the invocation. Raises Refused."""
    key = str(ordinal) if key is None else key
    if not isinstance(key, str) or not re.fullmatch(r"[\x21-\x7e]{1,255}", key):
        raise event_invalid("key", "must be 1 to 255 visible ASCII characters")
    if kind not in _KINDS:
        raise event_invalid("kind", f"must be one of {', '.join(_KINDS)}")
    if isinstance(schema_version, bool) or not isinstance(schema_version, int) or not 1 <= schema_version < 2**53:
        raise event_invalid("schemaVersion", "must be a whole number from 1")
    if not _is_name(reason_code):
        raise event_invalid("reasonCode", f"must be 1 to {MAX_NAME_LENGTH} characters")
    question: JsonObject = {
        "suspendId": key,
        "kind": kind,
        "schemaVersion": schema_version,
        "reasonCode": reason_code,
        "allowedActions": _actions(allowed_actions),
    }
    if expires_at is not None:
        question["expiresAt"] = _time(expires_at)
    for name, value in objects.items():
        if value is not None:
            question[name] = _object(name, value)
    if bytes_of(question) > MAX_EVENT_BYTES:
        raise event_too_large()
    return question


def _actions(given: object) -> list[str]:
    actions = list(given) if isinstance(given, (list, tuple)) else []
    if not 1 <= len(actions) <= MAX_ALLOWED_ACTIONS or not all(_is_name(action) for action in actions):
        problem = f"must be 1 to {MAX_ALLOWED_ACTIONS} strings of 1 to {MAX_NAME_LENGTH} characters"
        raise event_invalid("allowedActions", problem)
    return actions


def _is_name(value: object) -> bool:
    return isinstance(value, str) and text_fault(value) is None and 1 <= len(value) <= MAX_NAME_LENGTH


def _time(given: datetime | str) -> str:
    try:
        moment = given if isinstance(given, datetime) else datetime.fromisoformat(given.replace("Z", "+00:00"))
        if moment.tzinfo is None:
            raise ValueError
        return moment.astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except (ValueError, OverflowError, AttributeError):
        raise event_invalid("expiresAt", "must be a time from year 1 to 9999") from None


def _object(name: str, given: object) -> JsonObject:
    if not isinstance(given, dict):
        raise event_invalid(name, "must be an object")
    try:
        storable_json(given, MAX_EVENT_BYTES)
    except TooLarge:
        raise event_too_large() from None
    except NotStorable as error:
        raise event_invalid(name, f"cannot be stored: {error}") from None
    return given
