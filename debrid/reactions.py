"""Which error each answer means, and what is done about it: the one table of both.

Its source is the official list of error codes together with what clients in the field observed. An answer of the
API is matched by code first, then by HTTP status, last by slug; one of the download servers by the header
X-Error first, then by status. Whoever meets an error (client, library, repair) acts by its `reaction` alone:

    client     REPEAT SLOW_DOWN NEVER DONE      in one call; what follows a call that was refused
    holds      REST MIDNIGHT TELL               for all calls, with a time at which they go on
    library    REPEAT RENEW LATER REFUSED REPAIR RESYNC     for one file
    repair     QUEUE ADOPT REFUSED, and the others as "not now", which costs no try

What has no answer, a broken connection, a body that ends early or no bytes in time, is REPEAT too, and a read
goes on where it broke off.
"""

from typing import NamedTuple

from debrid import errors
from debrid.errors import DebridError, Reaction


class Row(NamedTuple):
    """One line of the table: any of the three that is given is this error, and has this reaction.

    `meaning` is for people.
    """

    error: type[DebridError]
    reaction: Reaction
    meaning: str
    code: int | None = None
    status: int | None = None
    slug: str = ""


TABLE: tuple[Row, ...] = (
    Row(errors.Unavailable, Reaction.REPEAT, "internal error", code=-1, slug="internal_error"),
    Row(errors.Rejected, Reaction.FAIL, "a parameter is missing", code=1, slug="parameter_missing"),
    Row(errors.Rejected, Reaction.FAIL, "a parameter has a bad value", code=2, slug="parameter_invalid_value"),
    Row(errors.Rejected, Reaction.FAIL, "a parameter has a bad value", slug="wrong_parameter"),
    Row(errors.Rejected, Reaction.FAIL, "unknown method", code=3),
    Row(errors.Rejected, Reaction.FAIL, "method not allowed", code=4, status=405),
    Row(errors.RateLimited, Reaction.SLOW_DOWN, "asked to slow down", code=5, slug="slow_down"),
    Row(errors.Unavailable, Reaction.LATER, "resource unreachable", code=6),
    Row(errors.NotFound, Reaction.RESYNC, "not found", code=7, slug="unknown_ressource"),
    Row(errors.AuthError, Reaction.TELL, "the token is refused", code=8, status=401, slug="bad_token"),
    Row(errors.AuthError, Reaction.TELL, "permission denied (has premium ended?)", code=9, slug="permission_denied"),
    Row(errors.AuthError, Reaction.TELL, "two-factor authentication needed", code=10, slug="twofactor_auth_needed"),
    Row(errors.AuthError, Reaction.TELL, "two-factor authentication pending", code=11),
    Row(errors.AuthError, Reaction.TELL, "invalid login", code=12),
    Row(errors.AuthError, Reaction.TELL, "invalid password", code=13),
    Row(errors.AuthError, Reaction.TELL, "the account is locked", code=14, slug="account_locked"),
    Row(errors.AuthError, Reaction.TELL, "the account is not activated", code=15),
    Row(errors.ContentGone, Reaction.REFUSED, "the hoster is not supported", code=16, slug="hoster_unsupported"),
    Row(errors.HosterBusy, Reaction.LATER, "the hoster is in maintenance", code=17, slug="hoster_maintenance"),
    Row(
        errors.HosterBusy,
        Reaction.LATER,
        "the hoster's limit of the day is reached",
        code=18,
        slug="hoster_limit_reached",
    ),
    Row(errors.DeadLink, Reaction.REPAIR, "the link is dead", code=19, slug="hoster_unavailable"),
    Row(errors.AuthError, Reaction.TELL, "not for free accounts (has premium ended?)", code=20, slug="hoster_not_free"),
    Row(
        errors.SlotsFull,
        Reaction.QUEUE,
        "too many active torrents",
        code=21,
        status=509,
        slug="too_many_active_downloads",
    ),
    Row(
        errors.AuthError,
        Reaction.TELL,
        "this IP address is not allowed (VPN or data centre?)",
        code=22,
        slug="ip_not_allowed",
    ),
    Row(
        errors.TrafficExhausted,
        Reaction.MIDNIGHT,
        "the traffic of the day is used up",
        code=23,
        slug="traffic_exhausted",
    ),
    Row(errors.Evicted, Reaction.REPAIR, "the content is no longer stored", code=24, slug="unavailable_file"),
    Row(errors.Unavailable, Reaction.REPEAT, "service unavailable", code=25, slug="service_unavailable"),
    Row(errors.Rejected, Reaction.FAIL, "the upload is too big", code=26, status=413),
    Row(errors.Rejected, Reaction.FAIL, "the upload failed", code=27, slug="upload_error"),
    Row(errors.Rejected, Reaction.REFUSED, "the file is not allowed", code=28),
    Row(errors.Rejected, Reaction.FAIL, "the torrent is too big", code=29, slug="torrent_too_big"),
    Row(errors.Rejected, Reaction.FAIL, "the torrent file is invalid", code=30, slug="torrent_file_invalid"),
    Row(errors.AlreadyDone, Reaction.DONE, "already done", code=31, status=202, slug="action_already_done"),
    Row(errors.Rejected, Reaction.FAIL, "bad image resolution", code=32),
    Row(errors.AlreadyActive, Reaction.ADOPT, "this torrent is already active", code=33, slug="torrent_already_active"),
    Row(errors.RateLimited, Reaction.SLOW_DOWN, "too many requests", code=34, status=429, slug="too_many_requests"),
    Row(errors.Infringing, Reaction.REFUSED, "refused as infringing", code=35, status=451, slug="infringing_file"),
    Row(errors.FairUse, Reaction.REST, "the fair-use limit is reached", code=36, slug="fair_usage_limit"),
    Row(errors.Disabled, Reaction.NEVER, "the endpoint is disabled", code=37, slug="disabled_endpoint"),
)

# The download servers name the reason in the header X-Error. Their hoster_unavailable is a passing fault of a
# back end, unlike code 19 of the API.
CDN_TABLE: tuple[Row, ...] = (
    Row(errors.StaleUrl, Reaction.RENEW, "the download URL was revoked", slug="invalid_download_code"),
    Row(errors.StaleUrl, Reaction.RENEW, "the download URL was not found", slug="link_not_found"),
    Row(errors.StaleUrl, Reaction.RENEW, "the download URL expired", slug="link_expired"),
    Row(errors.StaleUrl, Reaction.RENEW, "the file is unavailable", slug="file_unavailable"),
    Row(errors.StaleUrl, Reaction.RENEW, "the file is not available", slug="file_not_available"),
    Row(errors.TrafficExhausted, Reaction.MIDNIGHT, "the traffic of the day is used up", slug="bytes_limit_reached"),
    Row(errors.Unavailable, Reaction.REPEAT, "a back end timed out", slug="read_pxy_timeout"),
    Row(errors.Unavailable, Reaction.REPEAT, "a back end timed out", slug="read_timeout"),
    Row(errors.Unavailable, Reaction.REPEAT, "a back end timed out", slug="hoster_timeout"),
    Row(errors.Unavailable, Reaction.REPEAT, "a back end is unavailable", slug="hoster_unavailable"),
    Row(errors.StaleUrl, Reaction.RENEW, "the server refuses the URL", status=403),
    Row(errors.StaleUrl, Reaction.RENEW, "the download URL is gone", status=404),
    Row(errors.StaleUrl, Reaction.RENEW, "the download URL is gone", status=410),
    Row(errors.RangeRefused, Reaction.FAIL, "the range lies beyond the end of the file", status=416),
    Row(errors.StaleUrl, Reaction.RENEW, "the server is unavailable", status=503),
)

_CDN_OTHER = Row(errors.Unavailable, Reaction.REPEAT, "refused by the download server")

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
    row = row or _by_class_of(status, code, from_api=code is not None or bool(slug))
    hint = f" ({detail})" if detail else ""
    text = f"{what}: {row.meaning}{hint} [{_origin(status, code, slug)}]"
    return row.error(text, status=status, code=code, slug=slug, retry_after=retry_after, reaction=row.reaction)


def cdn_error(what: str, status: int, slug: str = "") -> DebridError:
    """The error a download server's answer means; anything not known counts as passing."""
    row = _CDN_BY_SLUG.get(slug) or _CDN_BY_STATUS.get(status) or _CDN_OTHER
    text = f"{what}: {row.meaning} [{_origin(status, None, slug)}]"
    return row.error(text, status=status, slug=slug, reaction=row.reaction)


def _by_class_of(status: int, code: int | None, *, from_api: bool) -> Row:
    if not from_api:  # a gateway's page: even its 404 or 403 says nothing about the account
        return Row(errors.Unavailable, Reaction.REPEAT, "no answer of the API itself")
    if status == 404:
        return Row(errors.NotFound, Reaction.RESYNC, "not found")
    if status == 403:
        return Row(errors.AuthError, Reaction.TELL, "refused")
    if 400 <= status < 500:
        return Row(errors.Rejected, Reaction.FAIL, "refused")
    # A 503 that carries a code is the application's considered answer.
    return Row(errors.Unavailable, Reaction.REPEAT if code is None else Reaction.LATER, "unavailable")


def _origin(status: int, code: int | None, slug: str) -> str:
    parts = [f"HTTP {status}", f"code {code}" if code is not None else "", slug]
    return ", ".join(part for part in parts if part)
