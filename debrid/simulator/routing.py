"""A call of the API as the routes see it, and the finding of the route."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from email import message_from_bytes
from urllib.parse import parse_qsl

from debrid.simulator.site import Site
from debrid.simulator.wire import ApiError, Reply, missing


@dataclass(frozen=True, slots=True)
class Call:
    """One request: `path` is relative to the API's base, `args` are the parts its pattern left open."""

    method: str
    path: str
    query: Mapping[str, str]
    form: Mapping[str, str]
    body: bytes
    token: str
    args: tuple[str, ...] = ()

    def need(self, name: str) -> str:
        """A field of the form that must be there."""
        value = self.form.get(name)
        if not value:
            raise missing(name)
        return value


Handler = Callable[[Site, Call], Reply]


@dataclass(frozen=True, slots=True)
class Route:
    """`open` routes need no token, `free` ones no subscription."""

    method: str
    pattern: str
    handler: Handler
    open: bool = False
    free: bool = False
    _regex: re.Pattern[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        text = self.pattern.replace("{id}", "([^/]+)").replace("{rest}", "(.*)")
        object.__setattr__(self, "_regex", re.compile(text))

    def match(self, path: str) -> re.Match[str] | None:
        return self._regex.fullmatch(path)


def find(routes: Iterable[Route], method: str, path: str) -> tuple[Route, tuple[str, ...]]:
    """The route of a call and its args. Paths are case-sensitive."""
    known = False
    for route in routes:
        if found := route.match(path):
            if route.method == method:
                return route, found.groups()
            known = True
    raise ApiError(4 if known else 3)


def pairs(text: str) -> dict[str, str]:
    """Query string or urlencoded form, the last value of each name."""
    return dict(parse_qsl(text, keep_blank_values=True))


def read_form(content_type: str, body: bytes) -> dict[str, str]:
    """The fields of a form, urlencoded or multipart; empty if the body is something else."""
    if content_type.startswith("multipart/form-data"):
        return _multipart(content_type, body)
    if content_type.startswith("application/x-www-form-urlencoded"):
        return pairs(body.decode("utf-8", "replace"))
    return {}


def _multipart(content_type: str, body: bytes) -> dict[str, str]:
    message = message_from_bytes(b"Content-Type: " + content_type.encode("latin-1") + b"\r\n\r\n" + body)
    fields = {}
    for part in message.walk():
        name = part.get_param("name", header="content-disposition")
        value = part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(value, bytes):
            fields[name] = value.decode("utf-8", "replace")
    return fields
