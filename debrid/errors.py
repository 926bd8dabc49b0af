"""What can go wrong at Real-Debrid, and which error each answer means.

    DebridError
    ├── TemporaryError            passes by itself; never a reason to remove, re-add or repair anything
    │   ├── Unavailable           outage, gateway page, internal error, broken connection
    │   │   ├── TimedOut          no answer within the deadline
    │   │   ├── WrongShape        an answer that is not what the endpoint promises, such as `{}` for a list
    │   │   └── Interrupted       another thread ended the call (stop, close)
    │   ├── RateLimited           too many requests; everybody waits `retry_after` seconds
    │   ├── AccountPaused         the account has used up something that grows back
    │   │   ├── FairUse           too many unrestricts, or the fair-use cap
    │   │   └── TrafficExhausted  the bytes of the day are gone
    │   ├── HosterBusy            a hoster's maintenance or daily limit
    │   └── SlotsFull             too many active torrents
    ├── AuthError                 token or account refused: a person must act
    ├── NotFound                  no torrent or download has this id
    ├── ContentGone               the link leads nowhere any more; repair may help
    │   ├── DeadLink              aged out; adding the same hash again usually brings fresh links at once
    │   ├── Evicted               the content left the provider; it needs a real download
    │   └── WrongContent          the link leads to something else than the file it belongs to
    ├── StaleUrl                  a download URL expired or was revoked: unrestrict again, once
    ├── RangeRefused              the range lies beyond the end of the file
    ├── Infringing                the provider refuses this release for good
    ├── Rejected                  our request was wrong, or can never be granted
    │   ├── AlreadyDone           asked for twice; success to most callers
    │   ├── AlreadyActive         this hash is being downloaded already: adopt that torrent
    │   └── Disabled              the endpoint was switched off; never call it again
    └── StoreError                debrid.db cannot be read or written

What an answer means, and what is done about it, stands in `reactions.TABLE`. Each class here has the reaction
that is usual for it, for errors that no answer of the provider caused.
"""

from enum import Enum
from typing import ClassVar


class Reaction(Enum):
    """What is done about an error. Nothing but REPAIR and REFUSED is ever held against a file."""

    REPEAT = "repeated after growing pauses, as long as tries and time last"
    LATER = "told at once, since it will not pass within seconds; a busy hoster's file is not asked for within the hour"
    SLOW_DOWN = "all calls pause, longer each time, at least two minutes once it happens repeatedly; then repeated"
    REST = "no link is unrestricted for minutes, longer each time"
    MIDNIGHT = "calls of this kind rest until midnight in Paris, when the provider's day ends"
    QUEUE = "what was to be added waits for a free slot"
    TELL = "calls of this kind (of every kind, if the token is refused) rest for seconds; a person must act"
    RESYNC = "the torrent or download is taken for gone; fine when it was to be deleted"
    REPAIR = "the torrent is added again, a few times at most and ever more rarely"
    REFUSED = "believed for this file or release; asked again hours or a day later, never repaired"
    RENEW = "the link is unrestricted again, once; if the new URL is refused too: as REPAIR"
    FAIL = "told at once: the same request would fail again"
    DONE = "taken for success"
    ADOPT = "the torrent that is there already is waited for"
    NEVER = "the endpoint is not called again before the next start"


class DebridError(Exception):
    """Anything the provider, the way to it, or our record of it can answer instead of success.

    `status` is the HTTP status (0: none), `code` Real-Debrid's error_code (None: not sent), `slug` its
    short name, `retry_after` the seconds to wait as far as anybody said so.
    """

    is_temporary: ClassVar[bool] = False
    usual: ClassVar[Reaction] = Reaction.FAIL

    def __init__(
        self,
        text: str,
        *,
        status: int = 0,
        code: int | None = None,
        slug: str = "",
        retry_after: float | None = None,
        reaction: Reaction | None = None,
    ) -> None:
        super().__init__(text)
        self.reaction = reaction or self.usual
        self.status = status
        self.code = code
        self.slug = slug
        self.retry_after = retry_after


class TemporaryError(DebridError):
    """Passes by itself."""

    usual = Reaction.LATER
    is_temporary = True


class Unavailable(TemporaryError):
    """Outage, gateway page, internal error or broken connection."""

    usual = Reaction.REPEAT


class TimedOut(Unavailable):
    """No answer within the deadline."""


class WrongShape(Unavailable):
    """An answer of the wrong form."""


class Interrupted(Unavailable):
    """Another thread ended the call: it wants it to be over."""

    usual = Reaction.FAIL


class RateLimited(TemporaryError):
    """Too many requests."""

    usual = Reaction.SLOW_DOWN


class AccountPaused(TemporaryError):
    """The account used up something that grows back."""


class FairUse(AccountPaused):
    """Too many unrestricts, or the fair-use cap."""

    usual = Reaction.REST


class TrafficExhausted(AccountPaused):
    """The bytes of the day are gone; they come back at midnight in Paris."""

    usual = Reaction.MIDNIGHT


class HosterBusy(TemporaryError):
    """A hoster's maintenance or daily limit."""


class SlotsFull(TemporaryError):
    """Too many active torrents."""

    usual = Reaction.QUEUE


class AuthError(DebridError):
    """Token or account refused."""

    usual = Reaction.TELL


class NotFound(DebridError):
    """No torrent or download has this id."""

    usual = Reaction.RESYNC


class ContentGone(DebridError):
    """The link leads nowhere any more."""

    usual = Reaction.REPAIR


class DeadLink(ContentGone):
    """The link aged out."""


class Evicted(ContentGone):
    """The content left the provider."""


class WrongContent(ContentGone):
    """The link leads to something else."""


class StaleUrl(DebridError):
    """The download URL expired or was revoked."""

    usual = Reaction.RENEW


class RangeRefused(DebridError):
    """The range lies beyond the end of the file."""


class Infringing(DebridError):
    """The provider refuses this release."""

    usual = Reaction.REFUSED


class Rejected(DebridError):
    """Our request was wrong, or can never be granted."""


class AlreadyDone(Rejected):
    """The action was done before."""

    usual = Reaction.DONE


class AlreadyActive(Rejected):
    """This hash is being downloaded already."""

    usual = Reaction.ADOPT


class Disabled(Rejected):
    """The endpoint was switched off."""

    usual = Reaction.NEVER


class StoreError(DebridError):
    """debrid.db cannot be read or written."""
