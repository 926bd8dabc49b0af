"""A torrent that left the account: its names stay, reads work as long as its links do, and say why when not."""

import errno
import time
from collections.abc import Callable

import pytest
from faketree import Clock, FakeTree

from debrid.client import Client
from debrid.library import Library
from debrid.simulator import SimTorrent, Simulator
from debrid.store import Store
from debrid.torrents import Torrents

pytestmark = pytest.mark.usefixtures("short_pauses", "no_threads_left")

FILM, EXTRA = b"f" * 900, b"e" * 300
GONE = "no longer in the Real-Debrid account"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tree() -> FakeTree:
    return FakeTree()


@pytest.fixture
def torrents(client: Client, store: Store, tree: FakeTree, clock: Clock) -> Torrents:
    return Torrents(client, store, tree, clock=clock)


@pytest.fixture
def library(client: Client, store: Store, clock: Clock) -> Library:
    return Library(client, store, deadline=5, clock=clock)


@pytest.fixture
def film(sim: Simulator, torrents: Torrents) -> SimTorrent:
    """A torrent that is in the tree and has left the account since."""
    torrent = sim.add_torrent("Film", {"/film.mkv": FILM, "/more.mkv": EXTRA}, added=sim.now() - 3600)
    torrents.poll()
    sim.remove_torrent(torrent.id)
    torrents.poll()
    return torrent


def read(library: Library, torrent: SimTorrent, length: int = 900, file: int = 1) -> bytes:
    stream = library.stream(("torrent", torrent.hash, str(file)), 0, length)
    buffer = bytearray(length)
    assert stream.readinto(memoryview(buffer)) == length
    stream.close()
    return bytes(buffer)


def fails(act: Callable[[], object], *texts: str) -> None:
    before = time.monotonic()
    with pytest.raises(OSError) as caught:
        act()
    assert caught.value.errno == errno.EIO
    assert all(text in str(caught.value) for text in texts), caught.value
    assert time.monotonic() - before < 1, "at once"


def test_it_keeps_its_names_and_the_list_says_since_when(
    film: SimTorrent, torrents: Torrents, tree: FakeTree, clock: Clock
) -> None:
    found = clock.now
    clock.now += 5000
    torrents.poll()
    (row,) = torrents.list()
    assert (row.status, row.problem, row.since) == ("missing", GONE, found)
    assert row.path == "torrents/complete/Film" and len(tree.names(film.hash)) == 2


def test_its_links_outlive_it(film: SimTorrent, library: Library) -> None:
    assert read(library, film) == FILM
    assert read(library, film, 300, file=2) == EXTRA


def test_a_dead_link_then_fails_at_once_until_its_next_try(
    sim: Simulator, film: SimTorrent, library: Library, torrents: Torrents, clock: Clock
) -> None:
    with sim.faults.set(link_verdicts={"*": "hoster_unavailable"}):
        fails(lambda: read(library, film), GONE, "dead")
        asked = sim.count()
        for _ in range(5):
            fails(lambda: read(library, film), GONE, "asked again later")
        assert sim.count() == asked
        clock.now += 601
        fails(lambda: read(library, film), GONE, "dead")
        assert sim.count() == asked + 1
    assert torrents.list()[0].problem == GONE
    clock.now += 1201
    assert read(library, film) == FILM


def test_what_has_no_link_fails_without_a_call(
    sim: Simulator, client: Client, store: Store, library: Library, clock: Clock
) -> None:
    torrent = sim.add_torrent("Film", {"/film.mkv": FILM, "/more.mkv": EXTRA}, added=sim.now() - 3600)
    sim.lose_links(torrent.id, [1])
    info = client.torrent(torrent.id)
    store.saw([info], clock())
    store.record(info, {1: info.links[0]})
    store.set_missing(torrent.id, GONE, clock())
    calls = sim.count()
    for _ in range(3):
        fails(lambda: read(library, torrent, 300, file=2), GONE)
    clock.now += 5000
    fails(lambda: read(library, torrent, 300, file=2), GONE)
    assert sim.count() == calls


def test_a_dead_link_of_a_torrent_that_is_there_is_not_blamed_on_the_account(
    sim: Simulator, torrents: Torrents, library: Library
) -> None:
    torrent = sim.add_torrent("Film", {"/film.mkv": FILM}, added=sim.now() - 3600)
    torrents.poll()
    with sim.faults.set(link_verdicts={"*": "hoster_unavailable"}), pytest.raises(OSError, match="dead") as caught:
        read(library, torrent)
    assert GONE not in str(caught.value)


def test_without_debrid_db_it_is_not_known_at_all(film: SimTorrent, client: Client, tmp_path, sim: Simulator) -> None:
    with Store(tmp_path / "new.db") as store:
        Torrents(client, store, FakeTree()).poll()
        library = Library(client, store)
        fails(lambda: read(library, film), "not known in the account")
        calls = sim.count()
        for _ in range(3):
            fails(lambda: read(library, film), "not known in the account")
        assert sim.count() == calls


def test_added_again_it_brings_fresh_links_and_no_second_set_of_names(
    sim: Simulator, film: SimTorrent, torrents: Torrents, tree: FakeTree, library: Library, clock: Clock
) -> None:
    with sim.faults.set(link_verdicts={"*": "hoster_unavailable"}):
        fails(lambda: read(library, film), GONE)
    before = dict(tree.entries)
    again = sim.add_torrent("Film", {"/film.mkv": FILM, "/more.mkv": EXTRA}, hash=film.hash, added=sim.now() - 60)
    torrents.poll()
    assert tree.entries == before and len(tree.calls) == 2
    assert read(library, film) == FILM
    assert {row.id: row.status for row in torrents.list()} == {film.id: "missing", again.id: "downloaded"}


# -- what was removed, and what was added anew


def remove_all(tree: FakeTree, torrent: SimTorrent) -> None:
    tree.withdraw(torrent.hash)


@pytest.fixture
def here(sim: Simulator, torrents: Torrents, tree: FakeTree) -> SimTorrent:
    """A torrent in the account whose names were removed."""
    torrent = sim.add_torrent("Here", {"/film.mkv": FILM}, added=sim.now() - 3600)
    torrents.poll()
    assert tree.withdraw(torrent.hash)
    return torrent


def test_removed_names_do_not_come_back_at_a_poll(
    here: SimTorrent, torrents: Torrents, tree: FakeTree, clock: Clock
) -> None:
    for _ in range(3):
        clock.now += 1000
        torrents.poll()
    assert tree.entries == {} and len(tree.calls) == 1


def test_nor_after_a_restart_or_the_loss_of_debrid_db(
    here: SimTorrent, client: Client, store: Store, tree: FakeTree, tmp_path
) -> None:
    Torrents(client, store, tree).poll()
    for number in range(2):
        with Store(tmp_path / f"new{number}.db") as lost:
            again = Torrents(client, lost, tree)
            again.poll()
            again.poll()
            assert again.status().published == 1 and again.status().error == ""
    assert tree.entries == {} and len(tree.calls) == 1


@pytest.mark.parametrize("store_lost", [False, True])
@pytest.mark.parametrize("noticed", [False, True], ids=["at once", "after it was found missing"])
def test_removed_and_added_anew_it_is_published_again(
    sim: Simulator, here: SimTorrent, client: Client, store: Store, tree: FakeTree, tmp_path, store_lost, noticed
) -> None:
    sim.remove_torrent(here.id)
    if noticed:
        Torrents(client, store, tree).poll()
    again = sim.add_torrent("Here", {"/film.mkv": FILM}, hash=here.hash, added=sim.now() - 60)
    with Store(tmp_path / ("new.db" if store_lost else "debrid.db")) as used:
        Torrents(client, used, tree).poll()
    assert again.id != here.id and tree.calls[1:] == [f"realdebrid:{again.id}"]
    assert list(tree.entries) == ["torrents/complete/Here/film.mkv"]


def test_what_the_tree_lost_is_published_again_after_a_restart(
    sim: Simulator, client: Client, store: Store, torrents: Torrents, tree: FakeTree
) -> None:
    """As after a backup of names.db, or a crash that undid its last transactions."""
    kept = sim.add_torrent("Kept", {"/kept.mkv": FILM}, added=sim.now() - 7200)
    lost = sim.add_torrent("Lost", {"/lost.mkv": FILM}, added=sim.now() - 3600)
    torrents.poll()
    del tree.additions[f"realdebrid:{lost.id}"], tree.entries["torrents/complete/Lost/lost.mkv"]
    torrents.poll()
    assert tree.names(lost.hash) == [], "not while running: the tree forgets nothing then"
    calls = sim.count("GET", "/torrents/info")
    Torrents(client, store, tree).poll()
    assert tree.names(lost.hash) and tree.names(kept.hash) and len(tree.calls) == 3
    assert sim.count("GET", "/torrents/info") == calls
