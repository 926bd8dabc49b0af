"""Checks of the account at the provider and of the way there. The token goes into one header, and into no text."""

import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import requests

from cli.doctoring.finding import Case, Finding
from debrid.client import API_URL, Client
from debrid.errors import AuthError, DebridError
from debrid.transport import Budget

_SECONDS = 8.0
# Seconds by which clocks may differ: dates of additions and of URLs are compared with ours.
_CLOCK = 60.0
_SOON = 7 * 86400
_APITOKEN = "https://real-debrid.com/apitoken"
_PREMIUM = "https://real-debrid.com/premium"
# By the provider's codes, which `debrid.reactions` lists.
_REMEDIES = {
    8: f"copy the token from {_APITOKEN} into token in [debrid], then mount again",
    9: f"see whether premium has ended: {_PREMIUM}",
    10: "finish the two-factor login at https://real-debrid.com",
    11: "finish the two-factor login at https://real-debrid.com",
    14: "the account is locked: write to the support of Real-Debrid",
    20: f"premium has ended: renew it at {_PREMIUM}",
    22: "leave through an address that is not of a VPN or a data centre, or ask Real-Debrid to allow this one",
}


def reach(case: Case) -> Iterator[Finding]:
    """The API answers, and its clock agrees with ours."""
    if case.config.debrid.token is None:
        return
    url = f"{case.config.debrid.api_url}/time"
    try:
        # Without the token: this call needs none.
        answer = requests.get(url, timeout=_SECONDS, allow_redirects=False)
    except requests.RequestException as error:
        yield _unreachable("api", url, type(error).__name__)
        return
    if answer.status_code != 200:
        yield _unreachable("api", url, f"HTTP {answer.status_code}")
        return
    yield Finding("api", "ok", f"{urlsplit(url).hostname} answers in {answer.elapsed.total_seconds() * 1000:.0f} ms")
    yield _clock(answer.headers.get("Date", ""))


def _unreachable(what: str, url: str, cause: str) -> Finding:
    place = urlsplit(url)
    remedy = "see what the way there says, and whether https://real-debrid.com opens in a browser"
    if not url.startswith(API_URL) and what == "api":
        remedy = f'see whether it runs there, or write api_url = "{API_URL}" in [debrid]'
    command = f"curl -sS -o /dev/null -w '%{{http_code}}\\n' {place.scheme}://{place.netloc}{place.path}"
    return Finding(what, "problem", f"{place.netloc} cannot be reached: {cause}", remedy, command)


def _clock(date: str) -> Finding:
    try:
        ahead = time.time() - parsedate_to_datetime(date).timestamp()
    except ValueError:
        return Finding("clock", "ok", "the provider does not tell its time")
    if abs(ahead) <= _CLOCK:
        return Finding("clock", "ok", f"within {_CLOCK:.0f} s of the provider's")
    word = "ahead of" if ahead > 0 else "behind"
    found = f"{abs(ahead):.0f} s {word} the provider's, so expiry of URLs is misjudged"
    return Finding("clock", "note", found, "let the clock be set by the network, as root", "timedatectl set-ntp true")


def token(case: Case) -> Iterator[Finding]:
    """The account takes the token, and is premium for a while."""
    if case.config.debrid.token is None:
        yield Finding("account", "ok", "no [debrid] token: the drives are mounted alone")
        return
    try:
        with _client(case) as client:
            user = client.user(Budget.of(_SECONDS))
    except AuthError as error:
        remedy = _REMEDIES.get(error.code or 0, _REMEDIES[8])
        yield Finding("account", "problem", str(error), remedy)
    except DebridError as error:
        remedy = "see the check of the api; it may pass by itself"
        yield Finding("account", "note", f"cannot be asked: {error}", remedy, case.command("doctor"))
    else:
        yield _premium(user.type, user.premium_seconds)


def _client(case: Case) -> Client:
    assert case.config.debrid.token is not None
    return Client(case.config.debrid.token.get_secret_value(), case.config.debrid.api_url)


def _premium(kind: str, seconds: int) -> Finding:
    if seconds <= 0 or kind == "free":
        return Finding("account", "problem", "not premium: nothing can be read", _REMEDIES[20])
    left = f"premium for {seconds // 86400} days"
    if seconds < _SOON:
        return Finding("account", "note", left, f"renew it at {_PREMIUM} before nothing can be read any more")
    return Finding("account", "ok", left)


def downloads(case: Case) -> Iterator[Finding]:
    """The server that gave out the newest download can be reached; no file is asked of it."""
    what = "download servers"
    if case.config.debrid.token is None:
        return
    try:
        with _client(case) as client:
            newest = client.downloads(limit=1, budget=Budget.of(_SECONDS))
    except DebridError:
        # The check of the account says it.
        return
    if not newest:
        yield Finding(what, "ok", "none is known before the first download")
        return
    place = urlsplit(newest[0].download)
    root = f"{place.scheme}://{place.netloc}/"
    try:
        requests.head(root, timeout=_SECONDS, allow_redirects=False)
    except requests.RequestException as error:
        yield _unreachable(what, root, type(error).__name__)
    else:
        yield Finding(what, "ok", f"{place.hostname} answers")


def calls(case: Case) -> Iterator[Finding]:
    """Calls of the API that are left, as the running mount counts them, and whether it has to pause."""
    what = "calls"
    remote: dict[str, Any] = dict(case.status["remote"]) if case.status is not None else {}
    if not remote.get("calls"):
        return
    state, reads = remote["calls"], remote["reads"]
    if state["paused_for"]:
        found = f"too many requests: all calls pause for {state['paused_for']:.0f} s"
        remedy = "wait; if it comes back, end other programs that use this token"
        yield Finding(what, "note", found, remedy, f"sleep {state['paused_for'] + 1:.0f}")
    elif reads["reason"]:
        pause = max(0.0, (reads["paused_until"] or 0.0) - time.time())
        remedy = "wait; if it comes back, end other programs that use this account, and see the check of the account"
        yield Finding(what, "note", reads["reason"], remedy, f"sleep {pause + 1:.0f}")
    else:
        left = state["left"]
        found = f"{left['any']} may be made at once, {left['unrestrict']} of them for download URLs"
        yield Finding(what, "ok", found + (f"; {state['waiting']} wait" if state["waiting"] else ""))


CHECKS = (("api", reach), ("account", token), ("download servers", downloads), ("calls", calls))
