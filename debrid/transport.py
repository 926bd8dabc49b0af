"""Calls over HTTP that another thread can end, that know until when they may last, and that fail in one way
only.

requests has no way to end a call that waits for an answer: closing a response helps only once there is one.
So the connections here tell the calling thread's `Interrupt` which socket they use, and `Interrupt.set`
shuts that socket down, which wakes the waiting thread with an error at once. Only the time of connecting
(bounded by its own time-out) cannot be cut short.
"""

import contextlib
import json
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from http.cookiejar import DefaultCookiePolicy
from typing import Any, TypeVar

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from debrid.errors import DebridError, Interrupted, TimedOut, Unavailable
from debrid.reactions import api_error

T = TypeVar("T")

_here = threading.local()  # .interrupt: the one whose call runs in this thread


class Interrupt:
    """Ends what one thread waits for: an HTTP answer, bytes of a body, or a pause. Once set it stays set."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._event = threading.Event()
        self._socket: socket.socket | None = None

    @property
    def is_set(self) -> bool:
        """True after `set`."""
        return self._event.is_set()

    def set(self) -> None:
        """End the call under way and every later one; from any thread."""
        self._event.set()
        with self._lock:
            if self._socket is not None:
                _shut(self._socket)

    def wait(self, seconds: float) -> bool:
        """Pause; True as soon as it is set."""
        return self._event.wait(seconds)

    def check(self) -> None:
        """Raise Interrupted if it is set."""
        if self.is_set:
            raise Interrupted("ended by another thread")

    def hold(self, sock: socket.socket | None) -> None:
        """The call now depends on this socket; None: on none any more."""
        with self._lock:
            self._socket = sock
            if sock is not None and self.is_set:
                _shut(sock)

    @contextlib.contextmanager
    def over_calls(self) -> Iterator[None]:
        """Connections used by this thread inside the block tell this interrupt about their socket."""
        before = getattr(_here, "interrupt", None)
        _here.interrupt = self
        try:
            yield
        finally:
            _here.interrupt = before


@dataclass(frozen=True, slots=True)
class Budget:
    """How long a call may take and who may end it. `deadline` is a time of time.monotonic().

    `urgent`: somebody waits in front of a player, so it goes ahead of the polls.
    """

    deadline: float
    interrupt: Interrupt
    urgent: bool = False

    @classmethod
    def of(cls, seconds: float, *, urgent: bool = False, interrupt: Interrupt | None = None) -> "Budget":
        """A budget that ends `seconds` from now."""
        return cls(time.monotonic() + seconds, interrupt or Interrupt(), urgent)

    @property
    def remaining(self) -> float:
        """Seconds left, never below 0."""
        return max(0.0, self.deadline - time.monotonic())

    def check(self) -> None:
        """Raises Interrupted or TimedOut when the call has to end."""
        self.interrupt.check()
        if self.remaining <= 0:
            raise TimedOut("no answer in time")

    def sleep(self, seconds: float) -> None:
        """Pause, at most to the deadline; raises Interrupted when ended."""
        if self.interrupt.wait(min(seconds, self.remaining)):
            self.interrupt.check()

    def back_off(self, attempt: int) -> None:
        """Pause after try number `attempt` (from 1): 0.2 s, doubling to 5 s.

        Spread by 20 %, so that many who failed together do not come back together.
        """
        self.sleep(min(5.0, 0.1 * 2**attempt) * random.uniform(0.8, 1.2))


class _TellsHTTP(HTTPConnection):
    def connect(self) -> None:
        super().connect()
        _tell(self.sock)

    def request(self, *args: Any, **kwargs: Any) -> None:
        _tell(self.sock)
        super().request(*args, **kwargs)


class _TellsHTTPS(HTTPSConnection):
    def connect(self) -> None:
        super().connect()
        _tell(self.sock)

    def request(self, *args: Any, **kwargs: Any) -> None:
        _tell(self.sock)
        super().request(*args, **kwargs)


class _HTTPPool(HTTPConnectionPool):
    ConnectionCls = _TellsHTTP


class _HTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _TellsHTTPS


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _HTTPPool, "https": _HTTPSPool}


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer of the API."""

    status: int
    body: bytes
    headers: Mapping[str, str]

    @property
    def text(self) -> str:
        """The body as text; never fails."""
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """Raises ValueError."""
        return json.loads(self.body)

    @property
    def retry_after(self) -> float | None:
        """Seconds the server asks us to wait; None if it does not say so intelligibly."""
        text = self.headers.get("Retry-After", "").strip()
        if text.isdecimal():
            return float(text)
        with contextlib.suppress(ValueError):
            return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
        return None

    def error(self, what: str) -> DebridError:
        """The error this refusal means; the body may be anything."""
        try:
            told = self.json()
        except ValueError:
            told = None
        told = told if isinstance(told, dict) else {}
        code, slug, detail = (told.get(key) for key in ("error_code", "error", "error_details"))
        return api_error(
            what,
            self.status,
            code if isinstance(code, int) else None,
            slug if isinstance(slug, str) else "",
            detail=detail[:200] if isinstance(detail, str) else "",
            retry_after=self.retry_after,
        )


def exchange(what: str, budget: Budget, act: Callable[[], T]) -> T:
    """Do a piece of HTTP named `what`. Raises Interrupted, TimedOut or Unavailable, nothing of requests.

    The new error is raised outside the handler, so it does not drag the old one, and with it the token,
    along.
    """
    try:
        with budget.interrupt.over_calls():
            return act()
    except (requests.Timeout, urllib3.exceptions.TimeoutError, TimeoutError):
        failure: DebridError = TimedOut(f"{what}: no answer in time")
    except (
        requests.RequestException,
        urllib3.exceptions.HTTPError,
        HTTPException,
        OSError,
        ValueError,
    ) as error:
        failure = Unavailable(f"{what}: {_reason(error)}")
    budget.interrupt.check()
    raise failure


def read_body(response: requests.Response, budget: Budget, limit: int) -> bytes:
    """The whole decoded body, within the budget however slowly it trickles.

    Raises ValueError beyond `limit` bytes, TimedOut, Interrupted, and what urllib3 raises.
    """
    body = bytearray()
    while piece := response.raw.read1(1 << 16, decode_content=True):
        body += piece
        if len(body) > limit:
            raise ValueError("the answer is too long")
        budget.check()
    return bytes(body)


def prepare(session: requests.Session, connections: int) -> requests.Session:
    """Make `session` fit for `connections` threads and for Interrupt, without retries and cookies."""
    for scheme in ("http://", "https://"):
        session.mount(scheme, _Adapter(pool_connections=16, pool_maxsize=connections, max_retries=0))
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    return session


def _tell(sock: socket.socket | None) -> None:
    interrupt: Interrupt | None = getattr(_here, "interrupt", None)
    if interrupt is not None and sock is not None:
        interrupt.hold(sock)


def _shut(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):  # already closed or reset: nobody waits on it any more
        sock.shutdown(socket.SHUT_RDWR)


def _reason(error: BaseException) -> str:
    """The operating system's words if there are any, else the kind of error: other texts quote URLs."""
    seen: BaseException | None = error
    reason = type(error).__name__
    while seen is not None:
        if isinstance(seen, OSError) and seen.strerror:
            reason = seen.strerror
        seen = seen.__cause__ or seen.__context__
    return reason
