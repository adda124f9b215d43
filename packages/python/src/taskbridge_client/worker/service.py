"""The worker protocol's HTTP: one request, one answer. It runs on the loop of the leases."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from email.utils import parsedate_to_datetime
from typing import NamedTuple, TypeVar
from urllib.parse import quote, urljoin, urlsplit

import httpx

from ..wire import JsonObject
from .errors import Unavailable
from .storable import stored_json

T = TypeVar("T")

_FEATURES_SECONDS = 5.0
"""What the service knows is read again after this time."""
_FEATURES_TIMEOUT = 10.0
_UPLOAD_TIMEOUT = 30.0
_SLOWEST_UPLOAD = 175_000
"""Bytes per second."""
_DOWNLOAD_TIMEOUT = 60.0
_MAY_PASS = frozenset({401, 403, 408, 429})
"""401 and 403, too: while tokens are rotated, some replicas do not know the new one yet, or no longer the old."""
_UNKNOWN_THERE = frozenset({400, 404, 422})
"""A replica of another release answers so to what the others know. It will be gone, or know it, in a while."""


class ServiceRefused(Exception):
    """The service said no; the same again would be refused again."""

    def __init__(self, status: int, code: str, text: str) -> None:
        super().__init__(f"{status} {code}: {text}")
        self.status = status
        self.code = code
        self.text = text


class UnknownThere(Unavailable):
    """The replica does not know a call that all should know."""


class Answer(NamedTuple):
    body: JsonObject
    service_time: float
    """The service's clock, in Unix seconds, up to a second behind."""


class Service:
    def __init__(self, url: str, token: str) -> None:
        self._root = url.rstrip("/") + "/"
        self._headers = {"Authorization": f"Bearer {token}"}
        self._client = httpx.AsyncClient(timeout=None, limits=httpx.Limits(max_connections=None))
        self._features: frozenset[str] = frozenset()
        self._read_at = float("-inf")

    async def aclose(self) -> None:
        await self._client.aclose()

    async def knows(self, feature: str) -> bool:
        """Whether all replicas know it, by an answer of the last 5 s. Release 0.1.0 has no such route, and knows none."""
        if time.monotonic() - self._read_at >= _FEATURES_SECONDS:
            try:
                answer = await self._call("GET", "", _FEATURES_TIMEOUT)
                self._features = frozenset(answer.body.get("features", ()))
            except ServiceRefused as error:
                if error.status != 404:
                    raise
                self._features = frozenset()
            self._read_at = time.monotonic()
        return feature in self._features

    def knew(self, feature: str) -> bool:
        """What the last answer said, without asking; False where it was forgotten."""
        return self._read_at > float("-inf") and feature in self._features

    def forget_features(self) -> None:
        self._read_at = float("-inf")

    async def post(self, path: str, body: JsonObject, timeout: float, result_json: str | None = None) -> Answer:
        """`result_json`: the member `result`, as it was written and checked. Raises ServiceRefused and Unavailable."""
        text = stored_json(body)
        if result_json is not None:
            text = f'{text[:-1]},"result":{result_json}}}'
        return await self._call("POST", f"/{path}", timeout, text.encode(), {"Content-Type": "application/json"})

    async def unless_unknown(self, call: Callable[[], Awaitable[T]]) -> T:
        """A call that not every release knows. Where a replica does not, that counts as "later"."""
        try:
            return await call()
        except ServiceRefused as error:
            if error.status not in _UNKNOWN_THERE:
                raise
            self.forget_features()
            raise UnknownThere(str(error)) from error

    async def upload(
        self, task_id: str, lease_token: str, filename: str, media_type: str | None, content: bytes
    ) -> Answer:
        path = f"/tasks/{task_id}/attachments?filename={quote(filename, safe='')}"
        headers = {"X-Lease-Token": lease_token, **({"Content-Type": media_type} if media_type else {})}
        timeout = _UPLOAD_TIMEOUT + len(content) / _SLOWEST_UPLOAD
        return await self._call("POST", path, timeout, content, headers)

    async def download(self, address: str, lease_token: str) -> bytes:
        """The bytes behind an address from a lease, which is below the service's own unless it names a host."""
        url = urljoin(self._root, address.removeprefix("/") if not address.startswith("//") else address)
        is_ours = urlsplit(url)[:2] == urlsplit(self._root)[:2]
        reply = await self._sent("GET", url, _DOWNLOAD_TIMEOUT, b"", {"X-Lease-Token": lease_token} if is_ours else {})
        return reply.content

    async def _call(
        self, method: str, path: str, timeout: float, content: bytes = b"", headers: dict[str, str] | None = None
    ) -> Answer:
        url = f"{self._root}worker/v1{path}"
        reply = await self._sent(method, url, timeout, content, {**self._headers, **(headers or {})})
        try:
            service_time = parsedate_to_datetime(reply.headers["Date"]).timestamp()
        except (KeyError, ValueError):
            service_time = time.time()
        try:
            body = reply.json() if reply.content else {}
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise Unavailable("the answer is no JSON object")
        return Answer(body, service_time)

    async def _sent(
        self, method: str, url: str, timeout: float, content: bytes, headers: dict[str, str]
    ) -> httpx.Response:
        try:
            request = self._client.request(method, url, content=content or None, headers=headers)
            reply = await asyncio.wait_for(request, timeout)
        except (httpx.HTTPError, asyncio.TimeoutError) as error:
            raise Unavailable(f"{urlsplit(self._root).netloc} did not answer: {type(error).__name__}") from error
        if reply.is_success:
            return reply
        raise _refusal_of(reply)


def _refusal_of(reply: httpx.Response) -> ServiceRefused | Unavailable:
    try:
        body = reply.json()
    except ValueError:
        body = None
    said = body if isinstance(body, dict) else {}
    code, status = said.get("code"), reply.status_code
    # An answer without a code is not the service's: something on the way has no service to ask.
    if isinstance(code, str) and status < 500 and (status not in _MAY_PASS or code == "UPLOAD_FORBIDDEN"):
        return ServiceRefused(status, code, str(said.get("message", "")))
    try:
        retry_after = max(0.0, float(reply.headers.get("Retry-After", 0)))
    except ValueError:
        retry_after = 0.0
    return Unavailable(f"the service answered {status} {code or ''}".strip(), retry_after)
