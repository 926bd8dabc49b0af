"""Each row of the reaction table, produced by the simulator and met by the real client and library."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from debrid import errors
from debrid.client import Client
from debrid.errors import DebridError, Reaction
from debrid.holds import ANY, CDN, UNRESTRICT, seconds_to_reset
from debrid.library import Library
from debrid.reactions import CDN_TABLE, TABLE, Row
from debrid.simulator import SimTorrent, Simulator
from debrid.simulator.wire import ERRORS
from debrid.store import Store
from debrid.transport import Budget

pytestmark = pytest.mark.usefixtures("short_pauses", "no_threads_left")

DATA = bytes(range(256)) * 400
UNRESTRICT_PATH = "/unrestrict/link"

# What the facts about the provider ask for, by error code; the table must agree.
WANTED = {
    Reaction.REPEAT: {-1, 25},
    Reaction.LATER: {6, 17, 18},
    Reaction.SLOW_DOWN: {5, 34},
    Reaction.REST: {36},
    Reaction.MIDNIGHT: {23},
    Reaction.QUEUE: {21},
    Reaction.TELL: {8, 9, 10, 11, 12, 13, 14, 15, 20, 22},
    Reaction.RESYNC: {7},
    Reaction.REPAIR: {19, 24},
    Reaction.REFUSED: {16, 28, 35},
    Reaction.FAIL: {1, 2, 3, 4, 26, 27, 29, 30, 32},
    Reaction.DONE: {31},
    Reaction.ADOPT: {33},
    Reaction.NEVER: {37},
}
CALLS = {Reaction.REPEAT: 4, Reaction.SLOW_DOWN: 4}  # of one call of the client; 1 for the others
HELD = {Reaction.REPAIR, Reaction.RESYNC, Reaction.REFUSED}
PAUSED = {Reaction.REST: UNRESTRICT, Reaction.MIDNIGHT: UNRESTRICT, Reaction.TELL: UNRESTRICT}


def rows(table: tuple[Row, ...]) -> Any:
    return [pytest.param(row, id=f"{row.code or row.status or ''}{row.slug and ' ' + row.slug}") for row in table]


CODED = tuple(row for row in TABLE if row.code is not None)


@pytest.fixture
def film(sim: Simulator, client: Client, store: Store) -> SimTorrent:
    torrent = sim.add_torrent("Film", {"/film.mkv": DATA})
    info = client.torrent(torrent.id)
    store.saw([info], time.time())
    store.record(info, info.links_by_file or {})
    sim.journal_clear()
    return torrent


def refusal(code: int, path: str) -> dict[str, Any]:
    status = ERRORS[code][1]
    # An error of success's class would not reach a caller who is not told by its code.
    return {
        "api_status": 400 if status == 202 else status,
        "api_status_code": code,
        "api_status_body": "json",
        "api_status_prefix": path,
    }


def test_every_code_has_its_one_reaction() -> None:
    found: dict[Reaction, set[int]] = {}
    for row in CODED:
        assert row.code is not None
        found.setdefault(row.reaction, set()).add(row.code)
    assert found == WANTED
    assert {row.code for row in CODED} == set(ERRORS)


@pytest.mark.parametrize("row", rows(CODED))
def test_a_call_is_repeated_only_where_that_helps(sim: Simulator, client: Client, film: SimTorrent, row: Row) -> None:
    assert row.code is not None
    with sim.faults.set(**refusal(row.code, UNRESTRICT_PATH)), pytest.raises(row.error) as caught:
        client.limits.pauses = client.limits.pauses.__class__(first=0.01, breaker=0.02, longest=0.02)
        client.unrestrict(film.links[0].url)
    assert caught.value.reaction is row.reaction and caught.value.code == row.code
    assert sim.count("POST", UNRESTRICT_PATH) == CALLS.get(row.reaction, 1)


@pytest.mark.parametrize("row", rows(CODED))
def test_what_is_held_against_a_file_and_what_pauses_everybody(
    sim: Simulator, client: Client, store: Store, film: SimTorrent, row: Row
) -> None:
    assert row.code is not None
    library = Library(client, store, deadline=1)
    with sim.faults.set(**refusal(row.code, UNRESTRICT_PATH)), pytest.raises(OSError):
        library.stream(("torrent", film.hash, "1"), 0, 10)
    assert bool(store.failing_files()) == (row.reaction in HELD)
    held = client.limits.holds.of(ANY) or client.limits.holds.of(UNRESTRICT)
    paused = held is not None or client.limits.paused_for() > 0
    assert paused == (row.reaction in PAUSED or row.reaction is Reaction.SLOW_DOWN)
    status = library.status()
    assert bool(status.reason) == paused
    if paused:
        assert (status.paused_until or 0) > time.time() - 1
    if row.reaction is Reaction.MIDNIGHT:
        assert abs((status.paused_until or 0) - time.time() - seconds_to_reset()) < 5


@pytest.mark.parametrize("code", sorted(WANTED[Reaction.LATER] - {6}))
def test_a_busy_hoster_is_left_alone_for_a_while(
    sim: Simulator, client: Client, store: Store, film: SimTorrent, code: int
) -> None:
    now = time.time()
    library = Library(client, store, deadline=1, clock=lambda: now)
    key = ("torrent", film.hash, "1")
    with sim.faults.set(**refusal(code, UNRESTRICT_PATH)):
        for _ in range(3):
            with pytest.raises(OSError, match="hoster"):
                library.stream(key, 0, 10)
    assert sim.count("POST", UNRESTRICT_PATH) == 1
    with pytest.raises(OSError, match="asked again later"):
        library.stream(key, 0, 10)
    now += 3601
    library.stream(key, 0, 10).close()


@pytest.mark.parametrize("code", sorted(set(ERRORS)))
def test_nothing_that_can_be_answered_is_anything_but_a_debrid_error(
    sim: Simulator, client: Client, film: SimTorrent, code: int
) -> None:
    """On every kind of call, as any code may come anywhere."""
    client.limits.pauses = client.limits.pauses.__class__(first=0.01, breaker=0.02, longest=0.02)
    magnet = sim.magnet(film.hash)
    calls: list[tuple[str, Callable[[], object]]] = [
        ("/torrents/addMagnet", lambda: client.add_magnet(magnet)),
        ("/torrents/selectFiles", lambda: client.select_files(film.id)),
        ("/torrents/info", lambda: client.torrent(film.id)),
        ("/torrents/delete", lambda: client.delete_torrent(film.id)),
    ]
    for path, call in calls:
        with sim.faults.set(**refusal(code, path)):
            if code == 7 and "delete" in path:
                call()  # gone before: what was wanted
                continue
            with pytest.raises(DebridError):
                call()


def test_done_before_counts_as_done(sim: Simulator, client: Client) -> None:
    ident = client.add_magnet(sim.magnet(sim.offer("Film", {"/a.mkv": DATA})))
    client.select_files(ident, [1])
    client.select_files(ident, [1])  # 202 with code 31


def test_a_disabled_endpoint_is_never_called_again(sim: Simulator, client: Client, film: SimTorrent) -> None:
    with sim.faults.set(**refusal(37, "/torrents/info")), pytest.raises(errors.Disabled):
        client.torrent(film.id)
    for _ in range(3):
        with pytest.raises(errors.Disabled):
            client.torrent(film.id)
    assert sim.count("GET", "/torrents/info") == 1
    assert client.torrents().complete  # the others are


def test_infringing_on_adding_is_not_believed_while_throttled(sim: Simulator, client: Client) -> None:
    magnet = sim.magnet(sim.offer("Film", {"/a.mkv": DATA}))
    sim.faults.spurious_infringing = True
    with sim.faults.set(api_status=429, api_status_times=1), pytest.raises(errors.Unavailable, match="pace"):
        client.add_magnet(magnet)


# -- the download servers


@pytest.mark.parametrize("row", rows(CDN_TABLE))
def test_each_answer_of_a_download_server(
    sim: Simulator, client: Client, store: Store, film: SimTorrent, row: Row
) -> None:
    library = Library(client, store, deadline=20)
    status = row.status or (503 if row.reaction is not Reaction.RENEW else 404)
    key = ("torrent", film.hash, "1")
    with sim.faults.set(cdn_status=status, cdn_error=row.slug, cdn_status_times=1):
        if row.reaction in (Reaction.RENEW, Reaction.REPEAT):
            stream = library.stream(key, 0, len(DATA))
            data = bytearray(len(DATA))
            got = 0
            while got < len(data):
                got += stream.readinto(memoryview(data)[got:])
            stream.close()
            assert data == DATA
        else:
            with pytest.raises(OSError, match=row.meaning):
                library.stream(key, 0, 10)
    assert sim.count("POST", UNRESTRICT_PATH) == (2 if row.reaction is Reaction.RENEW else 1)
    assert (client.limits.holds.of(CDN) is not None) == (row.reaction is Reaction.MIDNIGHT)
    assert store.failing_files() == []


def test_a_url_is_renewed_once_and_then_held_against_the_file(
    sim: Simulator, client: Client, store: Store, film: SimTorrent
) -> None:
    library = Library(client, store, deadline=20)
    with sim.faults.set(cdn_status=410), pytest.raises(OSError, match="gone"):
        library.stream(("torrent", film.hash, "1"), 0, 10)
    assert sim.count("POST", UNRESTRICT_PATH) == 2
    assert [file.path for file in store.failing_files()] == ["/film.mkv"]


def test_the_breaker_opens_for_minutes_once_refusals_repeat(sim: Simulator, client: Client) -> None:
    client.limits.pauses = client.limits.pauses.__class__(first=0.01, breaker=120.0, breaker_after=3, forget_after=60.0)
    with sim.faults.set(api_status=429), pytest.raises(errors.RateLimited):
        client.user(Budget.of(5))
    assert sim.count("GET", "/user") == 3
    assert client.limits.paused_for() > 100
    with pytest.raises(errors.RateLimited):
        client.user(Budget.of(5))
    assert sim.count("GET", "/user") == 3
