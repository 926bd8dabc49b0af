"""Who may ask: sessions by password, hosts and origins.

Without a password every login passes, since only this machine reaches the address then; the configuration sees to that.
With one, a session is a random cookie that expires, wrong passwords are counted by address, and neither the time of an
answer nor its text tells how wrong one was.
"""

import hashlib
import hmac
import ipaddress
import json
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection
from urllib.parse import urlsplit

from debrid.downloads.downloadlog import DownloadLog

SESSION_SECONDS = 3600.0  # since its last use
_MOST_SESSIONS = 1000
_ATTEMPTS = 5  # wrong passwords from one address, then it has to wait
_BAN_SECONDS = 600.0
_MOST_ADDRESSES = 10_000
_SETTING = "password"
_LONGEST = 1024  # characters of a name or a password


class Banned(Exception):
    """Too many wrong passwords came from there."""


class Sessions:
    """Thread-safe; `clock`: seconds that only grow."""

    def __init__(
        self,
        log: DownloadLog | None,
        username: str | None,
        password: str | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Of the password only a salted hash is kept, in debrid.db (`log`) too if there is one. Raises StoreError."""
        self._clock = clock
        self._lock = threading.Lock()
        self._sessions: OrderedDict[str, float] = OrderedDict()  # and when each was used last
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self._secret = None if username is None or password is None else _kept(log, username, password)
        if self._secret is None and log is not None:
            log.set_setting(_SETTING, "")

    @property
    def open(self) -> bool:
        """Whether no password is asked for."""
        return self._secret is None

    def login(self, username: str, password: str, address: str) -> str | None:
        """A new session, None for a wrong name or password. Raises Banned."""
        if self._secret is not None and not self._proven(username, password, address):
            return None
        session = secrets.token_urlsafe(24)
        with self._lock:
            self._sessions[session] = self._clock()
            while len(self._sessions) > _MOST_SESSIONS:
                self._sessions.popitem(last=False)
        return session

    def logout(self, session: str) -> None:
        """End a session, if it is one."""
        with self._lock:
            self._sessions.pop(session, None)

    def allows(self, session: str) -> bool:
        """Whether requests of this session are answered; each prolongs it."""
        if self._secret is None:
            return True
        now = self._clock()
        with self._lock:
            used = self._sessions.get(session)
            if used is None or now > used + SESSION_SECONDS:
                self._sessions.pop(session, None)
                return False
            self._sessions[session] = now
            self._sessions.move_to_end(session)
            return True

    def _proven(self, username: str, password: str, address: str) -> bool:
        now = self._clock()
        with self._lock:
            count, since = self._failures.get(address, (0, now))
            if now > since + _BAN_SECONDS:
                count = 0
            if count >= _ATTEMPTS:
                raise Banned
            # Counted before the password is looked at, so that many tries at once are counted as many.
            self._failures[address] = (count + 1, now)
            while len(self._failures) > _MOST_ADDRESSES:
                self._failures.popitem(last=False)
        assert self._secret is not None
        salt, digest = self._secret
        if not hmac.compare_digest(_digest(salt, username[:_LONGEST], password[:_LONGEST]), digest):
            return False
        with self._lock:
            self._failures.pop(address, None)
        return True


def _kept(log: DownloadLog | None, username: str, password: str) -> tuple[bytes, bytes]:
    """Salt and hash of what is configured, as kept before, or new ones if something else was kept."""
    try:
        found = json.loads((log and log.setting(_SETTING)) or "null") or {}
        salt, digest = bytes.fromhex(found["salt"]), bytes.fromhex(found["hash"])
        if hmac.compare_digest(_digest(salt, username, password), digest):
            return salt, digest
    except (ValueError, KeyError, TypeError):
        pass  # nothing was kept, or it is damaged
    salt = secrets.token_bytes(16)
    digest = _digest(salt, username, password)
    if log is not None:
        log.set_setting(_SETTING, json.dumps({"salt": salt.hex(), "hash": digest.hex()}))
    return salt, digest


def _digest(salt: bytes, username: str, password: str) -> bytes:
    text = json.dumps([username, password]).encode()
    return hashlib.scrypt(text, salt=salt, n=2**14, r=8, p=1, maxmem=64 << 20)


def host_allowed(header: str, hosts: Collection[str]) -> bool:
    """Whether a Host header can be meant for us: an address, a bare name, or one of `hosts`.

    A page that lets its name point at this machine (DNS rebinding) comes by that name, which has a dot and is none of
    those; bare names, as containers have, cannot be taken by strangers.
    """
    try:
        host = urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return False
    if not host or "@" in header:
        return False
    if "." not in host or host in {each.lower() for each in hosts}:
        return ":" not in host or _is_address(host)
    return _is_address(host)


def origin_allowed(origin: str | None, header: str) -> bool:
    """Whether a request from a page of this origin, None: not from a page, is one of our own pages'."""
    if origin is None:
        return True
    try:
        return urlsplit(origin).netloc.lower() == header.lower()
    except ValueError:
        return False


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
