"""The REST API of Real-Debrid and the ranged download of its content.

Every call keeps to the shared `Limits`, ends at the deadline of its `Budget`, is repeated only when that
can do no harm, and raises a `DebridError` and nothing else. The token travels in one header, to one host,
and is cut out of every text that leaves here; exceptions of requests never do, because they carry the
request with them.
"""

import itertools
import logging
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Self
from urllib.parse import urlsplit

import requests
from requests.auth import AuthBase

from debrid import errors, models
from debrid.errors import DebridError, Reaction, Unavailable, WrongShape
from debrid.holds import ANY, CDN, UNRESTRICT
from debrid.limits import Limits
from debrid.reactions import cdn_error
from debrid.transport import Answer, Budget, exchange, prepare, read_body

log = logging.getLogger(__name__)

API_URL = "https://api.real-debrid.com/rest/1.0"
PAGE_SIZE = 2500  # the newer limit is 5000, the older one 2500: this one is right for both
_TRIES = 4
_BODY_LIMIT = 256 << 20  # bytes; a listing of 5000 torrents has a few million
_DEFAULT_SECONDS = 60.0
_FALSE_REFUSAL_SECONDS = 30.0  # while throttled, "infringing" has been seen as a mere penalty


@dataclass(frozen=True, slots=True)
class Page:
    """Part of a listing; `total` as the server counts, None if it did not say."""

    items: tuple[models.TorrentItem, ...]
    total: int | None


@dataclass(frozen=True, slots=True)
class Listing:
    """All torrents found, newest first, each id once.

    `complete` is False when the server counted more than it sent, or sent nothing although there was
    something before: then the absence of a torrent says nothing.
    """

    items: tuple[models.TorrentItem, ...]
    complete: bool


class _Bearer(AuthBase):
    """As an auth object, not a session header: requests then never looks for another password in ~/.netrc."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request

    def __repr__(self) -> str:
        return "Bearer(***)"


def _no_auth(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


class Client:
    """Thread-safe. `timeout`: seconds for connecting and between two packets of an answer.

    `session` is used for the API only, and closed with the client; `connections`: idle ones kept per CDN host.
    """

    def __init__(
        self,
        token: str,
        api_url: str = API_URL,
        *,
        limits: Limits | None = None,
        timeout: tuple[float, float] = (5, 30),
        session: requests.Session | None = None,
        page_size: int = PAGE_SIZE,
        connections: int = 256,
    ) -> None:
        self.limits = limits or Limits()
        self._token = token
        self._auth = _Bearer(token)
        self._api_url = api_url.rstrip("/")
        self._timeout = timeout
        self._page_size = page_size
        self._api = prepare(session or requests.Session(), 16)
        self._cdn = prepare(requests.Session(), connections)
        self._last_total = 0
        self._switched_off: dict[str, str] = {}  # endpoints, and how they said so
        self.failures: Counter[str] = Counter()  # calls and ranges that failed, by the name of the error

    def __repr__(self) -> str:
        return f"Client({self._redacted(self._api_url)!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the idle connections. Calls under way are ended through their own Interrupt."""
        self._api.close()
        self._cdn.close()

    # -- the account

    def user(self, budget: Budget | None = None) -> models.User:
        """Whose token it is, and until when it is premium."""
        return models.User.parse(self._json("GET", "/user", budget=budget))

    def time(self, budget: Budget | None = None) -> datetime:
        """The provider's clock with its UTC offset, which its other dates conceal."""
        text = self._call("GET", "/time/iso", budget=budget).text
        try:
            when = datetime.fromisoformat(text.strip().strip('"'))
        except ValueError:
            raise WrongShape(f"GET /time/iso: not a date: {self._redacted(text[:40])!r}") from None
        if when.tzinfo is None:
            raise WrongShape("GET /time/iso: the date has no UTC offset")
        return when

    def active_count(self, budget: Budget | None = None) -> models.ActiveCount:
        """Active torrents and the limit of the account."""
        return models.ActiveCount.parse(self._json("GET", "/torrents/activeCount", kind="info", budget=budget))

    def downloads(self, page: int = 1, limit: int = 100, budget: Budget | None = None) -> tuple[models.Download, ...]:
        """One page (from 1) of the URLs handed out, newest first; empty past the end."""
        rows, _ = self._rows("/downloads", params={"page": page, "limit": limit}, budget=budget)
        return tuple(models.Download.parse(each) for each in rows)

    # -- torrents

    def torrents_page(self, page: int, limit: int, budget: Budget | None = None) -> Page:
        """One page (from 1) of the torrents, newest first; empty past the end. Raises WrongShape for `{}`."""
        rows, total = self._rows("/torrents", kind="list", params={"page": page, "limit": limit}, budget=budget)
        items = tuple(models.TorrentItem.parse(each) for each in rows)
        if items or total:
            self._last_total = max(total or 0, len(items))
        return Page(items, total)

    def torrents_first(self, budget: Budget | None = None) -> Page:
        """The newest torrent and the count: enough to notice most changes in one small call."""
        return self.torrents_page(1, 1, budget)

    def torrents(self, budget: Budget | None = None) -> Listing:
        """All torrents of the account. A page that fails is an error, never a shorter result."""
        budget = budget or Budget.of(_DEFAULT_SECONDS * 5)
        had = self._last_total
        found: dict[str, models.TorrentItem] = {}
        total, steady = self._collect(found, budget)
        if not steady or (total or 0) > len(found):  # rows moved between two pages: look once more
            total, steady = self._collect(found, budget)
        complete = len(found) >= total if total is not None else bool(found) or not had
        return Listing(tuple(found.values()), complete and steady)

    def _collect(self, found: dict[str, models.TorrentItem], budget: Budget) -> tuple[int | None, bool]:
        """Add all pages to `found`; the last total, and whether it stayed the same from page to page."""
        totals: list[int] = []
        for number in itertools.count(1):
            part = self.torrents_page(number, self._page_size, budget)
            found.update((item.id, item) for item in part.items)
            if part.total is not None:
                totals.append(part.total)
            seen = number * self._page_size
            if not part.items or (seen >= totals[-1] if totals else len(part.items) < self._page_size):
                break
        return (totals[-1] if totals else None), len(set(totals)) <= 1

    def torrent(self, torrent_id: str, budget: Budget | None = None) -> models.TorrentInfo:
        """One torrent with its files. Raises NotFound only when the API itself says so."""
        return models.TorrentInfo.parse(self._json("GET", f"/torrents/info/{torrent_id}", kind="info", budget=budget))

    def add_magnet(self, magnet: str, budget: Budget | None = None) -> str:
        """Add a magnet link and return the new torrent id.

        Not repeated after a lost answer, because that would add it twice.
        """
        return self._added("POST", "/torrents/addMagnet", {"magnet": magnet}, budget)

    def add_torrent(self, content: bytes, budget: Budget | None = None) -> str:
        """Add a .torrent file and return the new torrent id; not repeated after a lost answer either."""
        return self._added("PUT", "/torrents/addTorrent", content, budget)

    def select_files(self, torrent_id: str, files: Iterable[int] | None = None, budget: Budget | None = None) -> None:
        """Choose files by id, None: all. A selection made before stands and counts as success."""
        chosen = "all" if files is None else ",".join(map(str, files))
        path = f"/torrents/selectFiles/{torrent_id}"
        self._call("POST", path, kind="change", data={"files": chosen}, budget=budget)

    def delete_torrent(self, torrent_id: str, budget: Budget | None = None) -> None:
        """Remove a torrent from the account, for good; one that is not there any more counts as success."""
        try:
            self._call("DELETE", f"/torrents/delete/{torrent_id}", kind="change", budget=budget)
        except errors.NotFound:
            log.debug("torrent %s was deleted before", torrent_id)

    def unrestrict(self, link: str, budget: Budget | None = None) -> models.Unrestricted:
        """Turn a link into a download URL; always by its short form, the one every account may open.

        Raises ContentGone, Infringing, AccountPaused (and refuses further unrestricts for a while) and the
        rest.
        """
        data = {"link": models.short_link(link)}
        answer = self._json("POST", "/unrestrict/link", kind=UNRESTRICT, data=data, budget=budget)
        return models.Unrestricted.parse(answer)

    def _added(self, method: str, path: str, data: object, budget: Budget | None) -> str:
        answer = self._json(method, path, kind="change", data=data, repeat=False, budget=budget)
        if isinstance(answer, dict) and isinstance(answer.get("id"), str) and answer["id"]:
            return str(answer["id"])
        raise WrongShape(f"{method} {path}: no torrent id in the answer")

    # -- content

    def open_range(
        self,
        url: str,
        offset: int,
        length: int,
        timeout: float,
        *,
        size: int | None = None,
        budget: Budget | None = None,
    ) -> requests.Response:
        """Open bytes [offset, offset + length) of a download URL.

        `size`: bytes of the whole file, checked if given. `timeout`: seconds between two packets.
        The body is not read yet; whoever gets the response closes it.
        Raises StaleUrl, RangeRefused, TrafficExhausted, WrongShape (another range than asked for),
        Unavailable.
        """
        budget = budget or Budget.of(timeout + self._timeout[0])
        self.limits.holds.check(CDN)
        headers = {"Range": f"bytes={offset}-{offset + length - 1}", "Accept-Encoding": "identity"}
        what = f"GET {urlsplit(url).hostname}"  # the rest of the URL is as good as a key to the content
        # The time-out between packets stays with the response for its whole life: never make it tiny.
        times = (min(self._timeout[0], budget.remaining), min(timeout, max(1.0, budget.remaining)))

        def act() -> requests.Response:
            return self._cdn.get(url, headers=headers, stream=True, timeout=times, auth=_no_auth)

        budget.check()
        response: requests.Response | None = None
        try:
            response = exchange(what, budget, act)
            _check_range(what, response, offset, length, size)
        except DebridError as error:
            self._count(error)
            if response is not None:
                response.close()
                budget.interrupt.hold(None)
                self.limits.holds.note(error, CDN)
            raise
        return response

    def _count(self, error: DebridError) -> None:
        if not isinstance(error, errors.Interrupted):  # which is the wish of whoever called
            self.failures[type(error).__name__] += 1

    # -- one call

    def _json(self, method: str, path: str, **options: Any) -> Any:
        answer = self._call(method, path, **options)
        try:
            return answer.json()
        except ValueError:
            raise WrongShape(f"{method} {path}: the answer is no JSON", status=answer.status) from None

    def _rows(self, path: str, **options: Any) -> tuple[list[Any], int | None]:
        answer = self._call("GET", path, **options)
        count = answer.headers.get("X-Total-Count", "")
        total = int(count) if count.isdecimal() else None
        if answer.status == 204:
            return [], total
        try:
            rows = answer.json()
        except ValueError:
            rows = None
        if not isinstance(rows, list):  # `{}` has been seen: a passing fault, by no means an empty account
            raise WrongShape(f"GET {path}: a list was expected", status=answer.status)
        return rows, total

    def _call(
        self,
        method: str,
        path: str,
        *,
        kind: str = ANY,
        params: dict[str, Any] | None = None,
        data: Any = None,
        repeat: bool = True,
        budget: Budget | None = None,
    ) -> Answer:
        budget = budget or Budget.of(_DEFAULT_SECONDS)
        endpoint = "/".join(path.split("/")[:3])
        if gone := self._switched_off.get(endpoint):
            raise errors.Disabled(gone)
        attempt = 0
        while True:
            attempt += 1
            self.limits.wait(kind, budget.deadline, urgent=budget.urgent, sleep=budget.sleep)
            try:
                return self._once(method, path, params, data, budget)
            except DebridError as error:
                failure = self._believed(error)
                self._count(failure)
            if failure.reaction is Reaction.SLOW_DOWN:  # refused, so not done: may be repeated whatever it is
                self._throttled(failure)
                if attempt < _TRIES:
                    continue
            elif failure.reaction is Reaction.REPEAT:
                if repeat and attempt < _TRIES:
                    budget.back_off(attempt)
                    if budget.remaining:
                        continue
            elif failure.reaction is Reaction.NEVER:
                self._switched_off[endpoint] = str(failure)
            else:
                self.limits.holds.note(failure, kind)
            raise failure

    def _believed(self, error: DebridError) -> DebridError:
        if isinstance(error, errors.Infringing) and self.limits.refused_within(_FALSE_REFUSAL_SECONDS):
            text = f"{error}, perhaps only because of the pace"
            return Unavailable(text, status=error.status, reaction=Reaction.LATER)
        return error

    def _once(self, method: str, path: str, params: dict[str, Any] | None, data: Any, budget: Budget) -> Answer:
        what = f"{method} {path}"
        budget.check()
        times = (min(self._timeout[0], budget.remaining), min(self._timeout[1], budget.remaining))

        def act() -> Answer:
            with self._api.request(
                method,
                self._api_url + path,
                params=params,
                data=data,
                timeout=times,
                auth=self._auth,
                stream=True,
                allow_redirects=False,  # the token goes to no other host
            ) as response:
                return Answer(response.status_code, read_body(response, budget, _BODY_LIMIT), response.headers)

        try:
            answer = exchange(what, budget, act)
        finally:
            budget.interrupt.hold(None)
        if 200 <= answer.status < 300:
            return answer
        if answer.status < 400:
            raise Unavailable(f"{what}: the server sends us elsewhere", status=answer.status)
        raise replace(answer, body=answer.body.replace(self._token.encode(), b"***")).error(what)

    def _throttled(self, error: DebridError) -> None:
        at_least = self.limits.pauses.breaker if error.code == 5 else 0.0  # "slow down" means it
        pause = self.limits.refused(error.retry_after, at_least=at_least)
        log.warning("%s; all calls pause for %.0f s", error, pause)

    def _redacted(self, text: str) -> str:
        text = text.replace(self._token, "***") if self._token else text
        return re.sub(r"(auth_token=)[^&\s'\"]+", r"\1***", text)


def _check_range(what: str, response: requests.Response, offset: int, length: int, size: int | None) -> None:
    status, sent = response.status_code, response.headers.get("Content-Range", "")
    if status in (200, 206) and response.headers.get("Content-Encoding", "identity") != "identity":
        raise WrongShape(f"{what}: the content came encoded")
    if status == 206:
        match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", sent.strip())
        if not match or (int(match[1]), int(match[2])) != (offset, offset + length - 1):
            raise WrongShape(f"{what}: {offset}+{length} was asked for, not {sent!r}")
        if size is not None and match[3] not in ("*", str(size)):
            raise errors.RangeRefused(f"{what}: the file has {match[3]} bytes there, not {size}", status=206)
    elif status == 200:
        if offset or response.headers.get("Content-Length") != str(length):
            raise WrongShape(f"{what}: the whole file came where a range was asked for")
    else:
        raise cdn_error(what, status, response.headers.get("X-Error", "").strip())
