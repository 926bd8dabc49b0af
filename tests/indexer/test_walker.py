"""The walker: walks after the start, looks again after changes, leaves missing drives alone, stops at once."""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import indexer.scan
import indexer.walker
from indexer.catalog import Catalog, CatalogError
from indexer.known import KnownFiles
from indexer.look import look
from indexer.tree import Listing, Tree
from indexer.walker import Walker
from placement.beneath import Root
from placement.drive import Drive

MakeWalker = Callable[..., Walker]


@pytest.fixture
def make_walker(catalog: Catalog, known: KnownFiles) -> Iterator[MakeWalker]:
    made: list[Walker] = []

    def make(*drives: Drive, **options: float) -> Walker:
        made.append(Walker(drives, catalog, known, **{"share": 1.0, **options}))
        made[-1].start()
        return made[-1]

    yield make
    for walker in made:
        walker.stop()


def wait_for(condition: Callable[[], object]) -> None:
    until = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.005)


def listed(known: KnownFiles, number: int, path: str) -> set[str] | None:
    entries = known.entries(number, path)
    return None if entries is None else {name for name, _ in entries}


def test_it_walks_every_drive_after_the_start(
    known: KnownFiles, make_drive: Callable[[int], Drive], make_walker: MakeWalker
) -> None:
    drives = [make_drive(1), make_drive(2)]
    for drive in drives:
        (Path(drive.path) / drive.name / "sub").mkdir(parents=True)
    walker = make_walker(*drives)
    wait_for(walker.idle)
    assert listed(known, 1, "drive1") == listed(known, 2, "drive2") == {"sub"}
    assert {number: done[:3] for number, done in walker.progress().items()} == {1: (3, 0, 0), 2: (3, 0, 0)}


def test_it_looks_again_after_a_change(known: KnownFiles, drive: Drive, root: Path, make_walker: MakeWalker) -> None:
    (root / "dir").mkdir()
    walker = make_walker(drive)
    wait_for(walker.idle)
    known.changed(3, "dir/new")
    (root / "dir/new").mkdir()
    (root / "dir/new/file").touch()
    known.changed(3, "dir/new")
    wait_for(lambda: listed(known, 3, "dir/new") == {"file"})
    wait_for(lambda: not known.marks.any(3))


def test_it_looks_again_only_after_some_quiet_time(catalog: Catalog, drive: Drive, root: Path, tmp_path: Path) -> None:
    known = KnownFiles(catalog, tmp_path / "other-marks", quiet=0.5)
    walker = Walker([drive], catalog, known, share=1.0)
    walker.start()
    wait_for(walker.idle)
    known.changed(3, "new")
    began = time.monotonic()
    wait_for(lambda: not known.marks.any(3))
    assert time.monotonic() - began >= 0.5
    walker.stop()
    known.close()


def test_it_walks_again_every_so_often_and_when_asked(
    known: KnownFiles, drive: Drive, root: Path, make_walker: MakeWalker
) -> None:
    walker = make_walker(drive, every=0.1)
    wait_for(walker.idle)
    (root / "past-the-mount").touch()
    wait_for(lambda: listed(known, 3, "") == {"past-the-mount"})
    walker.stop()
    walker = make_walker(drive)
    wait_for(walker.idle)
    (root / "another").touch()
    walker.walk(3)
    wait_for(lambda: listed(known, 3, "") == {"past-the-mount", "another"})


def test_a_missing_drive_is_kept_and_walked_when_it_is_back(
    known: KnownFiles, drive: Drive, root: Path, make_walker: MakeWalker
) -> None:
    (root / "film").touch()
    walker = make_walker(drive)
    wait_for(walker.idle)
    away = root.parent / "away"
    root.rename(away)
    root.mkdir()
    assert not drive.check()
    known.changed(3, "x")
    walker.walk()
    wait_for(lambda: not walker._tasks[0].present)
    time.sleep(0.1)
    assert walker.idle() and known.stat(3, "film") is not None and os.listdir(root) == []
    # Changed while it was elsewhere.
    (away / "other").touch()
    root.rmdir()
    away.rename(root)
    assert drive.check()
    wait_for(lambda: listed(known, 3, "") == {"film", "other"})


def test_a_drive_that_is_missing_at_the_start_is_known(
    known: KnownFiles, drive: Drive, root: Path, make_walker: MakeWalker
) -> None:
    (root / "film").touch()
    walker = make_walker(drive)
    wait_for(walker.idle)
    walker.stop()
    root.rename(root.parent / "away")
    drive.check()
    walker = make_walker(drive)
    assert listed(known, 3, "") == {"film"}


def test_it_stops_at_once_in_the_middle_of_a_walk(
    catalog: Catalog, known: KnownFiles, drive: Drive, root: Path, make_walker: MakeWalker
) -> None:
    for number in range(300):
        (root / f"d{number}" / "sub").mkdir(parents=True)
    walker = make_walker(drive, share=0.05)
    wait_for(lambda: any(done.directories > 1 for done in walker.progress().values()))
    began = time.monotonic()
    walker.stop()
    assert time.monotonic() - began < 1
    with catalog.reading() as connection:
        # What was looked at is recorded, and the walk can go on.
        assert 1 < Tree(connection, 3).count() < 601 and Tree(connection, 3).walk().began_ns is not None
    before = walker.progress()[3].directories
    walker = make_walker(drive)
    wait_for(walker.idle)
    assert walker.progress()[3].directories == 601 - before


def test_a_disk_that_does_not_answer_does_not_hold_up_the_end(
    drive: Drive, make_walker: MakeWalker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    hung, answer = threading.Event(), threading.Event()

    def hanging(*rest: object) -> Listing | None:
        hung.set()
        answer.wait(20)
        return None

    monkeypatch.setattr(indexer.scan, "look", hanging)
    monkeypatch.setattr(indexer.walker, "_JOIN", 0.1)
    walker = make_walker(drive)
    assert hung.wait(20)
    walker.stop()
    assert "does not answer" in caplog.text
    answer.set()
    monkeypatch.setattr(indexer.walker, "_JOIN", 20)
    walker.stop()


def test_a_disk_that_does_not_answer_does_not_hold_up_the_others(
    known: KnownFiles, make_drive: Callable[[int], Drive], make_walker: MakeWalker, monkeypatch: pytest.MonkeyPatch
) -> None:
    drives = [make_drive(1), make_drive(2)]
    hung, answer = threading.Event(), threading.Event()

    def hanging(top: Root, path: str, *rest: object) -> Listing | None:
        if top.path == drives[0].path:
            hung.set()
            answer.wait(20)
        return look(top, path)

    monkeypatch.setattr(indexer.scan, "look", hanging)
    make_walker(*drives)
    assert hung.wait(20)
    wait_for(lambda: listed(known, 2, "") == set())
    assert listed(known, 1, "") is None
    answer.set()
    wait_for(lambda: listed(known, 1, "") == set())


def test_it_goes_on_after_the_catalog_failed(
    catalog: Catalog,
    known: KnownFiles,
    drive: Drive,
    root: Path,
    make_walker: MakeWalker,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (root / "dir").mkdir()
    monkeypatch.setattr(indexer.walker, "_AFTER_FAILURE", 0.2)
    failing = [CatalogError("disk full"), RuntimeError("a mistake")]
    real = Catalog.writing

    def writing(self: Catalog) -> object:
        if failing and threading.current_thread().name.startswith("walker"):
            raise failing.pop(0)
        return real(self)

    monkeypatch.setattr(Catalog, "writing", writing)
    with caplog.at_level(logging.INFO):
        make_walker(drive)
        wait_for(lambda: listed(known, 3, "") == {"dir"})
    assert "disk full" in caplog.text and "a mistake" in caplog.text
    # The records hold on to the traceback, and so to the root of the drive.
    caplog.clear()


def test_it_leaves_most_of_the_time_to_others(
    drive: Drive, root: Path, make_walker: MakeWalker, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(40):
        (root / str(number)).mkdir()

    def slow(top: Root, path: str, *rest: object) -> Listing | None:
        time.sleep(0.01)
        return look(top, path)

    monkeypatch.setattr(indexer.scan, "look", slow)
    began = time.monotonic()
    wait_for(make_walker(drive, share=0.25).idle)
    assert time.monotonic() - began > 41 * 0.01 * 3
