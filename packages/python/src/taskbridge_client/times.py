"""Moments on the wire."""

from __future__ import annotations

from datetime import datetime


def timestamp(moment: datetime | str) -> str:
    """RFC 3339. Raises ValueError for a datetime without a time zone, which names no moment."""
    if isinstance(moment, str):
        return moment
    if moment.tzinfo is None:
        raise ValueError("A datetime needs a time zone here, such as datetime.now(timezone.utc).")
    return moment.isoformat()
