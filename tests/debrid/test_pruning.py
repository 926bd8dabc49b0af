"""Pruning: what it takes for gone, what it removes, and what it never touches."""

import pytest
from faketree import Clock, FakeTree

from debrid.client import Client
from debrid.library import Library
from debrid.pruning import prune
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
def made(sim: Simulator, torrents: Torrents) -> list[SimTorrent]:
    """Three torrents in the tree."""
    found = [sim.add_torrent(name, {"/f.mkv": FILM}, added=sim.now() - 3600) for name in ("One", "Two", "Three")]
    torrents.poll()
    return found


def leave(sim: Simulator, torrents: Torrents, *left: SimTorrent) -> None:
    for torrent in left:
        sim.remove_torrent(torrent.id)
    torrents.poll()


def test_what_is_missing_loses_its_names_and_nothing_else_does(
    sim: Simulator, store: Store, torrents: Torrents, tree: FakeTree, clock: Clock, made: list[SimTorrent]
) -> None:
    one, two, three = made
    leave(sim, torrents, one, two)
    would = prune(store, tree, None, dry_run=True)
    assert len(tree.entries) == 3 and len(torrents.list()) == 3
    assert {each.name: each.paths for each in would} == {
        "One": ("torrents/complete/One/f.mkv",),
        "Two": ("torrents/complete/Two/f.mkv",),
    }
    assert {(each.reason, each.since, each.problem) for each in would} == {(GONE, clock.now, "")}
    assert prune(store, tree, None, dry_run=False) == would
    assert list(tree.entries) == ["torrents/complete/Three/f.mkv"]
    assert [row.id for row in torrents.list()] == [three.id]
    assert prune(store, tree, None, dry_run=False) == []
    clock.now += 1000
    torrents.poll()
    assert len(tree.calls) == 3


def test_only_what_was_asked_for(
    sim: Simulator, store: Store, torrents: Torrents, tree: FakeTree, made: list[SimTorrent]
) -> None:
    one, two, three = made
    leave(sim, torrents, one, two)
    asked = [two.hash, three.hash, "0" * 40]
    assert [each.name for each in prune(store, tree, asked, dry_run=False)] == ["Two"]
    assert prune(store, tree, [], dry_run=False) == []
    assert len(tree.entries) == 2 and {row.name for row in torrents.list()} == {"One", "Three"}


def test_content_that_another_addition_holds_is_kept(
    sim: Simulator, store: Store, torrents: Torrents, tree: FakeTree, made: list[SimTorrent]
) -> None:
    again = sim.add_torrent("One", {"/f.mkv": FILM}, hash=made[0].hash, status="downloading")
    leave(sim, torrents, made[0])
    assert prune(store, tree, [made[0].hash], dry_run=False) == []
    leave(sim, torrents, again)
    assert [each.name for each in prune(store, tree, None, dry_run=False)] == ["One"]


@pytest.mark.parametrize("status", ["dead", "error", "virus", "magnet_error"])
def test_what_the_provider_gave_up_can_be_pruned(
    sim: Simulator, store: Store, torrents: Torrents, tree: FakeTree, made: list[SimTorrent], status: str
) -> None:
    sim.set_status(made[0].id, status)
    torrents.poke()
    torrents.poll()
    (found,) = prune(store, tree, None, dry_run=False)
    assert (found.name, found.reason, found.since) == ("One", f"Real-Debrid gave it up: {status}", None)
    assert {row.name for row in torrents.list()} == {"One", "Two", "Three"}, "it is still in the account"


@pytest.mark.parametrize("status", ["downloading", "queued", "something new"])
def test_no_other_status_is_taken_for_the_end(
    sim: Simulator, client: Client, store: Store, torrents: Torrents, tree: FakeTree, made: list[SimTorrent], status
) -> None:
    from dataclasses import replace

    store.saw([replace(each, status=status) for each in client.torrents().items], now=1)
    assert prune(store, tree, None, dry_run=False) == [] and len(tree.entries) == 3


def test_what_cannot_be_read_or_reached_is_not_gone(
    sim: Simulator, client: Client, store: Store, torrents: Torrents, tree: FakeTree, clock: Clock,
    made: list[SimTorrent],
) -> None:  # fmt: skip
    with sim.faults.set(link_verdicts={"*": "unavailable_file"}), pytest.raises(OSError):
        Library(client, store).stream(("torrent", made[0].hash, "1"), 0, 5)
    for fault in ({"account": "bad_token"}, {"list_fault": "no_content"}, {"api_outage": "html"}):
        with sim.faults.set(**fault):
            clock.now += 1000
            torrents.poll()
            assert prune(store, tree, None, dry_run=False) == []
    assert len(tree.entries) == 3


def test_one_that_came_back_is_safe_even_if_it_was_shown_before(
    sim: Simulator, client: Client, store: Store, torrents: Torrents, tree: FakeTree, made: list[SimTorrent]
) -> None:
    store.set_missing(made[0].id, GONE, now=1)
    shown = prune(store, tree, None, dry_run=True)
    store.saw(client.torrents().items, now=2)
    assert prune(store, tree, [each.hash for each in shown], dry_run=False) == []
    assert len(tree.entries) == 3


def test_missing_torrents_without_names_are_no_longer_listed(
    sim: Simulator, store: Store, torrents: Torrents, tree: FakeTree, made: list[SimTorrent]
) -> None:
    leave(sim, torrents, made[0])
    tree.withdraw(made[0].hash)
    assert prune(store, tree, None, dry_run=True) == [] and len(torrents.list()) == 3
    assert prune(store, tree, None, dry_run=False) == [] and len(torrents.list()) == 2


def test_names_that_cannot_be_removed_are_told(
    sim: Simulator, store: Store, torrents: Torrents, tree: FakeTree, made: list[SimTorrent]
) -> None:
    leave(sim, torrents, made[0])
    tree.fails = True
    (found,) = prune(store, tree, None, dry_run=False)
    assert found.paths == () and "No space left" in found.problem
    assert len(tree.entries) == 3 and len(torrents.list()) == 3
    tree.fails = False
    (found,) = prune(store, tree, None, dry_run=False)
    assert len(found.paths) == 1 and found.problem == ""


def test_an_open_file_is_read_on_after_its_names_were_pruned(
    sim: Simulator, client: Client, store: Store, torrents: Torrents, tree: FakeTree, made: list[SimTorrent]
) -> None:
    leave(sim, torrents, made[0])
    assert prune(store, tree, None, dry_run=False)
    stream = Library(client, store).stream(("torrent", made[0].hash, "1"), 0, 900)
    buffer = bytearray(900)
    assert stream.readinto(memoryview(buffer)) == 900 and buffer == FILM
    stream.close()


def test_pruning_asks_nobody(
    sim: Simulator, store: Store, torrents: Torrents, tree: FakeTree, made: list[SimTorrent]
) -> None:
    leave(sim, torrents, *made)
    calls = sim.count()
    assert len(prune(store, tree, None, dry_run=False)) == 3
    assert sim.count() == calls
