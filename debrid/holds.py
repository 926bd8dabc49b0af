"""What the account has used up or is refused, and until when it is not worth asking again.

A hold is no punishment for one file: it keeps a hundred readers from running into the same refusal one
after another, which at Real-Debrid makes the refusal last longer. Nothing that is held back counts as dead.
"""

import copy
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from debrid.errors import DebridError, Reaction

ANY = "any"
UNRESTRICT = "unrestrict"
CDN = "cdn"

_WHOLE_ACCOUNT = (
    None,
    8,
    14,
)  # codes of a refused token and a locked account; other refusals concern one call
_PERSISTENT_WITHIN = 3600.0  # seconds after the end of a hold in which the same error counts as still the same


class _Hold(NamedTuple):
    until: float
    length: float
    error: DebridError


class Holds:
    """Thread-safe. `fair_use` and `refused_token`: seconds of a first hold; `clock`: seconds."""

    def __init__(
        self,
        *,
        fair_use: float = 300.0,
        refused_token: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fair_use, self._refused_token, self._clock = fair_use, refused_token, clock
        self._lock = threading.Lock()
        self._holds: dict[str, _Hold] = {}

    def note(self, error: DebridError, kind: str) -> None:
        """A call of `kind` was answered with this; an error of that call alone leaves no trace."""
        if error.reaction is Reaction.TELL:
            whole = error.code in _WHOLE_ACCOUNT
            self._add(ANY if whole else kind, self._refused_token, error, longest=6 * self._refused_token)
        elif error.reaction is Reaction.REST:
            self._add(UNRESTRICT, self._fair_use, error, longest=seconds_to_reset())
        elif error.reaction is Reaction.MIDNIGHT:
            self._add(kind, seconds_to_reset(), error, longest=seconds_to_reset())

    def of(self, kind: str) -> DebridError | None:
        """Why calls of `kind` are held back (`retry_after`: seconds left); None if they are not."""
        with self._lock:
            hold = self._holds.get(kind)
        left = hold.until - self._clock() if hold else 0.0
        if hold is None or left <= 0:
            return None
        error = copy.copy(hold.error)
        error.retry_after = left
        return error

    def check(self, *kinds: str) -> None:
        """Raise the error that holds one of these kinds back."""
        for kind in kinds:
            if error := self.of(kind):
                raise error

    def _add(self, kind: str, seconds: float, error: DebridError, *, longest: float) -> None:
        with self._lock:
            now, before = self._clock(), self._holds.get(kind)
            if before and now < before.until:
                return  # an answer to a call that was under way when the hold began
            if before and type(before.error) is type(error) and now < before.until + _PERSISTENT_WITHIN:
                seconds = max(seconds, before.length * 2)
            seconds = min(seconds, longest)
            self._holds[kind] = _Hold(now + seconds, seconds, error)


def seconds_to_reset(now: datetime | None = None) -> float:
    """Seconds until the account's day ends: midnight in Paris, where the provider counts."""
    try:
        zone: tzinfo = ZoneInfo("Europe/Paris")
    except ZoneInfoNotFoundError:  # Windows without the tzdata package: winter time, at worst an hour late
        zone = timezone(timedelta(hours=1))
    here = (now or datetime.now(UTC)).astimezone(zone)
    midnight = datetime.combine(here.date() + timedelta(days=1), datetime.min.time(), zone)
    return max(60.0, midnight.timestamp() - here.timestamp())
