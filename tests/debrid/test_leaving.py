"""How content leaves the account: late, only what was added here, and never because of a doubt."""

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from faketree import Clock, FakeTree

from debrid.client import Client
from debrid.errors import Interrupted, StoreError
from debrid.leaving import Leaving
from debrid.library import Library
from debrid.simulator import SimTorrent, Simulator
from debrid.store import Store
from debrid.torrents import Torrents
from debrid.transport import Interrupt

pytestmark = pytest.mark.usefixtures("short_pauses", "no_threads_left")

HOUR = 3600.0
FILM, EXTRA = b"f" * 900, b"e" * 300
FILES = {"/film.mkv": FILM, "/more.mkv": EXTRA}


class Account:
    """All that lives together: the simulator, the store, a tree, the poller, and what deletes."""

    def __init__(self, sim: Simulator, client: Client, path: Path, delete_after: float | None = HOUR) -> None:
        self.sim, self.client, self.path, self.delete_after = sim, client, path, delete_after
        self.tree, self.clock = FakeTree(), Clock()
        self.start()

    def start(self) -> None:
        self.store = Store(self.path)
        self.leaving = Leaving(self.client, self.store, self.tree, delete_after=self.delete_after, clock=self.clock)
        self.torrents = Torrents(self.client, self.store, self.tree, leaving=self.leaving, clock=self.clock)

    def restart(self) -> None:
        self.store.close()
        self.start()

    def add(self, info_hash: str, ours: bool = True) -> str:
        """As the download client does it; the new torrent id."""
        ident = self.client.add_magnet(self.sim.magnet(info_hash))
        if ours:
            self.store.mark_added_here(ident, info_hash)
        self.client.select_files(ident)
        return ident

    def published(self, name: str = "Film", ours: bool = True) -> str:
        """The hash of a torrent that was added and is in the tree."""
        info_hash = self.sim.offer(name, FILES)
        self.add(info_hash, ours)
        self.torrents.poll()
        assert len(self.tree.names(info_hash)) == 2
        return info_hash

    def remove(self, info_hash: str, *paths: str) -> None:
        """Take these names away (default: all), and release what has none left, as the filesystem does."""
        for path in paths or self.tree.names(info_hash):
            key = self.tree.entries.pop(path)
            if key not in self.tree.entries.values():
                self.leaving.release(key)

    def later(self, seconds: float) -> None:
        """So much later the poller looks; it always looks at least once more."""
        self.clock.now += seconds
        self.torrents.poll()
        self.torrents.poll()

    @property
    def ids(self) -> list[str]:
        return [each.id for each in self.sim.torrents]

    @property
    def deletions(self) -> int:
        return self.sim.count("DELETE", "/torrents/delete")


@pytest.fixture
def make_account(sim: Simulator, client: Client, tmp_path: Path) -> Iterator[Callable[..., Account]]:
    made: list[Account] = []

    def make(**options: Any) -> Account:
        made.append(Account(sim, client, tmp_path / "life.db", **options))
        return made[-1]

    yield make
    for account in made:
        account.store.close()


@pytest.fixture
def account(make_account: Callable[..., Account]) -> Account:
    return make_account()


# -- what leaves, and when


def test_content_leaves_some_time_after_its_last_name(account: Account) -> None:
    info_hash = account.published()
    calls = account.sim.count()
    account.remove(info_hash)
    assert account.sim.count() == calls, "removing a name asks nobody"
    account.later(HOUR - 1)
    assert len(account.ids) == 1 and account.deletions == 0
    account.later(1)
    assert account.ids == [] and account.deletions == 1
    account.later(10 * HOUR)
    assert account.deletions == 1 and account.torrents.status().error == ""
    assert account.torrents.list() == [], "nothing is left to be said of it"


def test_what_people_added_stays(account: Account) -> None:
    info_hash = account.published(ours=False)
    account.remove(info_hash)
    for _ in range(3):
        account.later(HOUR)
    account.restart()
    account.later(HOUR)
    assert len(account.ids) == 1 and account.deletions == 0


def test_of_one_content_only_the_additions_made_here_leave(account: Account) -> None:
    info_hash = account.sim.offer("Film", FILES)
    theirs, mine, also_mine = (account.add(info_hash, ours) for ours in (False, True, True))
    account.torrents.poll()
    account.remove(info_hash)
    account.later(HOUR)
    assert account.ids == [theirs] and account.deletions == 2
    assert mine != also_mine and [each.id for each in account.torrents.list()] == [theirs]


def test_a_torrent_stays_as_long_as_any_of_its_files_has_a_name(account: Account) -> None:
    info_hash = account.published()
    film, more = account.tree.names(info_hash)
    account.remove(info_hash, film)
    account.later(5 * HOUR)
    assert account.deletions == 0
    account.remove(info_hash, more)
    account.later(HOUR - 1)
    assert account.deletions == 0
    account.later(1)
    assert account.deletions == 1


def test_the_time_counts_from_the_last_name_not_from_the_first(account: Account) -> None:
    info_hash = account.published()
    film, more = account.tree.names(info_hash)
    account.remove(info_hash, film)
    account.later(HOUR - 1)
    account.remove(info_hash, more)
    account.later(HOUR - 1)
    assert account.deletions == 0
    account.later(1)
    assert account.deletions == 1


def test_a_name_that_comes_back_in_time_keeps_it(account: Account) -> None:
    info_hash = account.published()
    (path, key), *_ = account.tree.entries.items()
    account.remove(info_hash)
    account.later(HOUR / 2)
    account.tree.entries["media/movies/film.mkv"] = key
    account.later(HOUR)
    assert account.deletions == 0 and account.store.released() == []
    account.remove(info_hash)
    account.later(HOUR - 1)
    assert account.deletions == 0
    account.later(1)
    assert account.ids == []


def test_an_open_handle_keeps_it(account: Account) -> None:
    info_hash = account.published()
    film, more = account.tree.names(info_hash)
    account.remove(info_hash, film)
    account.tree.opened.add(info_hash)
    key = account.tree.entries.pop(more)  # not released: it is still open
    account.later(5 * HOUR)
    assert account.deletions == 0
    account.tree.opened.clear()
    account.leaving.release(key)
    account.later(HOUR)
    assert account.ids == []


def test_never_is_never(make_account: Callable[..., Account]) -> None:
    account = make_account()
    before = account.published("Before")
    account.remove(before)
    account.delete_after = None
    account.restart()
    meanwhile, half = account.published("Meanwhile"), account.published("Half")
    account.remove(meanwhile)
    account.remove(half, account.tree.names(half)[0])
    account.later(1000 * HOUR)
    assert account.deletions == 0 and account.store.released() == []
    account.delete_after = HOUR
    account.restart()
    for _ in range(3):
        account.later(HOUR)
    assert account.deletions == 0, "what was kept then stays kept"
    account.remove(half)
    account.later(HOUR)
    assert account.deletions == 1 and len(account.ids) == 2


def test_no_time_at_all_still_waits_for_the_poller(make_account: Callable[..., Account]) -> None:
    account = make_account(delete_after=0.0)
    info_hash = account.published()
    account.remove(info_hash)
    assert account.deletions == 0
    account.later(0)
    assert account.ids == []


def test_links_of_hosters_are_in_no_account(account: Account) -> None:
    account.leaving.release(("link", "abc", ""))
    account.later(HOUR)
    assert account.sim.count("DELETE") == 0


# -- added anew


def test_what_is_added_anew_stays_with_all_that_waited(account: Account) -> None:
    info_hash = account.published()
    account.remove(info_hash)
    account.later(HOUR - 1)
    account.add(info_hash)
    account.later(HOUR)
    assert len(account.tree.names(info_hash)) == 2
    assert len(account.ids) == 2 and account.deletions == 0
    account.remove(info_hash)
    account.later(HOUR)
    assert account.ids == [] and account.deletions == 2


def test_what_is_not_in_the_tree_yet_does_not_leave(account: Account) -> None:
    info_hash = account.published()
    account.sim.faults.settle_seconds = 10 * HOUR
    coming = account.add(info_hash)
    account.later(60)
    account.remove(info_hash)
    account.later(2 * HOUR)
    assert account.ids == [coming], "the older one had its names"
    account.sim.advance(11 * HOUR)
    account.later(HOUR)
    assert len(account.tree.names(info_hash)) == 2 and account.ids == [coming]


def test_a_foreign_addition_of_the_same_content_brings_names_that_keep_ours(account: Account) -> None:
    info_hash = account.published()
    account.remove(info_hash)
    account.later(HOUR / 2)
    account.add(info_hash, ours=False)
    account.later(HOUR)
    assert len(account.ids) == 2 and account.deletions == 0


# -- troubles


def removed(account: Account) -> str:
    """A hash that is due; the poller is content so far."""
    info_hash = account.published()
    account.remove(info_hash)
    account.clock.now += HOUR
    return info_hash


@pytest.mark.parametrize(
    "fault",
    [
        {"api_status": 503, "api_status_body": "html"},
        {"api_status": 503, "api_status_code": 6, "api_status_body": "json"},
        {"api_status": 404, "api_status_body": "html"},
        {"api_status": 400, "api_status_code": 2},
        {"api_status": 403, "api_status_code": 9},
    ],
    ids=str,
)
def test_a_refused_deletion_is_tried_again_after_growing_pauses(account: Account, fault: dict[str, Any]) -> None:
    removed(account)
    with account.sim.faults.set(api_status_prefix="/torrents/delete", **fault):
        attempts = []
        for minute in range(60):
            account.torrents.poll()
            (waiting,) = account.store.released()
            if waiting.failures > len(attempts):
                attempts.append(minute)
            account.clock.now += 60
        (row,) = account.torrents.list()
        assert row.problem and row.released_at is not None
    assert attempts == [0, 1, 3, 7, 15, 31]
    assert len(account.ids) == 1
    time.sleep(1.3)  # a refused permission holds back all calls of its kind for a moment, longer each time
    account.later(6 * HOUR)
    assert account.ids == []


@pytest.mark.parametrize(
    "fault",
    [
        {"api_outage": "html"},
        {"api_outage": "refused"},
        {"account": "bad_token"},
        {"api_status": 429, "retry_after": 300.0},
        {"list_fault": "object"},
        {"list_fault": "half"},
        {"list_fault": "no_content"},
    ],
    ids=str,
)
def test_nothing_leaves_while_the_account_looks_odd(
    sim: Simulator, make_client: Callable[..., Client], tmp_path: Path, fault: dict[str, Any]
) -> None:
    account = Account(sim, make_client(), tmp_path / "odd.db")
    account.published("Other")
    removed(account)
    with sim.faults.set(**fault):
        account.later(1000)
        account.later(1000)
        assert account.torrents.status().error
    assert len(account.ids) == 2 and account.deletions == 0
    account.client = make_client()  # without the pauses it was given
    account.restart()
    account.later(HOUR)
    assert len(account.ids) == 1
    account.store.close()


def test_the_answer_to_a_deletion_is_lost(account: Account) -> None:
    removed(account)
    with account.sim.faults.set(api_lost_reply="/torrents/delete", api_lost_reply_times=1):
        account.later(0)
    assert account.ids == [] and account.store.released() == []
    assert account.torrents.status().error == ""


def test_what_is_gone_already_counts_as_deleted(account: Account) -> None:
    removed(account)
    for ident in account.ids:
        account.sim.remove_torrent(ident)
    account.later(0)
    account.later(HOUR)
    assert account.deletions == 1 and account.store.released() == [] and account.torrents.list() == []


def test_one_that_cannot_be_deleted_does_not_hold_up_the_others(account: Account) -> None:
    hashes = [account.published(name) for name in ("A", "B", "C")]
    bad = next(each.id for each in account.sim.torrents if each.name == "A")
    for info_hash in hashes:
        account.remove(info_hash)
    with account.sim.faults.set(api_status=502, api_status_prefix=f"/torrents/delete/{bad}"):
        account.later(HOUR)
        account.later(60)
        assert account.ids == [bad]
    account.later(HOUR)
    assert account.ids == []


def test_an_outage_costs_one_call_a_round_however_many_wait(account: Account) -> None:
    for number in range(5):
        account.remove(account.published(f"Film {number}"))
    account.clock.now += HOUR
    refusal = {"api_status": 503, "api_status_code": 6, "api_status_body": "json"}
    with account.sim.faults.set(api_status_prefix="/torrents/delete", **refusal):
        for count in (1, 2, 3):
            account.torrents.poll()
            assert account.deletions == count
    account.later(60)
    assert account.ids == []


def test_many_leave_at_their_pace_and_stop_at_once_when_told(account: Account) -> None:
    hashes = [account.sim.offer(f"Film {number}", {"/film.mkv": FILM}) for number in range(45)]
    for info_hash in hashes:
        account.add(info_hash)
    account.torrents.poll()
    for info_hash in hashes:
        account.remove(info_hash)
    account.clock.now += HOUR
    interrupt = Interrupt()
    interrupt.set()
    with pytest.raises(Interrupted):
        account.leaving.run_due(interrupt)
    assert account.deletions == 0
    assert account.torrents.poll() and account.deletions == 20
    assert account.torrents.poll() and account.deletions == 40
    assert not account.torrents.poll() and account.ids == []


def test_release_raises_nothing_and_is_made_up_for(
    account: Account, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    info_hash = account.published()

    def broken(*_: object) -> int:
        raise StoreError("disk full")

    with monkeypatch.context() as patched, caplog.at_level(logging.ERROR):
        patched.setattr(account.store, "release", broken)
        account.remove(info_hash)
        account.later(2 * HOUR)
    assert "disk full" in caplog.text and "disk full" in account.torrents.status().error
    account.later(1)
    assert account.store.released() and account.deletions == 0
    account.later(HOUR)
    assert account.ids == []


def test_release_does_not_wait_for_a_deletion(account: Account) -> None:
    removed(account)
    other = account.published("Other")
    account.sim.faults.api_latency_by_prefix = {"/torrents/delete": 1.0}
    poll = threading.Thread(target=account.torrents.poll)
    poll.start()
    while not account.deletions:
        pass
    account.remove(other)
    assert poll.is_alive()
    poll.join()


# -- restarts


@pytest.mark.parametrize("when", ["at once", "before it is due", "when it is due"])
def test_a_restart_in_between_changes_nothing(account: Account, when: str) -> None:
    info_hash = account.published()
    account.remove(info_hash)
    if when == "before it is due":
        account.later(HOUR - 1)
    account.clock.now += HOUR if when == "when it is due" else 0
    account.restart()
    account.torrents.poll()
    assert len(account.ids) == (0 if when == "when it is due" else 1)
    account.later(HOUR)
    assert account.ids == [] and account.deletions == 1


def test_a_restart_between_the_deletion_and_its_note(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    removed(account)

    def broken(*_: object) -> None:
        raise StoreError("killed")

    with monkeypatch.context() as patched:
        patched.setattr(account.store, "forget", broken)
        account.torrents.poll()
    assert account.ids == [] and len(account.store.released()) == 1
    account.restart()
    account.later(0)
    assert account.store.released() == [] and account.deletions == 2


def test_names_that_went_without_a_note_are_found_at_the_next_start(account: Account) -> None:
    gone, here = account.published("Gone"), account.published("Here")
    theirs = account.published("Theirs", ours=False)
    for path in [*account.tree.names(gone), *account.tree.names(theirs)]:
        del account.tree.entries[path]  # and then the machine lost its power
    account.restart()
    account.later(0)
    assert [each.hash for each in account.store.released()] == [gone]
    account.later(HOUR - 1)
    assert account.deletions == 0
    account.later(1)
    assert account.deletions == 1 and len(account.ids) == 2
    assert account.tree.named(here)


def test_looking_after_a_start_does_not_begin_the_time_anew(account: Account) -> None:
    hashes = [account.published(f"Film {number}") for number in range(45)]
    account.restart()
    account.torrents.poll()
    for info_hash in hashes:
        account.remove(info_hash)
    before = account.store.released()
    account.later(60)
    assert account.store.released() == before and len(before) == 45


def test_many_are_looked_at_after_a_start_a_few_at_a_time(account: Account) -> None:
    hashes = [account.sim.offer(f"Film {number}", {"/film.mkv": FILM}) for number in range(45)]
    for info_hash in hashes:
        account.add(info_hash)
    account.torrents.poll()
    account.tree.entries.clear()
    account.restart()
    for count in (20, 40, 45, 45):
        account.torrents.poll()
        assert len(account.store.released()) == count


def test_a_tree_older_than_the_store_loses_no_content(account: Account) -> None:
    """As after a backup of names.db: it neither knows the publication nor its names."""
    info_hash = account.published()
    account.remove(info_hash)
    account.tree.additions.clear()
    account.tree.fails = True
    account.restart()
    account.clock.now += HOUR
    for _ in range(3):
        account.later(61)
    assert account.deletions == 0, "its names could not be brought back yet"
    account.tree.fails = False
    account.later(61)
    assert len(account.tree.names(info_hash)) == 2 and account.deletions == 0


def test_without_debrid_db_everything_counts_as_added_by_people(account: Account, tmp_path: Path) -> None:
    info_hash = account.published()
    account.remove(info_hash)
    account.store.close()
    account.path = tmp_path / "new.db"
    account.start()
    account.later(0)
    account.later(HOUR)
    assert len(account.ids) == 1 and account.deletions == 0
    assert account.tree.names(info_hash) == []


# -- how it is told


def test_the_list_tells_what_is_about_to_leave(account: Account) -> None:
    info_hash = account.published()
    (row,) = account.torrents.list()
    assert row.released_at is None
    account.remove(info_hash)
    (row,) = account.torrents.list()
    assert row.released_at == account.clock.now and row.since is None


def test_the_library_hands_releases_on(account: Account) -> None:
    info_hash = account.published()
    key = ("torrent", info_hash, "1")
    Library(account.client, account.store).release(key)
    assert account.store.released() == []
    Library(account.client, account.store, leaving=account.leaving).release(key)
    assert [each.hash for each in account.store.released()] == [info_hash]


# -- the store


def test_a_mark_may_come_before_the_torrent_is_listed(store: Store, sim: Simulator, client: Client) -> None:
    torrent: SimTorrent = sim.add_torrent("Film", FILES)
    store.mark_added_here(torrent.id, torrent.hash.upper())
    assert store.added_here(torrent.id) and not store.added_here("other")
    assert store.release(torrent.hash, now=1) == 0
    store.saw(client.torrents().items, now=1)
    assert store.release(torrent.hash, now=1) == 0, "not published yet"
    store.set_published(torrent.id, "torrents/complete/Film")
    assert store.release(torrent.hash, now=5) == 1
    released = store.next_released(until=5, now=5)
    assert released is not None and (released.id, released.released_at) == (torrent.id, 5)
    assert store.next_released(until=4, now=5) is None
    store.mark_added_here(torrent.id, torrent.hash)
    assert store.released() == []


def test_a_second_release_is_not_forgotten_with_the_first(store: Store, sim: Simulator, client: Client) -> None:
    torrent = sim.add_torrent("Film", FILES)
    store.saw(client.torrents().items, now=1)
    store.mark_added_here(torrent.id, torrent.hash)
    store.set_published(torrent.id, "")
    store.release(torrent.hash, now=5)
    (first,) = store.released()
    store.put_off(torrent.id, "later", retry_at=100)
    assert store.next_released(until=50, now=99) is None
    store.release(torrent.hash, now=6)
    store.keep(first)
    (second,) = store.released()
    assert (second.released_at, second.failures, second.problem) == (6, 0, "")
    store.keep(second)
    assert store.released() == []


def test_a_store_of_the_first_schema_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "debrid.db"
    db = sqlite3.connect(path)
    db.executescript(
        """
        CREATE TABLE torrents (
            id TEXT PRIMARY KEY, hash TEXT NOT NULL, name TEXT NOT NULL, status TEXT NOT NULL,
            progress REAL NOT NULL, bytes INTEGER NOT NULL, added_ns INTEGER, ended_ns INTEGER, done_at REAL,
            seen_at REAL NOT NULL, selection TEXT, missing INTEGER NOT NULL DEFAULT 0,
            problem TEXT NOT NULL DEFAULT '', retry_at REAL NOT NULL DEFAULT 0, path TEXT
        );
        CREATE INDEX torrents_by_hash ON torrents (hash);
        CREATE TABLE files (
            hash TEXT NOT NULL, id INTEGER NOT NULL, path TEXT NOT NULL, bytes INTEGER NOT NULL, link TEXT,
            url TEXT, url_until REAL NOT NULL DEFAULT 0, problem TEXT NOT NULL DEFAULT '',
            failures INTEGER NOT NULL DEFAULT 0, retry_at REAL NOT NULL DEFAULT 0, PRIMARY KEY (hash, id)
        ) WITHOUT ROWID;
        INSERT INTO torrents (id, hash, name, status, progress, bytes, seen_at, missing, path)
        VALUES
            ('A', 'aa', 'Here', 'downloaded', 100, 7, 5, 0, 'p'), ('B', 'bb', 'Gone', 'downloaded', 100, 7, 6, 1, '');
        PRAGMA user_version = 1;
        """
    )
    db.close()
    for _ in range(2):
        with Store(path) as store:
            found = {each.id: (each.name, each.missing_at, each.path) for each in store.torrents()}
            assert found == {"A": ("Here", None, "p"), "B": ("Gone", 6, "")}
            store.mark_added_here("A", "aa")
            assert store.release("aa", now=9) == 1
