"""Asks the service over HTTP, with credentials that are asked before every request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import httpx

from .._io import Headers, Source, given, pause
from ..answers import lost, refusal_of
from ..errors import Silent, TaskBridgeError
from ..files import File, form_of, parts_of
from ..waiting import BODY, FIRST_BYTE, NEVER, SILENCE, Deadline, backoff
from ..wire import JsonObject, written

_UPLOAD = 300.0
"""Seconds for the answer to a form, whose files may take long to store."""


class Http:
    def __init__(
        self,
        url: str,
        token: Source[str] | None,
        headers: Source[Headers] | None,
        client: httpx.Client | None,
    ) -> None:
        if httpx.URL(url).scheme not in ("http", "https"):
            raise ValueError("url: the address of the service, with http:// or https://")
        self.base = f"{url.rstrip('/')}/api/v1"
        self._token = token
        self._headers = headers
        self._own = client is None
        self._client = client or httpx.Client(limits=httpx.Limits(max_connections=None))

    def close(self) -> None:
        if self._own:
            self._client.close()

    def json(
        self,
        method: str,
        path: str,
        *,
        body: JsonObject | None = None,
        files: Sequence[File] = (),
        deadline: Deadline = NEVER,
        tries: int | None = None,
        wait: float = 0,
    ) -> Any:
        """The JSON of the answer, repeated while the failure may pass. `wait`: how long the service may wait before it answers."""
        content: dict[str, Any] = {}
        first_byte = FIRST_BYTE + wait
        if body is not None and files:
            content = {"data": form_of(body), "files": parts_of(files)}
            first_byte = _UPLOAD
        elif body is not None:
            content = {"content": written(body)}
        failures, was_unknown = 0, False
        while True:
            try:
                return self._once(method, path, content, deadline.within(first_byte))
            except TaskBridgeError as error:
                failures += 1
                # Credentials may just have ended: those of the next request are new ones.
                is_unknown = error.status == 401
                if (was_unknown if is_unknown else not error.may_pass) or (tries is not None and failures >= tries):
                    raise
                was_unknown = is_unknown
                if not is_unknown:
                    pause(deadline.within(max(error.retry_after or 0, backoff(failures - 1))))

    @contextmanager
    def stream(self, path: str) -> Iterator[httpx.Response]:
        headers = self._all_headers({"Accept": "text/event-stream", "Accept-Encoding": "identity"})
        request = self._client.build_request("GET", self.base + path, headers=headers, timeout=FIRST_BYTE)
        try:
            answer = self._client.send(request, stream=True)
            try:
                if not answer.is_success:
                    answer.read()
                    raise refusal_of(answer)
                # httpx reads it again when the body begins. From then on heartbeats come.
                request.extensions["timeout"]["read"] = SILENCE
                yield answer
            finally:
                answer.close()
        except httpx.ReadTimeout:
            raise Silent
        except httpx.HTTPError as error:
            raise lost(error)

    def _once(self, method: str, path: str, content: dict[str, Any], first_byte: float) -> Any:
        own = {"Content-Type": "application/json"} if "content" in content else {}
        timeout = httpx.Timeout(min(first_byte, FIRST_BYTE), read=first_byte, write=BODY)
        try:
            headers = self._all_headers(own)
            answer = self._client.request(method, self.base + path, headers=headers, timeout=timeout, **content)
        except httpx.HTTPError as error:
            raise lost(error)
        if not answer.is_success:
            raise refusal_of(answer)
        try:
            return answer.json() if answer.content else None
        except ValueError as error:
            raise lost(error)

    def _all_headers(self, own: Mapping[str, str]) -> dict[str, str]:
        headers = {} if self._headers is None else dict(given(self._headers))
        if self._token is not None:
            token = given(self._token)
            headers["Authorization"] = f"Bearer {token}"
        return {**headers, **own}
