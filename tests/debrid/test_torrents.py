"""The poller: what it publishes, and what never makes it take anything away."""

import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from faketree import Clock, FakeTree

from debrid.client import Client
from debrid.library import Library
from debrid.limits import Limits
from debrid.listing import ListedTorrent
from debrid.simulator import SimTorrent, Simulator
from debrid.store import Store
from debrid.torrents import Torrents

pytestmark = pytest.mark.usefixtures("short_pauses", "no_threads_left")

FILM, EXTRA = b"f" * 900, b"e" * 300


@pytest.fixture
def tree() -> FakeTree:
    return FakeTree()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def torrents(client: Client, store: Store, tree: FakeTree, clock: Clock) -> Torrents:
    return Torrents(client, store, tree, poll_seconds=60, clock=clock)


def old(sim: Simulator, name: str, files: dict[str, Any], **options: Any) -> SimTorrent:
    """A torrent that was finished long ago."""
    return sim.add_torrent(name, files, added=options.pop("added", sim.now() - 3600), **options)


def listed(torrents: Torrents, torrent: SimTorrent) -> ListedTorrent:
    return next(each for each in torrents.list() if each.id == torrent.id)


def infos(sim: Simulator) -> int:
    return sim.count("GET", "/torrents/info")


# -- publishing


def test_finished_torrents_are_published(
    sim: Simulator, client: Client, store: Store, torrents: Torrents, tree: FakeTree
) -> None:
    torrent = old(sim, "Film", {"/Film/film.mkv": FILM, "/Film/Extras/more.mkv": EXTRA})
    torrents.poll()
    assert tree.names_of == {f"realdebrid:{torrent.id}": "torrents/complete/Film"}
    assert tree.paths(torrent) == ["Film/film.mkv", "Film/Extras/more.mkv"]
    files = tree.additions[f"realdebrid:{torrent.id}"]
    assert [(file.key, file.size) for file in files] == [
        (("torrent", torrent.hash, "1"), 900),
        (("torrent", torrent.hash, "2"), 300),
    ]
    stream = Library(client, store).stream(files[1].key, 0, 300)
    buffer = memoryview(bytearray(300))
    assert stream.readinto(buffer) == 300 and bytes(buffer) == EXTRA
    stream.close()
    status = torrents.status()
    assert (status.known, status.published, status.error, status.problems) == (1, 1, "", 0)
    assert status.polled_at is not None


def test_a_single_file_comes_in_a_folder_of_its_own(sim: Simulator, torrents: Torrents, tree: FakeTree) -> None:
    torrent = old(sim, "film.mkv", {"/film.mkv": FILM})
    torrents.poll()
    assert tree.paths(torrent) == ["film.mkv"]
    assert listed(torrents, torrent).path == "torrents/complete/film.mkv"


def test_only_selected_files_are_published_with_their_own_links(
    sim: Simulator, store: Store, torrents: Torrents, tree: FakeTree
) -> None:
    files = {f"/{n}.mkv": b"x" * n for n in range(1, 6)}
    torrent = old(sim, "Five", files, selected=[2, 4])
    torrents.poll()
    assert tree.paths(torrent) == ["2.mkv", "4.mkv"]
    linked = [file.id for file in store.files(torrent.hash) if file.link]
    assert linked == [2, 4]


def test_times_are_true_although_the_provider_stamps_its_local_time_utc(
    sim: Simulator, torrents: Torrents, tree: FakeTree
) -> None:
    finished = int(sim.now()) - 3600
    torrent = old(sim, "Film", {"/film.mkv": FILM}, added=finished)
    torrents.poll()
    assert tree.additions[f"realdebrid:{torrent.id}"][0].mtime_ns == finished * 10**9
    old(sim, "Second", {"/second.mkv": FILM})
    torrents.poll()
    assert sim.count("GET", "/time/iso") == 1


def test_without_the_providers_clock_dates_are_taken_as_they_are(
    sim: Simulator, torrents: Torrents, tree: FakeTree
) -> None:
    finished = int(sim.now()) - 3600
    torrent = old(sim, "Film", {"/film.mkv": FILM}, added=finished)
    with sim.faults.set(api_status=500, api_status_prefix="/time"):
        torrents.poll()
    ahead = tree.additions[f"realdebrid:{torrent.id}"][0].mtime_ns // 10**9 - finished
    assert ahead in (3600, 7200)
    assert torrents.status().error == ""


def test_hostile_names_are_handed_on_raw(sim: Simulator, torrents: Torrents, tree: FakeTree) -> None:
    torrent = old(sim, "../evil\n", {"/../../etc/passwd.mkv": FILM, "//a//b.mkv": EXTRA})
    torrents.poll()
    assert [file.path for file in tree.additions[f"realdebrid:{torrent.id}"]] == [
        ("..", "..", "etc", "passwd.mkv"),
        ("a", "b.mkv"),
    ]
    assert tree.names_of[f"realdebrid:{torrent.id}"] == "torrents/complete/../evil\n"


def test_unfinished_torrents_are_published_when_they_are_done(
    sim: Simulator, torrents: Torrents, tree: FakeTree
) -> None:
    torrent = sim.add_torrent("Film", {"/film.mkv": FILM}, status="downloading")
    torrents.poll()
    assert tree.calls == [] and torrents.status().unfinished == 1
    assert infos(sim) == 0
    sim.set_status(torrent.id, "downloading", 55.5)
    torrents.poll()
    assert listed(torrents, torrent).progress == pytest.approx(55.5, abs=1)
    sim.set_status(torrent.id, "downloaded")
    torrents.poll()
    assert tree.paths(torrent) == ["film.mkv"]


@pytest.mark.parametrize("status", ["error", "virus", "dead", "magnet_error"])
def test_failed_torrents_are_listed_and_left_alone(
    sim: Simulator, torrents: Torrents, tree: FakeTree, status: str
) -> None:
    torrent = sim.add_torrent("Film", {"/film.mkv": FILM}, status=status)
    torrents.poll()
    torrents.poll()
    assert listed(torrents, torrent).status == status
    assert tree.calls == [] and infos(sim) == 0 and torrents.status().unfinished == 0


def test_two_additions_of_one_hash_are_both_published_the_newer_first(
    sim: Simulator, torrents: Torrents, tree: FakeTree
) -> None:
    older = old(sim, "Film", {"/film.mkv": FILM}, added=sim.now() - 9000)
    newer = old(sim, "Film", {"/film.mkv": FILM}, hash=older.hash)
    torrents.poll()
    assert tree.calls == [f"realdebrid:{newer.id}", f"realdebrid:{older.id}"]
    keys = [tree.additions[call][0].key for call in tree.calls]
    assert keys[0] == keys[1]


def test_an_addition_is_published_once(sim: Simulator, torrents: Torrents, tree: FakeTree, clock: Clock) -> None:
    old(sim, "Film", {"/film.mkv": FILM})
    for _ in range(3):
        torrents.poll()
        clock.now += 1000
    assert len(tree.calls) == 1 and infos(sim) == 1


def test_what_the_tree_knows_is_not_asked_for(sim: Simulator, store: Store, torrents: Torrents, tree: FakeTree) -> None:
    torrent = old(sim, "Film", {"/film.mkv": FILM})
    tree.additions[f"realdebrid:{torrent.id}"] = []
    torrents.poll()
    assert tree.calls == [] and infos(sim) == 0
    assert torrents.status().published == 1


# -- links that do not fit


def test_a_missing_link_leaves_its_file_out(sim: Simulator, torrents: Torrents, tree: FakeTree) -> None:
    torrent = old(sim, "Three", {"/a.mkv": b"1", "/b.mkv": b"22", "/c.mkv": b"333"})
    sim.lose_links(torrent.id, [1])
    torrents.poll()
    assert tree.paths(torrent) == ["a.mkv", "c.mkv"]
    assert listed(torrents, torrent).problem == "Real-Debrid gives no link for /b.mkv"
    assert torrents.status().problems == 1


def test_links_matched_by_asking_need_not_be_asked_again(
    sim: Simulator, client: Client, store: Store, torrents: Torrents, tree: FakeTree
) -> None:
    torrent = old(sim, "Three", {"/a.mkv": b"1", "/b.mkv": b"22", "/c.mkv": b"333"})
    sim.lose_links(torrent.id, [0])
    torrents.poll()
    asked = sim.count("POST", "/unrestrict/link")
    for file in tree.additions[f"realdebrid:{torrent.id}"]:
        Library(client, store).stream(file.key, 0, file.size).close()
    assert asked == 2 == sim.count("POST", "/unrestrict/link")


def test_a_dead_link_among_them_is_passed_over(sim: Simulator, torrents: Torrents, tree: FakeTree) -> None:
    torrent = old(sim, "Three", {"/a.mkv": b"1", "/b.mkv": b"22", "/c.mkv": b"333"})
    sim.lose_links(torrent.id, [0])
    with sim.faults.set(link_verdicts={"b.mkv": "hoster_unavailable"}):
        torrents.poll()
    assert tree.paths(torrent) == ["c.mkv"]
    assert "/a.mkv, /b.mkv" in listed(torrents, torrent).problem


def test_lost_content_is_looked_at_again_after_hours(
    sim: Simulator, torrents: Torrents, tree: FakeTree, clock: Clock
) -> None:
    torrent = old(sim, "Film", {"/film.mkv": FILM})
    with sim.faults.set(links_empty=True):
        torrents.poll()
        torrents.poll()
    assert tree.calls == [] and infos(sim) == 1
    assert listed(torrents, torrent).problem == "Real-Debrid lost its content"
    clock.now += 7 * 3600
    torrents.poll()
    assert tree.paths(torrent) == ["film.mkv"]
    assert listed(torrents, torrent).problem == ""


def test_late_links_are_waited_for(sim: Simulator, torrents: Torrents, tree: FakeTree, clock: Clock) -> None:
    torrent = sim.add_torrent("Film", {"/a.mkv": FILM, "/b.mkv": EXTRA})
    sim.faults.late_links_seconds = 40.0
    torrents.poll()
    assert tree.calls == []
    assert "waiting" in listed(torrents, torrent).problem
    for _ in range(6):
        clock.now += 11
        sim.advance(11)
        torrents.poll()
    assert tree.paths(torrent) == ["a.mkv", "b.mkv"]
    assert listed(torrents, torrent).problem == ""
    assert sim.count("POST", "/unrestrict/link") == 0


def test_links_that_never_come_are_not_waited_for_long(
    sim: Simulator, torrents: Torrents, tree: FakeTree, clock: Clock
) -> None:
    torrent = sim.add_torrent("Film", {"/a.mkv": FILM, "/b.mkv": EXTRA})
    sim.lose_links(torrent.id, [1])
    torrents.poll()
    assert tree.calls == []
    clock.now += 61
    torrents.poll()
    assert tree.paths(torrent) == ["a.mkv"]


# -- nothing is lost


def settle(sim: Simulator, torrents: Torrents, count: int = 8) -> list[SimTorrent]:
    """Torrents that are published, and what `list` says of them."""
    made = [old(sim, f"T{n}", {f"/{n}.mkv": b"x" * (n + 1)}, added=sim.now() - 9000 + n) for n in range(count)]
    torrents.poll()
    assert torrents.status().published == count
    return made


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"account": "bad_token"}, "token"),
        ({"account": "locked"}, "locked"),
        ({"api_status": 429, "retry_after": 300.0}, "paced|too many"),
        ({"api_status": 503}, "503"),
        ({"api_outage": "html"}, "HTTP 503"),
        ({"api_outage": "maintenance"}, "code 25"),
        ({"list_fault": "object"}, "list was expected"),
        ({"list_fault": "no_content"}, "shows 0 torrents, but"),
        ({"list_fault": "no_content", "total_count_on_204": True}, "shows 0 torrents, but"),
        ({"list_fault": "empty_array"}, "shows 0 torrents, but"),
        ({"list_fault": "half"}, "shows 4 torrents, but"),
    ],
)
def test_nothing_changes_because_something_is_wrong(
    sim: Simulator,
    torrents: Torrents,
    tree: FakeTree,
    clock: Clock,
    fault: dict[str, Any],
    error: str,
) -> None:
    settle(sim, torrents)
    before = torrents.list()
    calls = list(tree.calls)
    with sim.faults.set(**fault):
        for _ in range(3):
            clock.now += 1000
            torrents.poll()
            assert re.search(error, torrents.status().error)
    assert torrents.list() == before and tree.calls == calls
    assert torrents.status().missing == 0


def test_it_says_whether_the_tree_may_lack_something(
    sim: Simulator, torrents: Torrents, tree: FakeTree, clock: Clock
) -> None:
    assert "being published" in torrents.incomplete(), "nobody was asked yet"
    for number in range(51):
        old(sim, f"Film {number}", {"/film.mkv": FILM})
    assert torrents.poll() and "being published" in torrents.incomplete()
    torrents.poll()
    assert torrents.incomplete() == "" and len(tree.names_of) == 51
    with sim.faults.set(api_outage="maintenance"):
        clock.now += 1000
        torrents.poll()
        assert torrents.incomplete() == torrents.status().error != ""
    torrents.poll()
    assert torrents.incomplete() == ""


def test_it_goes_on_by_itself_afterwards(sim: Simulator, torrents: Torrents, tree: FakeTree, clock: Clock) -> None:
    settle(sim, torrents, 2)
    with sim.faults.set(list_fault="no_content"):
        clock.now += 1000
        torrents.poll()
        assert torrents.status().error
    fresh = old(sim, "New", {"/new.mkv": FILM})
    torrents.poll()
    assert torrents.status().error == "" and tree.paths(fresh) == ["new.mkv"]


def test_a_torrent_that_left_is_marked_but_stays_published(
    sim: Simulator, torrents: Torrents, tree: FakeTree, clock: Clock
) -> None:
    made = settle(sim, torrents, 3)
    sim.remove_torrent(made[1].id)
    torrents.poll()
    row = listed(torrents, made[1])
    assert (row.status, row.problem) == ("missing", "no longer in the Real-Debrid account")
    assert row.path == "torrents/complete/T1"
    assert len(tree.additions) == 3
    status = torrents.status()
    assert (status.missing, status.error) == (1, "")
    asked = infos(sim)
    clock.now += 1000
    torrents.poll()
    assert infos(sim) == asked


def test_an_account_that_was_emptied_is_believed_after_asking(
    sim: Simulator, torrents: Torrents, tree: FakeTree
) -> None:
    made = settle(sim, torrents, 8)
    for torrent in made:
        sim.remove_torrent(torrent.id)
    torrents.poll()
    torrents.poll()
    assert torrents.status().missing == 8 and torrents.status().error == ""
    assert len(tree.additions) == 8


def test_a_torrent_that_comes_back_is_no_longer_missing(sim: Simulator, torrents: Torrents, clock: Clock) -> None:
    made = settle(sim, torrents, 2)
    with sim.faults.set(api_status=404, api_status_code=7, api_status_prefix="/torrents/info", list_fault="half"):
        clock.now += 1000
        torrents.poll()
        assert listed(torrents, made[0]).status == "missing"
    torrents.poll()
    clock.now += 1000
    torrents.poll()
    assert listed(torrents, made[0]).status == "downloaded" and listed(torrents, made[0]).problem == ""


# -- cheap and patient


def test_an_unchanged_account_costs_one_small_call(sim: Simulator, torrents: Torrents) -> None:
    settle(sim, torrents)
    sim.journal_clear()
    for _ in range(4):
        torrents.poll()
    assert [request.query for request in sim.journal] == [{"page": "1", "limit": "1"}] * 4


def test_the_whole_list_is_read_now_and_then(sim: Simulator, torrents: Torrents, clock: Clock) -> None:
    made = settle(sim, torrents, 3)
    sim.set_status(made[0].id, "dead")
    torrents.poll()
    assert listed(torrents, made[0]).status == "downloaded"
    clock.now += 1000
    torrents.poll()
    assert listed(torrents, made[0]).status == "dead"


def test_poke_reads_the_whole_list(sim: Simulator, torrents: Torrents) -> None:
    made = settle(sim, torrents, 3)
    sim.set_status(made[0].id, "dead")
    torrents.poke()
    torrents.poll()
    assert listed(torrents, made[0]).status == "dead"


def test_a_restart_costs_no_info_calls(
    sim: Simulator, make_client: Callable[..., Client], tmp_path: Path, tree: FakeTree
) -> None:
    for _ in range(2):
        with Store(tmp_path / "again.db") as store:
            torrents = Torrents(make_client(), store, tree)
            if not tree.calls:
                settle(sim, torrents, 5)
            else:
                sim.journal_clear()
                torrents.poll()
    assert infos(sim) == 0
    assert len(tree.calls) == 5


def test_a_lost_store_fills_itself_again_without_publishing_twice(
    sim: Simulator, client: Client, tmp_path: Path, torrents: Torrents, tree: FakeTree
) -> None:
    made = settle(sim, torrents, 3)
    with Store(tmp_path / "new.db") as store:
        second = Torrents(client, store, tree)
        second.poll()
        assert second.status().published == 3 and len(tree.calls) == 3
        key = tree.additions[f"realdebrid:{made[2].id}"][0].key
        stream = Library(client, store).stream(key, 0, 3)
        assert stream.readinto(memoryview(bytearray(3))) == 3
        stream.close()


def test_a_tree_that_cannot_publish_is_tried_again_without_new_calls(
    sim: Simulator, torrents: Torrents, tree: FakeTree, clock: Clock
) -> None:
    torrent = old(sim, "Film", {"/film.mkv": FILM})
    tree.fails = True
    torrents.poll()
    assert "No space left" in torrents.status().error
    assert "cannot be published" in listed(torrents, torrent).problem
    tree.fails = False
    clock.now += 61
    torrents.poll()
    assert tree.paths(torrent) == ["film.mkv"] and infos(sim) == 1
    assert listed(torrents, torrent).problem == "" and torrents.status().error == ""


def test_one_bad_torrent_does_not_hold_up_the_others(
    sim: Simulator, torrents: Torrents, tree: FakeTree, clock: Clock
) -> None:
    good = old(sim, "Good", {"/good.mkv": FILM}, added=sim.now() - 9000)
    bad = old(sim, "Bad", {"/bad.mkv": FILM})
    with sim.faults.set(api_status=502, api_status_prefix=f"/torrents/info/{bad.id}"):
        torrents.poll()
        assert tree.calls == [] and "502" in torrents.status().error
        torrents.poll()
        assert tree.paths(good) == ["good.mkv"] and torrents.status().error == ""
    clock.now += 61
    torrents.poll()
    assert tree.paths(bad) == ["bad.mkv"]
    assert listed(torrents, bad).problem == ""


def test_a_torrent_that_left_before_it_was_published(
    sim: Simulator, client: Client, store: Store, torrents: Torrents, tree: FakeTree, clock: Clock
) -> None:
    torrent = old(sim, "Film", {"/film.mkv": FILM})
    store.saw(client.torrents().items, clock())
    sim.remove_torrent(torrent.id)
    torrents.poll()
    assert listed(torrents, torrent).status == "missing" and tree.calls == []


def test_failing_files_show_in_the_list(
    sim: Simulator, client: Client, store: Store, torrents: Torrents, tree: FakeTree
) -> None:
    torrent = old(sim, "Film", {"/film.mkv": FILM})
    torrents.poll()
    with sim.faults.set(link_verdicts={"*": "unavailable_file"}), pytest.raises(OSError, match="stored"):
        Library(client, store).stream(tree.additions[f"realdebrid:{torrent.id}"][0].key, 0, 5)
    assert "/film.mkv" in listed(torrents, torrent).problem


def test_a_bug_does_not_end_the_poller(
    sim: Simulator, torrents: Torrents, tree: FakeTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    old(sim, "Film", {"/film.mkv": FILM})
    with monkeypatch.context() as patched:
        patched.setattr(tree, "publish", None)
        torrents.poll()
    assert "internal error" in torrents.status().error
    torrents.poll()
    assert torrents.status().error == ""


def test_the_real_pace_stays_within_the_allowance(
    sim: Simulator, make_client: Callable[..., Client], store: Store, tree: FakeTree
) -> None:
    sim.faults.rate_limits = True
    for n in range(6):
        old(sim, f"T{n}", {f"/{n}.mkv": FILM})
    torrents = Torrents(make_client(limits=Limits()), store, tree)
    torrents.poll()
    assert len(tree.calls) == 6 and torrents.status().error == ""
    assert not any(request.status == 429 for request in sim.journal)


# -- the thread


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_the_thread_notices_what_happens(sim: Simulator, client: Client, store: Store, tree: FakeTree) -> None:
    torrents = Torrents(client, store, tree, poll_seconds=0.05)
    torrents.start()
    torrents.start()
    try:
        first = old(sim, "First", {"/first.mkv": FILM})
        until(lambda: len(tree.calls) == 1)
        second = sim.add_torrent("Second", {"/second.mkv": FILM}, status="downloading")
        until(lambda: torrents.status().unfinished == 1)
        sim.set_status(second.id, "downloaded")
        until(lambda: len(tree.calls) == 2)
        assert tree.paths(first) == ["first.mkv"]
    finally:
        torrents.stop()
    torrents.stop()
    torrents.start()
    torrents.stop()


def test_stop_ends_a_call_under_way(sim: Simulator, client: Client, store: Store, tree: FakeTree) -> None:
    torrents = Torrents(client, store, tree, poll_seconds=0.05)
    sim.faults.api_latency = 60.0
    torrents.start()
    until(lambda: sim.count("GET", "/torrents"))
    begin = time.monotonic()
    torrents.stop()
    assert time.monotonic() - begin < 5
    assert torrents.status().error == ""


def test_stop_ends_a_long_wait_for_the_pace(sim: Simulator, client: Client, store: Store, tree: FakeTree) -> None:
    torrents = Torrents(client, store, tree, poll_seconds=0.05)
    client.limits.refused(60)
    torrents.start()
    time.sleep(0.2)
    begin = time.monotonic()
    torrents.stop()
    assert time.monotonic() - begin < 5
    assert sim.journal == []


def test_poke_wakes_the_thread(sim: Simulator, client: Client, store: Store, tree: FakeTree) -> None:
    torrents = Torrents(client, store, tree, poll_seconds=1000)
    torrents.start()
    try:
        until(lambda: torrents.status().polled_at)
        old(sim, "Film", {"/film.mkv": FILM})
        torrents.poke()
        until(lambda: tree.calls)
    finally:
        torrents.stop()


def test_polling_from_two_threads_publishes_once(sim: Simulator, torrents: Torrents, tree: FakeTree) -> None:
    old(sim, "Film", {"/film.mkv": FILM})
    threads = [threading.Thread(target=torrents.poll) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(tree.calls) == 1
