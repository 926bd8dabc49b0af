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

`TABLE` is the only place where numbers and slugs are given a meaning. Its source is the official list of
error codes together with what clients in the field observed; an answer is matched by code first, then by
HTTP status, last by slug.
"""

from typing import ClassVar, NamedTuple


class DebridError(Exception):
    """Anything the provider, the way to it, or our record of it can answer instead of success.

    `status` is the HTTP status (0: none), `code` Real-Debrid's error_code (None: not sent), `slug` its
    short name, `retry_after` the seconds to wait as far as anybody said so.
    """

    is_temporary: ClassVar[bool] = False

    def __init__(
        self,
        text: str,
        *,
        status: int = 0,
        code: int | None = None,
        slug: str = "",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(text)
        self.status = status
        self.code = code
        self.slug = slug
        self.retry_after = retry_after


class TemporaryError(DebridError):
    """Passes by itself."""

    is_temporary = True


class Unavailable(TemporaryError):
    """Outage, gateway page, internal error or broken connection."""

    @property
    def worth_retrying(self) -> bool:
        """True if the same call may succeed in a moment.

        A 503 that carries a code is the application's considered answer, so only internal error and
        service unavailable among the codes are.
        """
        return self.code in (None, -1, 25)


class TimedOut(Unavailable):
    """No answer within the deadline."""


class WrongShape(Unavailable):
    """An answer of the wrong form."""


class Interrupted(Unavailable):
    """Another thread ended the call."""

    @property
    def worth_retrying(self) -> bool:
        """Never: somebody wants the call to be over."""
        return False


class RateLimited(TemporaryError):
    """Too many requests."""


class AccountPaused(TemporaryError):
    """The account used up something that grows back."""


class FairUse(AccountPaused):
    """Too many unrestricts, or the fair-use cap."""


class TrafficExhausted(AccountPaused):
    """The bytes of the day are gone; they come back at midnight in Paris."""


class HosterBusy(TemporaryError):
    """A hoster's maintenance or daily limit."""


class SlotsFull(TemporaryError):
    """Too many active torrents."""


class AuthError(DebridError):
    """Token or account refused."""


class NotFound(DebridError):
    """No torrent or download has this id."""


class ContentGone(DebridError):
    """The link leads nowhere any more."""


class DeadLink(ContentGone):
    """The link aged out."""


class Evicted(ContentGone):
    """The content left the provider."""


class WrongContent(ContentGone):
    """The link leads to something else."""


class StaleUrl(DebridError):
    """The download URL expired or was revoked."""


class RangeRefused(DebridError):
    """The range lies beyond the end of the file."""


class Infringing(DebridError):
    """The provider refuses this release."""


class Rejected(DebridError):
    """Our request was wrong, or can never be granted."""


class AlreadyDone(Rejected):
    """The action was done before."""


class AlreadyActive(Rejected):
    """This hash is being downloaded already."""


class Disabled(Rejected):
    """The endpoint was switched off."""


class StoreError(DebridError):
    """debrid.db cannot be read or written."""


class Row(NamedTuple):
    """One line of the table: any of the three that is given leads to `error`; `meaning` is for people."""

    error: type[DebridError]
    meaning: str
    code: int | None = None
    status: int | None = None
    slug: str = ""


TABLE: tuple[Row, ...] = (
    Row(Unavailable, "internal error", code=-1, slug="internal_error"),
    Row(Rejected, "a parameter is missing", code=1, slug="parameter_missing"),
    Row(Rejected, "a parameter has a bad value", code=2, slug="parameter_invalid_value"),
    Row(Rejected, "a parameter has a bad value", slug="wrong_parameter"),
    Row(Rejected, "unknown method", code=3),
    Row(Rejected, "method not allowed", code=4, status=405),
    Row(RateLimited, "asked to slow down", code=5, slug="slow_down"),
    Row(Unavailable, "resource unreachable", code=6),
    Row(NotFound, "not found", code=7, slug="unknown_ressource"),
    Row(AuthError, "the token is refused", code=8, status=401, slug="bad_token"),
    Row(AuthError, "permission denied (has premium ended?)", code=9, slug="permission_denied"),
    Row(AuthError, "two-factor authentication needed", code=10, slug="twofactor_auth_needed"),
    Row(AuthError, "two-factor authentication pending", code=11),
    Row(AuthError, "invalid login", code=12),
    Row(AuthError, "invalid password", code=13),
    Row(AuthError, "the account is locked", code=14, slug="account_locked"),
    Row(AuthError, "the account is not activated", code=15),
    Row(ContentGone, "the hoster is not supported", code=16, slug="hoster_unsupported"),
    Row(HosterBusy, "the hoster is in maintenance", code=17, slug="hoster_maintenance"),
    Row(HosterBusy, "the hoster's limit of the day is reached", code=18, slug="hoster_limit_reached"),
    Row(DeadLink, "the link is dead", code=19, slug="hoster_unavailable"),
    Row(AuthError, "not for free accounts (has premium ended?)", code=20, slug="hoster_not_free"),
    Row(SlotsFull, "too many active torrents", code=21, status=509, slug="too_many_active_downloads"),
    Row(AuthError, "this IP address is not allowed (VPN or data centre?)", code=22, slug="ip_not_allowed"),
    Row(TrafficExhausted, "the traffic of the day is used up", code=23, slug="traffic_exhausted"),
    Row(Evicted, "the content is no longer stored", code=24, slug="unavailable_file"),
    Row(Unavailable, "service unavailable", code=25, slug="service_unavailable"),
    Row(Rejected, "the upload is too big", code=26, status=413),
    Row(Rejected, "the upload failed", code=27, slug="upload_error"),
    Row(Rejected, "the file is not allowed", code=28),
    Row(Rejected, "the torrent is too big", code=29, slug="torrent_too_big"),
    Row(Rejected, "the torrent file is invalid", code=30, slug="torrent_file_invalid"),
    Row(AlreadyDone, "already done", code=31, status=202, slug="action_already_done"),
    Row(Rejected, "bad image resolution", code=32),
    Row(AlreadyActive, "this torrent is already active", code=33, slug="torrent_already_active"),
    Row(RateLimited, "too many requests", code=34, status=429, slug="too_many_requests"),
    Row(Infringing, "refused as infringing", code=35, status=451, slug="infringing_file"),
    Row(FairUse, "the fair-use limit is reached", code=36, slug="fair_usage_limit"),
    Row(Disabled, "the endpoint is disabled", code=37, slug="disabled_endpoint"),
)

# The download servers name the reason in the header X-Error. Their hoster_unavailable is a passing fault of a
# back end, unlike code 19 of the API.
CDN_TABLE: tuple[Row, ...] = (
    Row(StaleUrl, "the download URL was revoked", slug="invalid_download_code"),
    Row(StaleUrl, "the download URL was not found", slug="link_not_found"),
    Row(StaleUrl, "the download URL expired", slug="link_expired"),
    Row(StaleUrl, "the file is unavailable", slug="file_unavailable"),
    Row(StaleUrl, "the file is not available", slug="file_not_available"),
    Row(TrafficExhausted, "the traffic of the day is used up", slug="bytes_limit_reached"),
    Row(Unavailable, "a back end timed out", slug="read_pxy_timeout"),
    Row(Unavailable, "a back end timed out", slug="read_timeout"),
    Row(Unavailable, "a back end timed out", slug="hoster_timeout"),
    Row(Unavailable, "a back end is unavailable", slug="hoster_unavailable"),
    Row(StaleUrl, "the server refuses the URL", status=403),
    Row(StaleUrl, "the download URL is gone", status=404),
    Row(StaleUrl, "the download URL is gone", status=410),
    Row(RangeRefused, "the range lies beyond the end of the file", status=416),
    Row(StaleUrl, "the server is unavailable", status=503),
)

_BY_CODE = {row.code: row for row in TABLE if row.code is not None}
_BY_STATUS = {row.status: row for row in TABLE if row.status is not None}
_BY_SLUG = {row.slug: row for row in TABLE if row.slug}
_CDN_BY_SLUG = {row.slug: row for row in CDN_TABLE if row.slug}
_CDN_BY_STATUS = {row.status: row for row in CDN_TABLE if row.status is not None}


def api_error(
    what: str,
    status: int,
    code: int | None = None,
    slug: str = "",
    *,
    detail: str = "",
    retry_after: float | None = None,
) -> DebridError:
    """The error a refused API call means.

    `what` names the call; a body that was no JSON has neither code nor slug.
    """
    row = (_BY_CODE.get(code) if code is not None else None) or _BY_STATUS.get(status) or _BY_SLUG.get(slug)
    row = row or Row(*_by_class_of(status, from_api=code is not None or bool(slug)))
    hint = f" ({detail})" if detail else ""
    text = f"{what}: {row.meaning}{hint} [{_origin(status, code, slug)}]"
    return row.error(text, status=status, code=code, slug=slug, retry_after=retry_after)


def cdn_error(what: str, status: int, slug: str = "") -> DebridError:
    """The error a download server's answer means; anything not known counts as passing."""
    row = _CDN_BY_SLUG.get(slug) or _CDN_BY_STATUS.get(status) or Row(Unavailable, "refused by the download server")
    return row.error(f"{what}: {row.meaning} [{_origin(status, None, slug)}]", status=status, slug=slug)


def _by_class_of(status: int, *, from_api: bool) -> tuple[type[DebridError], str]:
    if not from_api:  # a gateway's page: even its 404 or 403 says nothing about the account
        return Unavailable, "no answer of the API itself"
    if status == 404:
        return NotFound, "not found"
    if status == 403:
        return AuthError, "refused"
    return (Rejected, "refused") if 400 <= status < 500 else (Unavailable, "unavailable")


def _origin(status: int, code: int | None, slug: str) -> str:
    parts = [f"HTTP {status}", f"code {code}" if code is not None else "", slug]
    return ", ".join(part for part in parts if part)
