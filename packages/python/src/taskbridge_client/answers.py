"""What an HTTP answer says."""

from __future__ import annotations

import httpx

from .errors import TaskBridgeError, unreachable


def refusal_of(answer: httpx.Response) -> TaskBridgeError:
    """Also of a page of a proxy. The body was read."""
    status = answer.status_code
    try:
        body = answer.json()
    except ValueError:
        body = None
    said = body if isinstance(body, dict) else {}
    code = str(said.get("code") or f"HTTP_{status}")
    try:
        retry_after: float | None = max(0.0, float(answer.headers["Retry-After"]))
    except (KeyError, ValueError):
        retry_after = None
    return TaskBridgeError(
        code,
        str(said.get("message") or code),
        status=status,
        details=said.get("details"),
        correlation_id=said.get("correlationId"),
        retry_after=retry_after,
    )


def lost(error: Exception) -> TaskBridgeError:
    return unreachable(f"{type(error).__name__}: {error}".removesuffix(": "))
