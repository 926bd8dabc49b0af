"""debrid.db: what is kept, by which key, and what happens when it cannot be read."""

import os
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest

from debrid.errors import StoreError
from debrid.models import TorrentFile, TorrentInfo, TorrentItem
from debrid.store import Store

HASH = "a" * 40


def item(ident: str, **changes: Any) -> TorrentItem:
    values: dict[str, Any] = {
        "id": ident,
        "hash": HASH,
        "filename": "Film",
        "bytes": 7,
        "status": "downloaded",
        "progress": 100.0,
        "added_ns": 10,
        "ended_ns": 20,
        "links": (),
    }
    return TorrentItem(**(values | changes))


def info(ident: str, sizes: tuple[int, ...] = (3, 4), **changes: Any) -> TorrentInfo:
    base = item(ident, **changes)
    files = tuple(TorrentFile(n, f"/Film/{n}.mkv", size, True) for n, size in enumerate(sizes, 1))
    fields = {name: getattr(base, name) for name in TorrentItem.__slots__}
    return TorrentInfo(**fields, files=files)


def test_a_torrent_is_kept_and_updated(store: Store) -> None:
    store.saw([item("A", status="downloading", progress=5.0)], now=100)
    store.saw([item("A", status="downloaded")], now=200)
    store.saw([item("A", status="downloaded")], now=300)
    kept = store.torrent("A")
    assert kept is not None
    assert (kept.status, kept.progress, kept.done_at, kept.seen_at) == ("downloaded", 100.0, 200, 300)
    assert kept.selection is None and kept.path is None
    assert store.torrent("B") is None


def test_torrents_are_listed_newest_first(store: Store) -> None:
    store.saw([item("A", added_ns=1), item("C", added_ns=3), item("B", added_ns=2)], now=1)
    assert [each.id for each in store.torrents()] == ["C", "B", "A"]


def test_files_are_keyed_by_hash_not_by_addition(store: Store) -> None:
    store.saw([item("A", added_ns=1), item("B", added_ns=2)], now=1)
    store.record(info("B"), {1: "link-b1", 2: "link-b2"})
    store.record(info("A"), {1: "link-a1", 2: "link-a2"})
    assert [(file.id, file.bytes, file.link) for file in store.files(HASH)] == [
        (1, 3, "link-b1"),
        (2, 4, "link-b2"),
    ]
    kept = store.torrent("A")
    assert kept is not None and kept.selection == (1, 2)


def test_an_older_addition_gives_its_link_only_where_the_newer_has_none_or_failed(store: Store) -> None:
    store.saw([item("A", added_ns=1), item("B", added_ns=2)], now=1)
    store.record(info("B"), {1: "b1"})
    store.set_failing(HASH, 1, "dead", retry_at=500)
    store.record(info("A"), {1: "a1", 2: "a2"})
    assert [(file.link, file.problem) for file in store.files(HASH)] == [("a1", ""), ("a2", "")]


def test_a_new_link_ends_the_failure_and_forgets_the_url(store: Store) -> None:
    store.saw([item("A")], now=1)
    store.record(info("A"), {1: "old"})
    store.set_url(HASH, 1, "url", until=100)
    store.record(info("A"), {1: "old"})
    assert store.url(HASH, 1, now=50) == "url"
    store.set_failing(HASH, 1, "dead", retry_at=500)
    assert [file.problem for file in store.failing_files()] == ["dead"]
    store.record(info("A"), {1: "new"})
    file = store.file(HASH, 1)
    assert file is not None and (file.link, file.problem, file.failures, file.retry_at) == ("new", "", 0, 0)
    assert store.url(HASH, 1, now=50) is None
    assert store.failing_files() == []


def test_links_are_not_lost_when_a_later_answer_has_none(store: Store) -> None:
    store.saw([item("A")], now=1)
    store.record(info("A"), {1: "one"})
    store.record(info("A"), {})
    file = store.file(HASH, 1)
    assert file is not None and file.link == "one"


def test_urls_expire(store: Store) -> None:
    store.saw([item("A")], now=1)
    store.record(info("A"), {1: "one"})
    store.set_url(HASH, 1, "url", until=100)
    assert store.url(HASH, 1, now=99) == "url"
    assert store.url(HASH, 1, now=100) is None
    assert store.url(HASH, 2, now=99) is None


def test_failures_are_counted_until_one_succeeds(store: Store) -> None:
    store.saw([item("A")], now=1)
    store.record(info("A"), {1: "one"})
    for count in (1, 2):
        store.set_failing(HASH, 1, "dead", retry_at=500)
        file = store.file(HASH, 1)
        assert file is not None and file.failures == count
    store.set_url(HASH, 1, "url", until=100)
    file = store.file(HASH, 1)
    assert file is not None and (file.failures, file.problem) == (0, "")


def test_what_is_due_to_be_published(store: Store) -> None:
    store.saw([item("A", added_ns=1), item("B", added_ns=2), item("C", status="queued"), item("D")], now=1)
    store.set_problem("B", "later", retry_at=100)
    store.set_missing("D", "gone", now=1)
    assert [each.id for each in store.unpublished(now=50)] == ["A"]
    assert [each.id for each in store.unpublished(now=100)] == ["B", "A"]
    store.set_published("A", "torrents/complete/Film", "one file short")
    kept = store.torrent("A")
    assert kept is not None and (kept.path, kept.problem) == ("torrents/complete/Film", "one file short")
    assert [each.id for each in store.unpublished(now=100)] == ["B"]


def test_a_missing_torrent_that_is_listed_again_is_back(store: Store) -> None:
    store.saw([item("A", added_ns=2), item("B", added_ns=1)], now=1)
    store.set_missing("A", "gone", now=1)
    assert [each.id for each in store.additions_of(HASH)] == ["B", "A"]
    store.set_missing("A", "gone still", now=2)
    kept = store.torrent("A")
    assert kept is not None and (kept.missing_at, kept.problem) == (1, "gone still")
    store.saw([item("A", added_ns=2)], now=2)
    kept = store.torrent("A")
    assert kept is not None and not kept.missing and kept.problem == ""


def test_files_unknown_yet_are_told_from_none_selected(store: Store) -> None:
    store.saw([item("A")], now=1)
    store.record(info("A", sizes=()), {})
    kept = store.torrent("A")
    assert kept is not None and kept.selection is None


def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    with Store(tmp_path / "debrid.db") as first:
        first.saw([item("A")], now=1)
        first.record(info("A"), {1: "one"})
        first.set_url(HASH, 1, "url", until=100)
        before = (first.torrents(), first.files(HASH))
    with Store(tmp_path / "debrid.db") as second:
        assert (second.torrents(), second.files(HASH)) == before
        assert second.url(HASH, 1, now=1) == "url"


@pytest.mark.skipif(os.name == "nt", reason="POSIX modes")
def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "debrid.db"
    path.touch(0o644)
    with Store(path) as store:
        store.saw([item("A")], now=1)
        modes = {each.name: oct(each.stat().st_mode & 0o777) for each in tmp_path.iterdir()}
    assert set(modes) >= {"debrid.db", "debrid.db-wal"}
    assert set(modes.values()) == {"0o600"}


@pytest.mark.parametrize("content", [b"this is no database, " * 500, b"SQLite format 3\0" + b"\xff" * 8000])
def test_a_damaged_database_is_named_with_its_remedy(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "debrid.db"
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"debrid\.db cannot be used: .*aside"):
        Store(path)
    path.rename(tmp_path / "aside.db")
    Store(path).close()


def test_a_damaged_page_is_noticed_at_the_start(tmp_path: Path) -> None:
    path = tmp_path / "debrid.db"
    with Store(path) as store:
        store.saw([item(f"{n:013}", filename="x" * 500) for n in range(500)], now=1)
    data = bytearray(path.read_bytes())
    data[8192:40960] = os.urandom(32768)
    path.write_bytes(data)
    with pytest.raises(StoreError, match="aside"):
        Store(path)


def test_a_newer_schema_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "debrid.db"
    Store(path).close()
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(StoreError, match="another version"):
        Store(path)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be used"):
        Store(tmp_path / "nowhere" / "debrid.db")


def test_using_a_closed_store_says_so(store: Store) -> None:
    store.close()
    with pytest.raises(StoreError):
        store.torrents()


def test_a_failed_write_changes_nothing(store: Store) -> None:
    with pytest.raises(StoreError):
        store.saw([item("A"), item("B", hash=None)], now=1)
    assert store.torrents() == []
    store.saw([item("A")], now=1)


def test_many_threads(store: Store) -> None:
    store.saw([item("A")], now=1)
    store.record(info("A"), {1: "one"})
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for turn in range(50):
                store.saw([item(f"T{number}-{turn}")], now=turn)
                store.set_url(HASH, 1, f"url{number}", until=10)
                assert (store.url(HASH, 1, now=1) or "").startswith("url")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(store.torrents()) == 301


def test_what_is_recalled_is_as_it_was_last_written(store: Store) -> None:
    store.saw([item("A")], now=1)
    assert store.file(HASH, 1) is None and store.url(HASH, 1, 10.0) is None
    store.record(info("A"), {1: "https://real-debrid.com/d/1"})
    for number in range(3):
        store.set_url(HASH, 1, f"http://cdn/{number}", until=20.0 + number)
        assert [store.url(HASH, 1, 20.0 + number - 0.5) for _ in range(2)] == [f"http://cdn/{number}"] * 2
        assert store.url(HASH, 1, 20.0 + number) is None, "it is over"
    store.set_failing(HASH, 1, "gone", retry_at=30.0)
    file = store.file(HASH, 1)
    assert file is not None and file.problem == "gone" and store.url(HASH, 1, 0.0) is None


def test_a_store_from_before_downloads_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "debrid.db"
    with Store(path) as store:
        store.mark_added_here("ADDED", "a" * 40)
    db = sqlite3.connect(path)
    for table in ("downloads", "categories", "tags", "verdicts", "client"):
        db.execute(f"DROP TABLE {table}")
    db.execute("PRAGMA user_version = 3")
    db.commit()
    db.close()
    with Store(path) as store:
        assert store.added_here("ADDED") and store.downloads.all() == []
        store.downloads.add_words("categories", ["tv"])
    with Store(path) as store:
        assert store.downloads.words("categories") == ["tv"]
