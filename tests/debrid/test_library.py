"""Bytes of remote files over real HTTP: they equal the source whatever the CDN does, or an OSError says why not."""

import errno
import logging
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from debrid.client import Client
from debrid.errors import StoreError
from debrid.library import Key, Library, LibraryStatus, RemoteStream
from debrid.models import TorrentInfo
from debrid.simulator import SimTorrent, Simulator
from debrid.store import Store

pytestmark = pytest.mark.usefixtures("short_pauses", "no_threads_left")

SIZE = 700_001
DATA = random.Random(5).randbytes(SIZE)
SMALL = b"a subtitle"


@pytest.fixture
def film(sim: Simulator) -> SimTorrent:
    """A torrent of a film and a second file."""
    return sim.add_torrent("Film", {"/Film/film.mkv": DATA, "/Film/other.mkv": SMALL}, links="16")


@pytest.fixture
def key(film: SimTorrent, client: Client, store: Store) -> Key:
    """The film's key; its links are known, as after a poll."""
    return known(film, client, store)


@pytest.fixture
def library(client: Client, store: Store) -> Library:
    return Library(client, store, deadline=5)


def known(torrent: SimTorrent, client: Client, store: Store, file: int = 1) -> Key:
    info: TorrentInfo = client.torrent(torrent.id)
    store.saw([info], time.time())
    store.record(info, info.links_by_file or {})
    return ("torrent", torrent.hash, str(file))


def read(stream: RemoteStream, length: int, piece: int = 1 << 16) -> bytes:
    """All bytes of a stream, which must end exactly there."""
    data = bytearray(length)
    view, at = memoryview(data), 0
    while got := stream.readinto(view[at : at + piece] if at < length else memoryview(bytearray(1))):
        at += got
    assert at == length
    stream.close()
    return bytes(data)


def fetch(library: Library, key: Key, offset: int = 0, length: int = SIZE) -> bytes:
    return read(library.stream(key, offset, length), length)


def fails(act: Callable[[], object], text: str, *numbers: int) -> OSError:
    """`act` raises OSError, and no other kind, with one of the numbers (EIO) and a reason people can read."""
    with pytest.raises(OSError, match=text) as caught:
        act()
    assert caught.value.errno in (numbers or (errno.EIO,))
    assert type(caught.value) in (OSError, TimeoutError)
    return caught.value


# -- plain reading


@pytest.mark.parametrize(
    ("offset", "length"), [(0, SIZE), (0, 1), (SIZE - 1, 1), (12_345, 300_000), (SIZE // 2, SIZE - SIZE // 2)]
)
def test_bytes_equal_the_source(library: Library, key: Key, offset: int, length: int) -> None:
    assert fetch(library, key, offset, length) == DATA[offset : offset + length]


def test_urls_that_cannot_be_kept_are_used_and_made_once(
    sim: Simulator, library: Library, store: Store, key: Key, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a disk that is full."""

    def full(*_: object) -> None:
        raise StoreError("debrid.db cannot be used: database or disk is full")

    monkeypatch.setattr(store, "set_url", full)
    for _ in range(3):
        assert fetch(library, key, 100, 1000) == DATA[100:1100]
    assert sim.count(path_prefix="/unrestrict/link") == 1
    # One that goes stale is replaced all the same.
    sim.revoke_urls()
    assert fetch(library, key, 100, 1000) == DATA[100:1100]
    monkeypatch.undo()
    sim.revoke_urls()
    assert fetch(library, key, 100, 1000) == DATA[100:1100]
    assert store.url(key[1], 1, time.time()) is not None


def test_a_stream_asks_for_exactly_its_range_in_one_request(sim: Simulator, library: Library, key: Key) -> None:
    fetch(library, key, 100, 1000)
    assert [request.range for request in sim.journal if request.port == "cdn"] == ["bytes=100-1099"]
    assert sim.cdn_bytes == 1000


def test_an_empty_range_asks_nobody(sim: Simulator, library: Library, key: Key) -> None:
    before = len(sim.journal)
    assert fetch(library, key, 5, 0) == b""
    assert len(sim.journal) == before


def test_a_buffer_of_another_shape(library: Library, key: Key) -> None:
    stream = library.stream(key, 0, 8)
    buffer = memoryview(bytearray(8)).cast("H")
    assert stream.readinto(buffer) == 8
    assert buffer.tobytes() == DATA[:8]
    stream.close()


def test_the_second_file_of_a_torrent(library: Library, key: Key) -> None:
    assert fetch(library, (*key[:2], "2"), 0, len(SMALL)) == SMALL


def test_connections_are_used_again_after_whole_ranges(sim: Simulator, library: Library, key: Key) -> None:
    for _ in range(5):
        fetch(library, key, 0, 1000)
    assert sim.count("POST", "/unrestrict/link") == 1
    assert sim.cdn_requests == 5


# -- links and URLs


def test_one_unrestrict_however_many_read(sim: Simulator, library: Library, key: Key) -> None:
    sim.faults.api_latency_by_prefix = {"/unrestrict": 0.3}
    results: list[bytes] = []
    threads = [
        threading.Thread(target=lambda n=n: results.append(fetch(library, key, n * 1000, 1000))) for n in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == sorted(DATA[n * 1000 : n * 1000 + 1000] for n in range(12))
    assert sim.count("POST", "/unrestrict/link") == 1


def test_one_renewal_however_many_find_the_url_stale(sim: Simulator, library: Library, key: Key) -> None:
    fetch(library, key, 0, 10)
    sim.revoke_urls()
    sim.faults.api_latency_by_prefix = {"/unrestrict": 0.3}
    results: list[bytes] = []
    threads = [threading.Thread(target=lambda: results.append(fetch(library, key, 0, 99))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [DATA[:99]] * 8
    assert sim.count("POST", "/unrestrict/link") == 2


def test_urls_are_kept_over_a_restart(sim: Simulator, client: Client, store: Store, key: Key) -> None:
    fetch(Library(client, store), key, 0, 10)
    fetch(Library(client, store), key, 0, 10)
    assert sim.count("POST", "/unrestrict/link") == 1


def test_urls_are_renewed_before_the_provider_forgets_them(
    sim: Simulator, client: Client, store: Store, key: Key
) -> None:
    now = [time.time()]
    library = Library(client, store, clock=lambda: now[0])
    fetch(library, key, 0, 10)
    now[0] += 25 * 3600
    sim.advance(25 * 3600)
    fetch(library, key, 0, 10)
    assert sim.count("POST", "/unrestrict/link") == 2
    assert not [request for request in sim.journal if request.status == 404]


def test_an_expired_url_is_renewed_once(sim: Simulator, library: Library, key: Key) -> None:
    fetch(library, key, 0, 10)
    sim.advance(8 * 86400)
    assert fetch(library, key) == DATA
    assert sim.count("POST", "/unrestrict/link") == 2


def test_a_url_revoked_between_two_reads_of_a_stream(sim: Simulator, library: Library, key: Key) -> None:
    with sim.faults.set(cdn_reset_after=100_000, cdn_reset_times=1):
        stream = library.stream(key, 0, SIZE)
        first = bytearray(50_000)
        assert stream.readinto(memoryview(first)) == 50_000
    sim.advance(8 * 86400)
    assert bytes(first) + read(stream, SIZE - 50_000) == DATA
    assert sim.count("POST", "/unrestrict/link") == 2


def test_a_long_stream_outlives_many_urls(sim: Simulator, library: Library, key: Key) -> None:
    with sim.faults.set(cdn_reset_after=100_000):
        stream = library.stream(key, 0, SIZE)
        data, buffer = bytearray(), memoryview(bytearray(100_000))
        while got := stream.readinto(buffer):
            data += buffer[:got]
            sim.revoke_urls()
    assert bytes(data) == DATA
    assert sim.count("POST", "/unrestrict/link") >= 7


@pytest.mark.parametrize("status", [403, 404, 410, 503])
def test_a_refused_url_is_renewed_once(sim: Simulator, library: Library, key: Key, status: int) -> None:
    with sim.faults.set(cdn_status=status, cdn_status_times=1):
        assert fetch(library, key, 0, 99) == DATA[:99]
    assert sim.count("POST", "/unrestrict/link") == 2


@pytest.mark.parametrize("status", [403, 404, 410, 503])
def test_a_fresh_url_that_is_refused_fails_and_is_not_tried_again_at_once(
    sim: Simulator, library: Library, store: Store, key: Key, status: int
) -> None:
    with sim.faults.set(cdn_status=status):
        fails(lambda: library.stream(key, 0, 10), f"film.mkv: .*HTTP {status}")
        fails(lambda: library.stream(key, 0, 10), "asked again later")
    assert sim.count("POST", "/unrestrict/link") == 2
    assert [file.id for file in store.failing_files()] == [1]


def test_it_is_tried_again_later(sim: Simulator, client: Client, store: Store, key: Key) -> None:
    now = [time.time()]
    library = Library(client, store, clock=lambda: now[0])
    with sim.faults.set(cdn_status=404):
        fails(lambda: library.stream(key, 0, 10), "404")
    now[0] += 61
    assert fetch(library, key, 0, 10) == DATA[:10]
    assert store.failing_files() == []


# -- content that is gone


@pytest.mark.parametrize("verdict", ["hoster_unavailable", "unavailable_file", "infringing_file", "wrong_size"])
def test_dead_content_fails_at_once_until_its_next_try(
    sim: Simulator, client: Client, store: Store, key: Key, verdict: Any
) -> None:
    now = [time.time()]
    library = Library(client, store, clock=lambda: now[0])
    with sim.faults.set(link_verdicts={"film.mkv": verdict}):
        for _ in range(3):
            fails(lambda: library.stream(key, 0, 10), "film.mkv|asked again")
        assert sim.count("POST", "/unrestrict/link") == 1
        now[0] += 601
        fails(lambda: library.stream(key, 0, 10), "film.mkv")
        now[0] += 601  # the pause has doubled
        fails(lambda: library.stream(key, 0, 10), "asked again")
        assert sim.count("POST", "/unrestrict/link") == 2
    assert fetch(library, (*key[:2], "2"), 0, 5) == SMALL[:5]
    assert library.status() == LibraryStatus()
    now[0] += 1201
    assert fetch(library, key, 0, 10) == DATA[:10]


def test_a_wrong_size_names_both(sim: Simulator, library: Library, key: Key, caplog: pytest.LogCaptureFixture) -> None:
    with sim.faults.set(link_verdicts={"film.mkv": "wrong_size"}):
        fails(lambda: library.stream(key, 0, 10), f"{SIZE + 1} bytes, not {SIZE}")
    assert str(SIZE + 1) in caplog.text


def test_another_name_of_the_same_size_is_taken(sim: Simulator, library: Library, key: Key) -> None:
    with sim.faults.set(link_verdicts={"film.mkv": "wrong_name"}):
        assert fetch(library, key, 0, 99) == DATA[:99]


def test_a_new_link_revives_dead_content(
    sim: Simulator, client: Client, library: Library, store: Store, film: SimTorrent, key: Key
) -> None:
    sim.age_links(film.id)
    fails(lambda: library.stream(key, 0, 10), "dead")
    again = client.add_magnet(sim.magnet(film.hash))
    client.select_files(again)
    info = client.torrent(again)
    store.saw([info], time.time())
    store.record(info, info.links_by_file or {})
    assert fetch(library, key) == DATA


# -- what is not known yet


def test_an_unknown_link_costs_one_info_call(
    sim: Simulator, client: Client, library: Library, store: Store, film: SimTorrent
) -> None:
    store.saw(client.torrents().items, time.time())
    key = ("torrent", film.hash, "1")
    results: list[bytes] = []
    threads = [threading.Thread(target=lambda: results.append(fetch(library, key, 0, 50))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [DATA[:50]] * 6
    assert sim.count("GET", "/torrents/info") == 1
    fetch(library, ("torrent", film.hash, "2"), 0, 5)
    assert sim.count("GET", "/torrents/info") == 1


def test_a_lost_database_is_no_reason_to_fail(library: Library, film: SimTorrent) -> None:
    assert fetch(library, ("torrent", film.hash, "1"), 0, 50) == DATA[:50]


def test_an_addition_that_left_is_passed_over(
    sim: Simulator, client: Client, library: Library, store: Store, film: SimTorrent
) -> None:
    newer = sim.add_torrent("Film", {"/Film/film.mkv": DATA, "/Film/other.mkv": SMALL}, hash=film.hash)
    store.saw(client.torrents().items, time.time())
    sim.remove_torrent(newer.id)
    assert fetch(library, ("torrent", film.hash, "1"), 0, 50) == DATA[:50]
    kept = store.torrent(newer.id)
    assert kept is not None and kept.missing


@pytest.mark.parametrize(
    "key", [("torrent", "0" * 40, "1"), ("torrent", "0" * 40, "1/inner"), ("link", "abc", ""), ("?", "", "")]
)
def test_unknown_keys(
    sim: Simulator, library: Library, store: Store, film: SimTorrent, client: Client, key: Key
) -> None:
    known(film, client, store)
    sim.journal_clear()
    fails(lambda: library.stream(key, 0, 10), "not known|no such kind")
    assert sim.journal == []


def test_a_file_without_link_is_not_asked_for_again_and_again(
    sim: Simulator, client: Client, library: Library, store: Store, film: SimTorrent
) -> None:
    sim.lose_links(film.id, [1])
    store.saw(client.torrents().items, time.time())
    for _ in range(3):
        fails(lambda: library.stream(("torrent", film.hash, "2"), 0, 5), "no link")
    assert sim.count("GET", "/torrents/info") == 1


# -- the way there is bad


@pytest.mark.parametrize("after", [1, 1000, 77_777])
@pytest.mark.parametrize("kind", ["reset", "short"])
def test_broken_connections_are_resumed(sim: Simulator, library: Library, key: Key, kind: str, after: int) -> None:
    times = {1: 3, 1000: 6, 77_777: -1}[after]
    with sim.faults.set(**{f"cdn_{kind}_after": after, f"cdn_{kind}_times": times}):
        assert fetch(library, key) == DATA
    # Nothing is asked for twice: each request begins where the one before it ended.
    begins = [int((request.range or "").split("=")[1].split("-")[0]) for request in sim.journal if request.range]
    assert begins == sorted(begins) and len(begins) > 1
    assert sim.count("POST", "/unrestrict/link") == 1


def test_a_stalled_connection_is_replaced(sim: Simulator, client: Client, store: Store, key: Key) -> None:
    library = Library(client, store, deadline=2)
    with sim.faults.set(cdn_stall_after=300_000, cdn_stall_times=1):
        assert fetch(library, key) == DATA


def test_a_cdn_that_is_silent_ends_at_the_deadline(sim: Simulator, client: Client, store: Store, key: Key) -> None:
    library = Library(client, store, deadline=0.6)
    begin = time.monotonic()
    with sim.faults.set(cdn_first_byte=30.0):
        fails(lambda: library.stream(key, 0, 10), "in time", errno.ETIMEDOUT)
    assert time.monotonic() - begin < 8


def test_a_stall_that_stays_ends_at_the_deadline(sim: Simulator, client: Client, store: Store, key: Key) -> None:
    library = Library(client, store, deadline=0.6)
    with sim.faults.set(cdn_stall_after=1000):
        stream = library.stream(key, 0, SIZE)
        buffer = memoryview(bytearray(SIZE))
        got = stream.readinto(buffer)
        assert bytes(buffer[:got]) == DATA[:got] and got >= 1000
        sim.faults.cdn_stall_after = 0
        fails(lambda: stream.readinto(buffer), "in time|closed|reset", errno.EIO, errno.ETIMEDOUT)
    assert read(stream, SIZE - got) == DATA[got:]


def test_a_trickle_is_handed_on_before_the_deadline(sim: Simulator, client: Client, store: Store, key: Key) -> None:
    library = Library(client, store, deadline=1.5)
    with sim.faults.set(cdn_drip=0.02):
        stream = library.stream(key, 0, SIZE)
        buffer = memoryview(bytearray(SIZE))
        begin = time.monotonic()
        got = stream.readinto(buffer)
        assert 0 < got < SIZE and bytes(buffer[:got]) == DATA[:got]
        assert time.monotonic() - begin < 8
        stream.close()


@pytest.mark.parametrize("slug", ["read_pxy_timeout", "hoster_unavailable", ""])
def test_passing_faults_of_the_cdn_are_waited_out(sim: Simulator, library: Library, key: Key, slug: str) -> None:
    with sim.faults.set(cdn_status=502, cdn_error=slug, cdn_status_times=2):
        assert fetch(library, key, 0, 99) == DATA[:99]
    assert sim.count("POST", "/unrestrict/link") == 1


def test_lasting_faults_get_a_fresh_url_and_then_fail(sim: Simulator, client: Client, store: Store, key: Key) -> None:
    library = Library(client, store, deadline=60)
    with sim.faults.set(cdn_status=502):
        fails(lambda: library.stream(key, 0, 10), "HTTP 502")
    assert sim.count("POST", "/unrestrict/link") == 2
    assert sim.cdn_requests <= 8
    assert store.failing_files() == []


@pytest.mark.parametrize("outage", ["closed", "refused"])
def test_a_cdn_that_is_down(sim: Simulator, client: Client, store: Store, key: Key, outage: Any) -> None:
    library = Library(client, store, deadline=0.6)
    with sim.faults.set(cdn_outage=outage):
        fails(lambda: library.stream(key, 0, 10), "film.mkv", errno.EIO, errno.ETIMEDOUT)
    assert store.failing_files() == []
    assert fetch(library, key, 0, 10) == DATA[:10]


def test_a_range_that_is_ignored_is_never_taken_for_the_range(
    sim: Simulator, client: Client, store: Store, key: Key
) -> None:
    library = Library(client, store, deadline=0.6)
    with sim.faults.set(cdn_ignore_range=True):
        fails(lambda: library.stream(key, 5, 10), "whole file", errno.EIO, errno.ETIMEDOUT)
        assert fetch(library, key) == DATA


def test_another_size_on_the_cdn_fails_at_once(sim: Simulator, client: Client, library: Library, store: Store) -> None:
    torrent = sim.add_torrent("Grown", {"/grown.mkv": b"12345678"})
    key = known(torrent, client, store)
    fetch(library, key, 0, 8)
    fails(lambda: library.stream(key, 8, 4), "beyond the end")


def test_latency_and_many_streams_at_once(sim: Simulator, library: Library, key: Key) -> None:
    sim.faults.set(cdn_first_byte=0.05, cdn_jitter=0.05, cdn_reset_after=40_000)
    part = SIZE // 8
    results: dict[int, bytes] = {}

    def work(number: int) -> None:
        results[number] = fetch(library, key, number * part, part)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert b"".join(results[number] for number in range(8)) == DATA[: part * 8]


# -- the account is in the way


def test_too_many_requests_are_waited_out(sim: Simulator, library: Library, key: Key) -> None:
    with sim.faults.set(api_status=429, api_status_times=2):
        assert fetch(library, key, 0, 99) == DATA[:99]


def test_a_long_pause_fails_at_once_and_shows(sim: Simulator, library: Library, store: Store, key: Key) -> None:
    with sim.faults.set(api_status=429, api_status_times=1, retry_after=90.0):
        fails(lambda: library.stream(key, 0, 10), "paced")
    begin = time.monotonic()
    fails(lambda: library.stream(key, 0, 10), "paced")
    assert time.monotonic() - begin < 3
    status = library.status()
    assert "too many" in status.reason and (status.paused_until or 0) > time.time() + 60
    assert store.failing_files() == []


@pytest.mark.parametrize(
    ("verdict", "reason"),
    [("fair_usage_limit", "fair-use"), ("traffic_exhausted", "traffic"), ("ip_not_allowed", "IP address")],
)
def test_quota_pauses_unrestricts_and_is_never_held_against_a_file(
    sim: Simulator, client: Client, library: Library, store: Store, key: Key, verdict: Any, reason: str
) -> None:
    fetch(library, (*key[:2], "2"), 0, 5)
    before = sim.count("POST", "/unrestrict/link")
    with sim.faults.set(link_verdicts={"*": verdict}):
        for _ in range(3):
            fails(lambda: library.stream(key, 0, 10), reason)
    assert sim.count("POST", "/unrestrict/link") == before + 1
    assert store.failing_files() == []
    status = library.status()
    assert reason in status.reason and (status.paused_until or 0) > time.time()
    assert fetch(library, (*key[:2], "2"), 0, 5) == SMALL[:5]  # its URL is known


def test_a_byte_quota_of_the_cdn_pauses_everything(sim: Simulator, library: Library, store: Store, key: Key) -> None:
    with sim.faults.set(cdn_quota=0):
        fails(lambda: library.stream(key, 0, 10), "traffic of the day")
        asked = len(sim.journal)
        fails(lambda: library.stream(key, 0, 10), "traffic of the day")
        assert len(sim.journal) == asked
    assert "traffic" in library.status().reason
    assert store.failing_files() == []


def test_a_refused_token_fails_with_its_reason(sim: Simulator, library: Library, store: Store, key: Key) -> None:
    with sim.faults.set(account="bad_token"):
        fails(lambda: library.stream(key, 0, 10), "token")
    assert "token" in library.status().reason
    time.sleep(0.25)
    assert fetch(library, key, 0, 10) == DATA[:10]
    assert library.status() == LibraryStatus()


@pytest.mark.parametrize("outage", ["maintenance", "html", "closed", "refused"])
def test_an_outage_of_the_api_leaves_known_urls_readable(
    sim: Simulator, client: Client, store: Store, key: Key, outage: Any
) -> None:
    library = Library(client, store, deadline=0.6)
    fetch(library, key, 0, 10)
    with sim.faults.set(api_outage=outage):
        assert fetch(library, key) == DATA
        other = (*key[:2], "2")
        fails(lambda: library.stream(other, 0, 5), "other.mkv", errno.EIO, errno.ETIMEDOUT)
    assert store.failing_files() == []
    assert fetch(library, other, 0, 5) == SMALL[:5]


def test_an_empty_url_is_no_url(sim: Simulator, client: Client, store: Store, key: Key) -> None:
    library = Library(client, store, deadline=0.6)
    with sim.faults.set(link_verdicts={"film.mkv": "empty_download"}):
        fails(lambda: library.stream(key, 0, 10), "download is missing", errno.EIO, errno.ETIMEDOUT)
    assert store.failing_files() == []


def test_a_broken_store_is_an_oserror(library: Library, store: Store, key: Key) -> None:
    store.close()
    fails(lambda: library.stream(key, 0, 10), r"debrid\.db")


def test_the_token_is_in_no_reason(
    sim: Simulator, client: Client, store: Store, key: Key, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="debrid")
    library = Library(client, store, deadline=0.5)
    for fault in ({"api_outage": "closed"}, {"account": "bad_token"}, {"cdn_status": 404}):
        with sim.faults.set(**fault):
            error = fails(lambda: library.stream(key, 0, 10), "film", errno.EIO, errno.ETIMEDOUT)
        assert "SECRETTOKEN" not in str(error) + caplog.text


# -- closing


def test_close_ends_a_read_that_waits_in_another_thread(sim: Simulator, client: Client, store: Store, key: Key) -> None:
    library = Library(client, store, deadline=60)
    with sim.faults.set(cdn_stall_after=1000):
        stream = library.stream(key, 0, SIZE)
        reading = threading.Event()
        caught: list[BaseException] = []

        def work() -> None:
            try:
                buffer = memoryview(bytearray(1000))
                assert stream.readinto(buffer) == 1000
                reading.set()
                stream.readinto(buffer)
            except BaseException as error:
                caught.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        assert reading.wait(10)
        time.sleep(0.1)
        stream.close()
        thread.join(timeout=10)
        assert not thread.is_alive()
        assert [type(error) for error in caught] == [OSError]
        stream.close()


def test_close_ends_a_reconnection_too(sim: Simulator, client: Client, store: Store, key: Key) -> None:
    library = Library(client, store, deadline=60)
    with sim.faults.set(cdn_reset_after=1000):
        stream = library.stream(key, 0, SIZE)
        buffer = memoryview(bytearray(1000))
        got = stream.readinto(buffer)
        assert got == 1000
        sim.faults.cdn_first_byte = 60.0
        asked = sim.cdn_requests
        caught: list[BaseException] = []

        def work() -> None:
            try:
                stream.readinto(buffer)
            except BaseException as error:
                caught.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        while sim.cdn_requests == asked:
            time.sleep(0.01)
        stream.close()
        thread.join(timeout=10)
        assert not thread.is_alive()
        assert [type(error) for error in caught] == [OSError]


def test_a_closed_stream_says_so(library: Library, key: Key) -> None:
    stream = library.stream(key, 0, SIZE)
    stream.close()
    stream.close()
    fails(lambda: stream.readinto(memoryview(bytearray(10))), "ended")


def test_closing_one_stream_disturbs_no_other(sim: Simulator, library: Library, key: Key) -> None:
    sim.faults.api_latency_by_prefix = {"/unrestrict": 0.2}
    first = library.stream(key, 0, SIZE)
    second = library.stream(key, 0, SIZE)
    first.close()
    assert read(second, SIZE) == DATA
    for _ in range(20):  # the connection a finished stream gave back is not shut by its close
        third = library.stream(key, 0, 1000)
        buffer = memoryview(bytearray(1000))
        third.readinto(buffer)
        fourth = library.stream(key, 0, 1000)
        third.close()
        assert read(fourth, 1000) == DATA[:1000]
    assert sim.cdn_requests == 42


def test_streams_of_a_real_file(sim: Simulator, client: Client, store: Store, tmp_path: Path) -> None:
    path = tmp_path / "big.mkv"
    path.write_bytes(DATA * 3)
    key = known(sim.add_torrent("Big", {"/big.mkv": path}), client, store)
    assert fetch(Library(client, store), key, 0, SIZE * 3) == DATA * 3
