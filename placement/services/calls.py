"""Calls to the HTTP API of one service: bounded in time and size, and failing in words that hold no key.

Redirects are not followed, or the key would go to whoever is named there. The environment's proxies and
passwords are left alone: this talks to one's own machines.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import requests

# Bytes; the whole library with all its texts is the largest answer there is.
_LONGEST = 256 << 20
_PIECE = 1 << 16


class ServiceError(Exception):
    """A service could not be asked, or refused; the message names it, the cause and the remedy."""


class Unreachable(ServiceError):
    """It gave no usable answer now, and may later."""


class Missing(ServiceError):
    """It has nothing of that name or number."""


class Refused(ServiceError):
    """It does not take the key."""


@dataclass(frozen=True, slots=True)
class KeyWords:
    """How a service wants its key: in which header and form; what the key is called here, and where it is found."""

    header: str = "X-Api-Key"
    form: str = "{}"
    called: str = "api_key"
    found: str = "its Settings, General"


class Api:
    """The API of the service `name` at `url`. Thread-safe: each call has a connection of its own."""

    def __init__(
        self, name: str, url: str, api_key: str, *, seconds: float = 30.0, words: KeyWords = KeyWords()
    ) -> None:
        """`seconds`: how long one call may take in all."""
        self.name = name
        self.url = url.rstrip("/")
        self._key = api_key
        self._words = words
        self._seconds = seconds

    def __repr__(self) -> str:
        return f"Api({self.name!r}, {self.url!r})"

    def get(self, path: str, params: Mapping[str, str] | None = None) -> Any:
        """The JSON at `path`; ServiceError."""
        return self._call("GET", path, params, None)

    def put(self, path: str, body: object, params: Mapping[str, str] | None = None) -> Any:
        """What it answers to `body`; ServiceError."""
        return self._call("PUT", path, params, body)

    def post(self, path: str, body: object) -> Any:
        """What it answers to `body`; ServiceError."""
        return self._call("POST", path, None, body)

    def delete(self, path: str, params: Mapping[str, str]) -> Any:
        """What it answers; Missing if there is no such thing, ServiceError."""
        return self._call("DELETE", path, params, None)

    def _call(self, method: str, path: str, params: Mapping[str, str] | None, body: object) -> Any:
        deadline = time.monotonic() + self._seconds
        try:
            with requests.Session() as session:
                session.trust_env = False
                with session.request(
                    method,
                    self.url + path,
                    params=params,
                    json=body,
                    headers={self._words.header: self._words.form.format(self._key), "Accept": "application/json"},
                    timeout=self._seconds,
                    allow_redirects=False,
                    stream=True,
                ) as answer:
                    content = self._content(answer, deadline)
        except requests.Timeout:
            raise Unreachable(f"{self} gives no answer within {self._seconds:g} seconds") from None
        except requests.RequestException as error:
            # Its text quotes what was sent.
            raise Unreachable(f"{self} cannot be reached: {_cause(error)}") from None
        self._refuse(answer, path, content)
        return self._read(content, path)

    def _content(self, answer: requests.Response, deadline: float) -> bytes:
        pieces, size = [], 0
        for piece in answer.iter_content(_PIECE):
            pieces.append(piece)
            size += len(piece)
            if size > _LONGEST:
                raise ServiceError(f"{self} answers with more than {_LONGEST} bytes")
            if time.monotonic() > deadline:
                raise Unreachable(f"{self} gives no whole answer within {self._seconds:g} seconds")
        return b"".join(pieces)

    def _refuse(self, answer: requests.Response, path: str, content: bytes) -> None:
        status = answer.status_code
        if 300 <= status < 400:
            raise ServiceError(f"{self} sends calls to another address: write that one, with its URL base, as url")
        if status in (401, 403):
            raise Refused(f"{self} refuses the {self._words.called}: copy it again from {self._words.found}")
        if status == 404:
            raise Missing(f"{self} has no {path}: does url hold its URL base?")
        if status >= 500 or status == 429:
            raise Unreachable(f"{self} fails with {status}{self._told(content)}")
        if status >= 400:
            raise ServiceError(f"{self} refuses with {status}{self._told(content)}")

    def _read(self, content: bytes, path: str) -> Any:
        if not content.strip():
            return None
        try:
            return json.loads(content)
        except (ValueError, RecursionError):
            raise ServiceError(f"{self} answers {path} with something else than JSON: is url right?") from None

    def _told(self, content: bytes) -> str:
        """The reason in an answer, ": " before it; "" without one. Such texts may quote the call."""
        try:
            told = json.loads(content)
        except (ValueError, RecursionError):
            return ""
        first = told[0] if isinstance(told, list) and told else told
        text = first.get("message") or first.get("errorMessage") if isinstance(first, dict) else None
        if not isinstance(text, str):
            return ""
        return ": " + " ".join(text.replace(self._key, "***").split())[:200]

    def __str__(self) -> str:
        return f"{self.name} at {self.url}"


def _cause(error: requests.RequestException) -> str:
    """Why a connection failed, as the system says it."""
    cause: BaseException | None = error
    seen: list[BaseException] = []
    while cause is not None and cause not in seen:
        seen.append(cause)
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror.lower()
        inner = cause.args[0] if cause.args and isinstance(cause.args[0], BaseException) else None
        cause = getattr(cause, "reason", None) or inner or cause.__cause__ or cause.__context__
        cause = cause if isinstance(cause, BaseException) else None
    return type(error).__name__
