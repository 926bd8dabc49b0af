"""The client over real HTTP: answers, errors, retries, listings, secrets and ranges."""

import contextlib
import errno
import logging
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from debrid import errors
from debrid.client import Client
from debrid.errors import DebridError, RateLimited, Unavailable, WrongShape
from debrid.limits import Limits
from debrid.reactions import api_error, cdn_error
from debrid.simulator import Simulator
from debrid.transport import Answer, Budget, Interrupt, exchange

pytestmark = pytest.mark.usefixtures("short_pauses", "no_threads_left")

TOKEN = "SECRETTOKEN0123456789"
DATA = bytes(range(256)) * 400
HASH = "d" * 40


# -- the error table

API_ROWS = [
    (-1, 503, "internal_error", errors.Unavailable),
    (1, 400, "parameter_missing", errors.Rejected),
    (1, 404, "parameter_missing", errors.Rejected),
    (2, 400, "parameter_invalid_value", errors.Rejected),
    (2, 404, "wrong_parameter", errors.Rejected),
    (3, 404, "", errors.Rejected),
    (4, 405, "", errors.Rejected),
    (5, 429, "slow_down", errors.RateLimited),
    (6, 503, "", errors.Unavailable),
    (7, 404, "unknown_ressource", errors.NotFound),
    (8, 401, "bad_token", errors.AuthError),
    (9, 403, "permission_denied", errors.AuthError),
    (10, 403, "twofactor_auth_needed", errors.AuthError),
    (11, 403, "", errors.AuthError),
    (12, 403, "", errors.AuthError),
    (13, 403, "", errors.AuthError),
    (14, 403, "account_locked", errors.AuthError),
    (15, 403, "", errors.AuthError),
    (16, 503, "hoster_unsupported", errors.ContentGone),
    (17, 503, "hoster_maintenance", errors.HosterBusy),
    (18, 503, "hoster_limit_reached", errors.HosterBusy),
    (19, 503, "hoster_unavailable", errors.DeadLink),
    (20, 503, "hoster_not_free", errors.AuthError),
    (21, 509, "too_many_active_downloads", errors.SlotsFull),
    (22, 403, "ip_not_allowed", errors.AuthError),
    (23, 503, "traffic_exhausted", errors.TrafficExhausted),
    (24, 503, "unavailable_file", errors.Evicted),
    (24, 404, "unavailable_file", errors.Evicted),
    (25, 503, "service_unavailable", errors.Unavailable),
    (26, 400, "", errors.Rejected),
    (27, 503, "upload_error", errors.Rejected),
    (28, 403, "", errors.Rejected),
    (29, 400, "torrent_too_big", errors.Rejected),
    (30, 400, "torrent_file_invalid", errors.Rejected),
    (31, 202, "action_already_done", errors.AlreadyDone),
    (32, 400, "", errors.Rejected),
    (33, 400, "torrent_already_active", errors.AlreadyActive),
    (34, 429, "too_many_requests", errors.RateLimited),
    (34, 200, "too_many_requests", errors.RateLimited),
    (35, 451, "infringing_file", errors.Infringing),
    (35, 403, "infringing_file", errors.Infringing),
    (36, 429, "fair_usage_limit", errors.FairUse),
    (37, 403, "disabled_endpoint", errors.Disabled),
]


@pytest.mark.parametrize(("code", "status", "slug", "kind"), API_ROWS)
def test_each_code(code: int, status: int, slug: str, kind: type[DebridError]) -> None:
    error = api_error("GET /x", status, code, slug)
    assert type(error) is kind
    assert str(error).startswith("GET /x: ") and f"code {code}" in str(error)


@pytest.mark.parametrize(
    ("status", "slug", "kind"),
    [
        (401, "", errors.AuthError),
        (429, "", errors.RateLimited),
        (451, "", errors.Infringing),
        (509, "", errors.SlotsFull),
        (503, "hoster_unavailable", errors.DeadLink),
        (403, "infringing_file", errors.Infringing),
        (404, "something_new", errors.NotFound),
        (403, "something_new", errors.AuthError),
        (400, "something_new", errors.Rejected),
        (500, "something_new", errors.Unavailable),
        (404, "", errors.Unavailable),  # a gateway's page
        (403, "", errors.Unavailable),
        (500, "", errors.Unavailable),
        (502, "", errors.Unavailable),
        (504, "", errors.Unavailable),
    ],
)
def test_without_a_code_the_status_counts_then_the_slug(status: int, slug: str, kind: type[DebridError]) -> None:
    assert type(api_error("x", status, None, slug)) is kind


@pytest.mark.parametrize(
    ("status", "slug", "kind"),
    [
        (404, "invalid_download_code", errors.StaleUrl),
        (404, "link_not_found", errors.StaleUrl),
        (404, "link_expired", errors.StaleUrl),
        (404, "file_unavailable", errors.StaleUrl),
        (403, "", errors.StaleUrl),
        (404, "", errors.StaleUrl),
        (410, "", errors.StaleUrl),
        (503, "", errors.StaleUrl),
        (503, "bytes_limit_reached", errors.TrafficExhausted),
        (509, "bytes_limit_reached", errors.TrafficExhausted),
        (503, "read_pxy_timeout", errors.Unavailable),
        (503, "hoster_unavailable", errors.Unavailable),
        (416, "", errors.RangeRefused),
        (429, "too_many_connections", errors.Unavailable),
        (500, "never_heard_of", errors.Unavailable),
    ],
)
def test_each_answer_of_the_download_servers(status: int, slug: str, kind: type[DebridError]) -> None:
    assert type(cdn_error("x", status, slug)) is kind


def test_what_passes_by_itself_is_marked() -> None:
    assert api_error("x", 429, 34).is_temporary and api_error("x", 503, 36).is_temporary
    assert not api_error("x", 503, 19).is_temporary and not api_error("x", 401, 8).is_temporary


@pytest.mark.parametrize(
    "body", [b"", b"<html>504</html>", b"null", b"[1]", b'{"error": 5, "error_code": "x"}', b"\xff\xfe"]
)
def test_error_bodies_may_be_anything(body: bytes) -> None:
    assert type(Answer(503, body, {}).error("x")) is Unavailable


@pytest.mark.parametrize(
    ("header", "seconds"), [("30", 30.0), ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0), ("soon", None), ("", None)]
)
def test_retry_after(header: str, seconds: float | None) -> None:
    assert Answer(429, b"", {"Retry-After": header}).error("x").retry_after == seconds


# -- calls


def test_the_account(sim: Simulator, client: Client) -> None:
    user = client.user()
    assert user.type == "premium" and user.premium_seconds > 0
    assert client.time().utcoffset() is not None
    assert client.active_count().limit > 0
    assert client.downloads() == ()


def test_the_life_of_a_torrent(sim: Simulator, client: Client) -> None:
    info_hash = sim.offer("Film", {"/a.mkv": DATA, "/b.mkv": b"123"})
    ident = client.add_magnet(sim.magnet(info_hash))
    info = client.torrent(ident)
    assert info.status == "waiting_files_selection" and [file.id for file in info.files] == [1, 2]
    client.select_files(ident, [1])
    client.select_files(ident)  # 202: done before
    info = client.torrent(ident)
    assert info.is_finished and info.links_by_file is not None and list(info.links_by_file) == [1]
    answer = client.unrestrict(info.links[0])
    assert (answer.filename, answer.filesize) == ("a.mkv", len(DATA))
    assert [row.filename for row in client.downloads()] == ["a.mkv"]
    client.delete_torrent(ident)
    client.delete_torrent(ident)  # 404: gone before
    with pytest.raises(errors.NotFound):
        client.torrent(ident)


def test_a_torrent_file_is_added(sim: Simulator, client: Client) -> None:
    info_hash = sim.offer("Film", {"/a.mkv": DATA})
    ident = client.add_torrent(sim.torrent_file(info_hash))
    assert client.torrent(ident).hash == info_hash


def test_links_are_unrestricted_by_their_short_form(sim: Simulator, client: Client) -> None:
    torrent = sim.add_torrent("Film", {"/a.mkv": DATA}, links="26")
    with sim.faults.set(link_verdicts={"*": "foreign"}):
        assert client.unrestrict(client.torrent(torrent.id).links[0]).filesize == len(DATA)


@pytest.mark.parametrize(
    ("verdict", "kind"),
    [
        ("hoster_unavailable", errors.DeadLink),
        ("unavailable_file", errors.Evicted),
        ("infringing_file", errors.Infringing),
        ("fair_usage_limit", errors.FairUse),
        ("traffic_exhausted", errors.TrafficExhausted),
        ("ip_not_allowed", errors.AuthError),
        ("hoster_not_free", errors.AuthError),
        ("empty_download", errors.WrongShape),
    ],
)
def test_unrestrict_errors(sim: Simulator, client: Client, verdict: Any, kind: type[DebridError]) -> None:
    link = client.torrent(sim.add_torrent("Film", {"/a.mkv": DATA}).id).links[0]
    with sim.faults.set(link_verdicts={"*": verdict}), pytest.raises(kind):
        client.unrestrict(link)
    assert sim.count("POST", "/unrestrict/link") == 1


@pytest.mark.parametrize(
    ("account", "code"), [("bad_token", 8), ("locked", 14), ("permission_denied", 9), ("free", 20)]
)
def test_a_refused_account_is_said_and_not_asked_again_at_once(
    sim: Simulator, client: Client, account: Any, code: int
) -> None:
    link = client.torrent(sim.add_torrent("Film", {"/a.mkv": DATA}).id).links[0]
    with sim.faults.set(account=account):
        for _ in range(5):
            with pytest.raises(errors.AuthError) as caught:
                client.unrestrict(link)
            assert caught.value.code == code
    assert sim.count("POST", "/unrestrict/link") == 1


def test_fair_use_stops_unrestricts_but_nothing_else(sim: Simulator, client: Client) -> None:
    link = client.torrent(sim.add_torrent("Film", {"/a.mkv": DATA}).id).links[0]
    with sim.faults.set(link_verdicts={"*": "fair_usage_limit"}), pytest.raises(errors.FairUse):
        client.unrestrict(link)
    with pytest.raises(errors.FairUse) as caught:
        client.unrestrict(link)
    assert (caught.value.retry_after or 0) > 100
    assert sim.count("POST", "/unrestrict/link") == 1
    assert client.torrents().complete


def test_infringing_is_not_believed_right_after_a_refusal(sim: Simulator, client: Client) -> None:
    link = client.torrent(sim.add_torrent("Film", {"/a.mkv": DATA}).id).links[0]
    client.limits.refused(0.01)
    with sim.faults.set(link_verdicts={"*": "infringing_file"}), pytest.raises(Unavailable, match="pace"):
        client.unrestrict(link)


# -- retries


@pytest.mark.parametrize("status", [500, 502, 503, 504])
@pytest.mark.parametrize("body", ["html", "empty", "json"])
def test_passing_errors_are_repeated(sim: Simulator, client: Client, status: int, body: Any) -> None:
    with sim.faults.set(api_status=status, api_status_times=1, api_status_body=body):
        assert client.user().username
    assert sim.count("GET", "/user") == 2


def test_maintenance_ends_as_unavailable_after_a_few_tries(sim: Simulator, client: Client) -> None:
    with sim.faults.set(api_outage="maintenance"), pytest.raises(Unavailable) as caught:
        client.user()
    assert caught.value.code == 25
    assert sim.count("GET", "/user") == 4


def test_the_deadline_ends_the_tries(sim: Simulator, client: Client) -> None:
    begin = time.monotonic()
    with sim.faults.set(api_outage="html"), pytest.raises(Unavailable):
        client.user(Budget.of(0.05))
    assert time.monotonic() - begin < 3
    assert sim.count("GET", "/user") <= 3


@pytest.mark.parametrize("outage", ["closed", "refused"])
def test_nobody_answers(sim: Simulator, client: Client, outage: Any) -> None:
    with sim.faults.set(api_outage=outage), pytest.raises(Unavailable):
        client.user(Budget.of(0.5))
    assert client.user().username


def test_slow_answers_end_at_the_deadline(sim: Simulator, client: Client) -> None:
    begin = time.monotonic()
    with sim.faults.set(api_latency=20.0), pytest.raises(errors.TimedOut):
        client.user(Budget.of(0.3))
    assert time.monotonic() - begin < 5


def test_an_add_whose_answer_is_lost_is_not_repeated(sim: Simulator, client: Client) -> None:
    magnet = sim.magnet(sim.offer("Film", {"/a.mkv": DATA}))
    with (
        sim.faults.set(api_lost_reply="/torrents/addMagnet", api_lost_reply_times=1),
        pytest.raises(Unavailable),
    ):
        client.add_magnet(magnet)
    assert len(sim.torrents) == 1


def test_a_delete_whose_answer_is_lost_is_repeated(sim: Simulator, client: Client) -> None:
    torrent = sim.add_torrent("Film", {"/a.mkv": DATA})
    with sim.faults.set(api_lost_reply="/torrents/delete", api_lost_reply_times=1):
        client.delete_torrent(torrent.id)
    assert sim.torrents == []


@pytest.mark.parametrize("retry_after", [None, 0.0])
def test_too_many_requests_pause_and_then_go_on(
    sim: Simulator, client: Client, retry_after: float | None, caplog: pytest.LogCaptureFixture
) -> None:
    magnet = sim.magnet(sim.offer("Film", {"/a.mkv": DATA}))
    with sim.faults.set(api_status=429, api_status_times=2, retry_after=retry_after):
        assert client.add_magnet(magnet)  # refused, so not done: even this may be repeated
    assert client.limits.refused_within(10)
    assert "all calls pause" in caplog.text
    assert len(sim.torrents) == 1


def test_retry_after_beyond_the_deadline_fails_at_once(sim: Simulator, client: Client) -> None:
    begin = time.monotonic()
    with sim.faults.set(api_status=429, api_status_times=1, retry_after=30.0), pytest.raises(RateLimited):
        client.user(Budget.of(5))
    assert time.monotonic() - begin < 4
    assert client.limits.paused_for() > 20
    with pytest.raises(RateLimited):
        client.torrents(Budget.of(5))
    assert len(sim.journal) == 1


def test_hammering_is_never_blocked_by_the_real_limits(sim: Simulator, make_client: Callable[..., Client]) -> None:
    client = make_client(limits=Limits())
    sim.faults.rate_limits = True
    failures = 0
    for _ in range(30):
        try:
            client.torrents_first(Budget.of(0.05))
        except RateLimited:
            failures += 1
    assert failures > 0
    assert not any(request.status == 429 for request in sim.journal)


def test_pauses_between_tries_double_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(Budget, "sleep", lambda _, seconds: slept.append(seconds))
    for attempt in range(1, 9):
        Budget.of(60).back_off(attempt)
    assert slept == pytest.approx([0.2, 0.4, 0.8, 1.6, 3.2, 5, 5, 5], rel=0.21)


def test_another_thread_ends_a_waiting_call(sim: Simulator, client: Client) -> None:
    interrupt = Interrupt()
    caught: list[BaseException] = []

    def call() -> None:
        try:
            client.user(Budget.of(60, interrupt=interrupt))
        except DebridError as error:
            caught.append(error)

    with sim.faults.set(api_latency=30.0):
        thread = threading.Thread(target=call)
        thread.start()
        while not sim.count("GET", "/user"):
            time.sleep(0.01)
        interrupt.set()
        thread.join(timeout=10)
    assert not thread.is_alive()
    assert [type(error) for error in caught] == [errors.Interrupted]
    assert sim.count("GET", "/user") == 1


# -- listings


def fill(sim: Simulator, count: int) -> list[str]:
    """That many torrents; their ids, newest first."""
    return [sim.add_torrent(f"T{n}", {"/a.mkv": b"x"}, added=1_700_000_000 + n).id for n in range(count)][::-1]


def test_all_pages(sim: Simulator, make_client: Callable[..., Client]) -> None:
    idents = fill(sim, 11)
    listing = make_client(page_size=4).torrents()
    assert [each.id for each in listing.items] == idents
    assert listing.complete
    assert sim.count("GET", "/torrents") == 3


@pytest.mark.parametrize("count", [0, 4, 8])
def test_no_page_too_many(sim: Simulator, make_client: Callable[..., Client], count: int) -> None:
    fill(sim, count)
    listing = make_client(page_size=4).torrents()
    assert len(listing.items) == count and listing.complete


def test_the_cheap_question(sim: Simulator, client: Client) -> None:
    idents = fill(sim, 3)
    page = client.torrents_first()
    assert (page.total, [each.id for each in page.items]) == (3, idents[:1])
    assert sim.journal[-1].query == {"page": "1", "limit": "1"}


def test_torrents_added_while_listing_give_no_duplicates(sim: Simulator, make_client: Callable[..., Client]) -> None:
    idents = fill(sim, 10)
    sim.faults.insert_between_pages = 2
    listing = make_client(page_size=4).torrents()
    found = [each.id for each in listing.items]
    assert len(found) == len(set(found)) and set(idents) <= set(found)


def test_torrents_removed_while_listing_hide_no_others(sim: Simulator, make_client: Callable[..., Client]) -> None:
    fill(sim, 10)
    sim.faults.remove_between_pages = 1
    listing = make_client(page_size=4).torrents()
    assert {each.id for each in sim.torrents} <= {each.id for each in listing.items}


def test_an_object_instead_of_a_list_is_a_fault_not_an_empty_account(sim: Simulator, client: Client) -> None:
    fill(sim, 3)
    with sim.faults.set(list_fault="object"):
        with pytest.raises(WrongShape) as caught:
            client.torrents()
        assert caught.value.is_temporary


@pytest.mark.parametrize("count_on_204", [False, True])
def test_nothing_listed_although_there_was_something_is_not_complete(
    sim: Simulator, client: Client, count_on_204: bool
) -> None:
    fill(sim, 3)
    assert client.torrents().complete
    with sim.faults.set(list_fault="no_content", total_count_on_204=count_on_204):
        listing = client.torrents()
    assert not listing.complete and listing.items == ()


def test_an_account_that_always_was_empty_is_complete(sim: Simulator, client: Client) -> None:
    assert client.torrents().complete


# -- secrets


@contextlib.contextmanager
def gateway(answer: bytes) -> Iterator[str]:
    """Something that answers every connection with the same bytes; its URL."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        stop = threading.Event()

        def serve() -> None:
            while not stop.is_set():
                with contextlib.suppress(TimeoutError):
                    connection, _ = server.accept()
                    with connection:
                        connection.settimeout(2)
                        with contextlib.suppress(OSError):
                            connection.recv(65536)
                            connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}"
        finally:
            stop.set()
            thread.join()


def leaks(error: BaseException) -> bool:
    """Does the token show in anything a log or a traceback would print of this error?"""
    seen: BaseException | None = error
    while seen is not None:
        if TOKEN in f"{seen!s}{seen!r}{seen.__dict__!r}":
            return True
        seen = seen.__cause__ or seen.__context__
    return TOKEN in "".join(traceback.format_exception(error))


@pytest.mark.parametrize(
    "fault",
    [
        {"api_outage": "refused"},
        {"api_outage": "closed"},
        {"api_outage": "html"},
        {"api_status": 429},
        {"api_latency": 9.0},
        {"account": "bad_token"},
        {"list_fault": "object"},
    ],
)
def test_the_token_shows_nowhere(
    sim: Simulator, client: Client, caplog: pytest.LogCaptureFixture, fault: dict[str, Any]
) -> None:
    caplog.set_level(logging.DEBUG)
    with sim.faults.set(**fault), pytest.raises(DebridError) as caught:
        client.torrents(Budget.of(0.3))
    assert not leaks(caught.value)
    assert TOKEN not in caplog.text
    assert TOKEN not in repr(client) + repr(client.__dict__["_auth"])


def test_a_server_that_quotes_the_token_is_not_quoted(make_client: Callable[..., Client]) -> None:
    body = b'{"error": "%s", "error_details": "auth_token=%s", "error_code": 2}' % ((TOKEN.encode(),) * 2)
    answer = b"HTTP/1.1 400 Bad\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body
    with gateway(answer) as url, Client(TOKEN, url) as client, pytest.raises(errors.Rejected) as caught:
        client.user()
    assert not leaks(caught.value)


def test_a_token_in_the_url_is_blotted_out() -> None:
    with Client("", f"http://127.0.0.1:9/?auth_token={TOKEN}") as client:
        assert TOKEN not in repr(client)
        with pytest.raises(Unavailable) as caught:
            client.user(Budget.of(0.1))
    assert not leaks(caught.value)


def test_a_redirect_is_not_followed_with_the_token(sim: Simulator) -> None:
    answer = b"HTTP/1.1 302 Found\r\nLocation: %s/user\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    with (
        gateway(answer % sim.api_url.encode()) as url,
        Client(TOKEN, url) as client,
        pytest.raises(Unavailable, match="elsewhere"),
    ):
        client.user(Budget.of(0.5))
    assert sim.journal == []


def test_the_cdn_gets_no_token(sim: Simulator, client: Client) -> None:
    url = client.unrestrict(client.torrent(sim.add_torrent("Film", {"/a.mkv": DATA}).id).links[0]).download
    client.open_range(url, 0, 10, 2).close()
    headers = sim.journal[-1].headers
    assert "authorization" not in {name.lower() for name in headers}
    assert headers["accept-encoding"] == "identity"


def test_an_answer_that_is_no_http(client: Client) -> None:
    with gateway(b"\x00\x01\x02 nonsense\r\n\r\n") as url, Client(TOKEN, url) as other, pytest.raises(Unavailable):
        other.user(Budget.of(0.3))


def test_errors_of_the_system_are_told_in_its_words() -> None:
    def act() -> None:
        raise OSError(errno.ENETUNREACH, "Network is unreachable")

    with pytest.raises(Unavailable, match="GET /x: Network is unreachable") as caught:
        exchange("GET /x", Budget.of(1), act)
    assert caught.value.__context__ is None


# -- ranges


@pytest.fixture
def url(sim: Simulator, client: Client) -> str:
    """The download URL of a file with DATA."""
    return client.unrestrict(client.torrent(sim.add_torrent("Film", {"/a.mkv": DATA}).id).links[0]).download


@pytest.mark.parametrize(("offset", "length"), [(0, 1), (0, len(DATA)), (777, 1000), (len(DATA) - 1, 1)])
def test_a_range(sim: Simulator, client: Client, url: str, offset: int, length: int) -> None:
    with client.open_range(url, offset, length, 2, size=len(DATA)) as response:
        assert response.raw.read() == DATA[offset : offset + length]
    assert sim.journal[-1].range == f"bytes={offset}-{offset + length - 1}"


def test_the_whole_file_for_a_range_is_an_error_unless_it_was_asked_for(
    sim: Simulator, client: Client, url: str
) -> None:
    with sim.faults.set(cdn_ignore_range=True):
        with client.open_range(url, 0, len(DATA), 2) as response:
            assert response.status_code == 200
        for offset, length in ((0, 10), (10, len(DATA) - 10)):
            with pytest.raises(WrongShape, match="whole file"):
                client.open_range(url, offset, length, 2)


def test_past_the_end_and_another_size(client: Client, url: str) -> None:
    with pytest.raises(errors.RangeRefused):
        client.open_range(url, len(DATA), 10, 2)
    with pytest.raises(WrongShape, match="was asked for"):
        client.open_range(url, len(DATA) - 5, 10, 2)
    with pytest.raises(errors.RangeRefused, match="bytes there, not"):
        client.open_range(url, 0, 10, 2, size=len(DATA) + 1)


@pytest.mark.parametrize("status", [403, 404, 410, 503])
def test_a_stale_url(sim: Simulator, client: Client, url: str, status: int) -> None:
    with sim.faults.set(cdn_status=status), pytest.raises(errors.StaleUrl):
        client.open_range(url, 0, 10, 2)


def test_revoked_and_expired_urls(sim: Simulator, client: Client, url: str) -> None:
    sim.advance(8 * 86400)
    with pytest.raises(errors.StaleUrl, match="expired"):
        client.open_range(url, 0, 10, 2)
    sim.revoke_urls()
    with pytest.raises(errors.StaleUrl, match="revoked"):
        client.open_range(url, 0, 10, 2)


def test_used_up_traffic_stops_the_cdn_until_midnight(sim: Simulator, client: Client, url: str) -> None:
    with sim.faults.set(cdn_quota=0), pytest.raises(errors.TrafficExhausted):
        client.open_range(url, 0, 10, 2)
    before = sim.cdn_requests
    with pytest.raises(errors.TrafficExhausted) as caught:
        client.open_range(url, 0, 10, 2)
    assert (caught.value.retry_after or 0) >= 50
    assert sim.cdn_requests == before


def test_a_server_that_is_silent(sim: Simulator, client: Client, url: str) -> None:
    with sim.faults.set(cdn_first_byte=20.0), pytest.raises(errors.TimedOut):
        client.open_range(url, 0, 10, 0.3)
