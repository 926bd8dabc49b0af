"""What is answered about a missing drive: only what is certain, also after a crash."""

import contextlib
import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from indexer.catalog import Catalog, Known
from indexer.known import KnownFiles, Unknown
from indexer.scan import UNWATCHED, Crawl, crawl
from indexer.tree import Listing
from indexer.treewriter import TreeWriter
from placement.drive import Drive

N = 3
ODD = os.fsdecode(b"\xff\n\xfe")


@pytest.fixture
def walked(known: KnownFiles, catalog: Catalog, drive: Drive, root: Path) -> KnownFiles:
    """After a walk over a small library."""
    for path in ("films/Alien", "series/Show/Season 1", "empty"):
        (root / path).mkdir(parents=True)
    (root / "films/Alien/alien.mkv").write_bytes(b"x" * 3000)
    (root / "films/Alien" / ODD).write_bytes(b"")
    os.link(root / "films/Alien/alien.mkv", root / "series/Show/Season 1/s01e01.mkv")
    (root / "link").symlink_to("films")
    known.adopt(N, drive.id)
    crawl(catalog, drive, watch=known.marks)
    return known


def look_again(known: KnownFiles, catalog: Catalog, drive: Drive) -> None:
    again = Crawl.again(catalog, drive, known.marks.due(N), known.marks)
    while again.step():
        pass


def settle(known: KnownFiles, catalog: Catalog, drive: Drive) -> None:
    """Look until nothing is due; a look may find others outdated, and those that their directories are."""
    for _ in range(4):
        look_again(known, catalog, drive)
    assert not known.marks.any(N)


def is_unknown(known: KnownFiles, path: str) -> bool:
    try:
        known.stat(N, path)
    except Unknown as unknown:
        assert unknown.errno == errno.EIO and unknown.filename == path
        return True
    return False


def exact(known: KnownFiles, path: str) -> bool | None:
    found = known.stat(N, path)
    return None if found is None else found.exact


def names(known: KnownFiles, path: str) -> set[str] | None:
    entries = known.entries(N, path)
    return None if entries is None else {name for name, _ in entries}


def test_it_answers_as_lstat_did(walked: KnownFiles, root: Path) -> None:
    for path in ("", "films", "films/Alien/alien.mkv", f"films/Alien/{ODD}", "link", "empty"):
        found = walked.stat(N, path)
        assert found is not None and found[:8] == Known.of(os.lstat(root / path))[:8] and found.exact
    assert names(walked, "") == {"films", "series", "empty", "link"}
    assert names(walked, "films/Alien") == {"alien.mkv", ODD} and names(walked, "empty") == set()
    for name, known in walked.entries(N, "films/Alien") or ():
        assert known == walked.stat(N, f"films/Alien/{name}")
    root_known = walked.stat(N, "")
    assert root_known is not None and root_known.is_dir and root_known.birth_ns is not None


def test_it_knows_what_is_not_there(walked: KnownFiles) -> None:
    for path in ("nothing", "films/nothing", "nothing/at/all", "link/Alien", "films/Alien/alien.mkv/x", ".mediapool"):
        assert walked.stat(N, path) is None
    with pytest.raises(FileNotFoundError):
        walked.entries(N, "films/nothing")
    for path in ("link", "films/Alien/alien.mkv"):
        with pytest.raises(NotADirectoryError):
            walked.entries(N, path)


def test_a_drive_never_walked_is_unknown(known: KnownFiles, catalog: Catalog, drive: Drive, root: Path) -> None:
    (root / "a" / "b").mkdir(parents=True)
    assert is_unknown(known, "") and is_unknown(known, "a") and names(known, "") is None
    begun = Crawl.whole(catalog, drive, known.marks)
    begun.step()
    begun.flush()
    # The root was looked at, what is in it was not.
    assert names(known, "") == {"a"} and known.stat(N, "b") is None
    assert is_unknown(known, "a/b") and names(known, "a") is None
    while begun.step():
        pass
    assert names(known, "a") == {"b"} and not is_unknown(known, "a/b")


def test_a_change_makes_a_name_and_the_listing_unknown(
    walked: KnownFiles, catalog: Catalog, drive: Drive, root: Path
) -> None:
    walked.changed(N, "films/Alien/new.srt", file=True)
    assert is_unknown(walked, "films/Alien/new.srt") and names(walked, "films/Alien") is None
    # Its neighbours and all else stay known; of the directory the times may have changed.
    assert walked.stat(N, "films/Alien/other") is None and exact(walked, f"films/Alien/{ODD}")
    assert exact(walked, "films/Alien") is False and exact(walked, "films") is True
    assert [known.exact for _, known in walked.entries(N, "films") or ()] == [False]
    (root / "films/Alien/new.srt").write_bytes(b"")
    look_again(walked, catalog, drive)
    assert names(walked, "films/Alien") == {"alien.mkv", ODD, "new.srt"} and exact(walked, "films/Alien")


def test_a_change_of_a_directory_covers_what_is_below(walked: KnownFiles, catalog: Catalog, drive: Drive) -> None:
    walked.changed(N, "series")
    assert is_unknown(walked, "series") and is_unknown(walked, "series/Show/Season 1/s01e01.mkv")
    assert names(walked, "series/Show") is None and names(walked, "films") == {"Alien"}
    look_again(walked, catalog, drive)
    assert names(walked, "series/Show") == {"Season 1"}


def test_a_renamed_tree(walked: KnownFiles, catalog: Catalog, drive: Drive, root: Path) -> None:
    walked.renamed(N, "series", "films/series")
    (root / "series").rename(root / "films/series")
    walked.renamed(N, "series", "films/series")
    for path in ("series", "series/Show", "films/series", "films/series/Show", "films/series/nothing"):
        assert is_unknown(walked, path)
    assert exact(walked, f"films/Alien/{ODD}")
    settle(walked, catalog, drive)
    assert walked.stat(N, "series") is None and names(walked, "films/series/Show") == {"Season 1"}


def test_other_names_of_a_file_are_not_exact(walked: KnownFiles, catalog: Catalog, drive: Drive, root: Path) -> None:
    one, two = "films/Alien/alien.mkv", "series/Show/Season 1/s01e01.mkv"
    assert exact(walked, one) and exact(walked, two)
    walked.changed(N, one, file=True)
    (root / one).chmod(0o600)
    walked.changed(N, one, file=True)
    assert is_unknown(walked, one) and exact(walked, two) is False
    assert [known.exact for _, known in walked.entries(N, "series/Show/Season 1") or ()] == [False]
    # The first look finds out that the other record is outdated, the second one mends it.
    look_again(walked, catalog, drive)
    assert exact(walked, one) is False and is_unknown(walked, two)
    look_again(walked, catalog, drive)
    assert exact(walked, one) and exact(walked, two)
    assert (walked.stat(N, two) or Known.of(os.stat("/"))).mode & 0o777 == 0o600


def test_a_lost_name_changes_the_others(walked: KnownFiles, catalog: Catalog, drive: Drive, root: Path) -> None:
    two = "series/Show/Season 1/s01e01.mkv"
    walked.renamed(N, "films", "empty")
    shutil.rmtree(root / "films")
    walked.renamed(N, "films", "empty")
    look_again(walked, catalog, drive)
    assert is_unknown(walked, two)
    look_again(walked, catalog, drive)
    assert exact(walked, two) and (walked.stat(N, two) or Known.of(os.stat("/"))).nlink == 1


def test_a_name_that_is_not_recorded_yet_makes_the_others_inexact(
    walked: KnownFiles, catalog: Catalog, drive: Drive, root: Path
) -> None:
    one, two, three = "films/Alien/alien.mkv", "series/Show/Season 1/s01e01.mkv", "empty/third"
    walked.changed(N, one, file=True)
    walked.changed(N, three, file=True)
    os.link(root / one, root / three)
    for paths in (["films/Alien"], ["series/Show/Season 1"]):
        again = Crawl.again(catalog, drive, paths, walked.marks)
        while again.step():
            pass
    # Both are as the file is now, but it may change at any moment by a name in a directory that is marked already.
    assert exact(walked, one) is False and exact(walked, two) is False
    look_again(walked, catalog, drive)
    assert exact(walked, one) and exact(walked, two) and exact(walked, three)


def test_names_outside_of_the_drive_do_not_matter_when_all_is_quiet(
    walked: KnownFiles, catalog: Catalog, drive: Drive, root: Path
) -> None:
    os.link(root / "films/Alien/alien.mkv", root / ".mediapool/elsewhere")
    crawl(catalog, drive, watch=walked.marks)
    assert exact(walked, "films/Alien/alien.mkv")
    walked.changed(N, "new")
    assert exact(walked, "films/Alien/alien.mkv") is False


def test_an_open_file_is_uncertain_until_it_is_closed(
    walked: KnownFiles, catalog: Catalog, drive: Drive, root: Path
) -> None:
    one, two = "films/Alien/alien.mkv", "series/Show/Season 1/s01e01.mkv"
    ino = (root / one).stat().st_ino
    walked.writing(N, one, ino)
    for _ in range(3):
        look_again(walked, catalog, drive)
    assert is_unknown(walked, one) and exact(walked, two) is False
    walked.renamed(N, one, "moved.mkv")
    (root / one).rename(root / "moved.mkv")
    look_again(walked, catalog, drive)
    assert walked.stat(N, one) is None and is_unknown(walked, "moved.mkv") and names(walked, "") is None
    walked.written(N, ino)
    settle(walked, catalog, drive)
    assert exact(walked, "moved.mkv") and exact(walked, two) and names(walked, "") is not None


def test_a_name_found_outside_of_the_record_has_its_parents_looked_at(
    walked: KnownFiles, catalog: Catalog, drive: Drive, root: Path
) -> None:
    # Made past the mount, so that nobody reported the directories.
    (root / "films/new/sub").mkdir(parents=True)
    (root / "films/new/sub/file").write_bytes(b"")
    walked.changed(N, "films/new/sub/file", file=True)
    look_again(walked, catalog, drive)
    assert is_unknown(walked, "films/new")
    look_again(walked, catalog, drive)
    assert exact(walked, "films/new/sub/file") and not walked.marks.any(N)


def test_an_open_file_is_never_exact_even_if_its_path_was_out_of_date(walked: KnownFiles, root: Path) -> None:
    walked.writing(N, "empty/renamed-since", (root / "films/Alien" / ODD).stat().st_ino)
    assert exact(walked, f"films/Alien/{ODD}") is False and exact(walked, "films/Alien/alien.mkv")


def test_records_that_contradict_each_other_are_not_exact(
    walked: KnownFiles, catalog: Catalog, drive: Drive, root: Path
) -> None:
    (root / "films/Alien/alien.mkv").chmod(0o600)
    again = Crawl.again(catalog, drive, ["films/Alien"], UNWATCHED)
    while again.step():
        pass
    walked.changed(N, "new")
    assert exact(walked, "films/Alien/alien.mkv") is False and exact(walked, f"films/Alien/{ODD}")


def test_a_replaced_directory_is_looked_into(walked: KnownFiles, catalog: Catalog, drive: Drive, root: Path) -> None:
    # Past the mount, so that nothing was said about it; it is found when its parent is looked at.
    (root / "films").rename(root / ".mediapool/films")
    (root / "films").mkdir()
    (root / "films/other").write_bytes(b"")
    walked.changed(N, "new")
    look_again(walked, catalog, drive)
    assert names(walked, "films") == {"other"}


def test_a_look_at_what_is_recorded_no_more(walked: KnownFiles, catalog: Catalog, drive: Drive, root: Path) -> None:
    walked.changed(N, "films/new")
    begun = Crawl.whole(catalog, drive, walked.marks)
    begun.step()
    begun.flush()
    with catalog.writing() as connection:
        tree = TreeWriter(connection, N)
        top = tree.root()
        assert top is not None
        tree.store(top, Listing("", time.time_ns(), top.known, {}, {}))
    while begun.step():
        pass
    # Nothing is left of the marks of directories that are not recorded; the root is, and was wrong about them.
    assert walked.marks.clean(N, "films") and is_unknown(walked, "films") and names(walked, "") is None
    settle(walked, catalog, drive)
    assert names(walked, "films/Alien") == {"alien.mkv", ODD}


def test_it_goes_on_in_the_next_run(catalog: Catalog, drive: Drive, root: Path, tmp_path: Path) -> None:
    (root / "a").mkdir()
    with contextlib.closing(KnownFiles(catalog, tmp_path / "marks", quiet=0.0)) as known:
        known.adopt(N, drive.id)
        crawl(catalog, drive, watch=known.marks)
        known.changed(N, "a/x")
    with contextlib.closing(KnownFiles(catalog, tmp_path / "marks", quiet=0.0)) as known:
        assert names(known, "") == {"a"} and names(known, "a") is None


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"")])
def test_without_its_journal_nothing_is_certain(
    walked: KnownFiles, catalog: Catalog, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    assert names(walked, "") is not None
    walked.close()
    damage(tmp_path / "marks")
    with contextlib.closing(KnownFiles(catalog, tmp_path / "marks")) as known:
        assert is_unknown(known, "") and names(known, "films") is None


def test_another_drive_with_the_number_is_another_drive(walked: KnownFiles, drive: Drive) -> None:
    assert names(walked, "") is not None
    walked.changed(N, "a")
    walked.adopt(N, drive.id)
    assert exact(walked, "films") and walked.marks.any(N)
    walked.adopt(N, "another uuid")
    assert is_unknown(walked, "films") and not walked.marks.any(N)


def test_a_catalog_that_fails_makes_it_unknown(
    walked: KnownFiles, catalog: Catalog, caplog: pytest.LogCaptureFixture
) -> None:
    catalog.close()
    assert is_unknown(walked, "films") and names(walked, "") is None and "is closed" in caplog.text


CRASHING = """
import os, sys, time
from indexer.catalog import Catalog
from indexer.known import KnownFiles
folder, root = sys.argv[1:]
known = KnownFiles(Catalog(folder + "/catalog.db"), folder + "/marks")
known.changed(3, "films/Alien/new.srt", file=True)
known.writing(3, "empty/upload", 4711)
known.renamed(3, "series", "films/series")
os.rename(root + "/series", root + "/films/series")
print("done", flush=True)
time.sleep(60)
"""


def test_marks_outlive_a_kill(walked: KnownFiles, catalog: Catalog, drive: Drive, root: Path, tmp_path: Path) -> None:
    walked.close()
    command = [sys.executable, "-c", CRASHING, str(tmp_path), str(root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]) as process:
        assert process.stdout is not None and process.stdout.readline() == b"done\n"
        process.send_signal(signal.SIGKILL)
    with contextlib.closing(KnownFiles(catalog, tmp_path / "marks", quiet=0.0)) as known:
        unknown = ("films/Alien/new.srt", "empty/upload", "series", "series/Show", "films/series")
        assert all(is_unknown(known, path) for path in unknown)
        # Files beside a changed one are unknown after a crash, directories are not.
        assert is_unknown(known, "films/Alien/alien.mkv") and names(known, "films/Alien") is None
        assert exact(known, "films/Alien") is False and names(known, "") is None
        look_again(known, catalog, drive)
        assert exact(known, "films/series/Show") and names(known, "") == {"films", "empty", "link"}


def test_reporting_is_cheap(walked: KnownFiles) -> None:
    walked.changed(N, "films/Alien/alien.mkv", file=True)
    again = min(microseconds(lambda: walked.changed(N, "films/Alien/alien.mkv", True), 20_000) for _ in range(3))
    numbers = iter(range(100_000))
    first = min(microseconds(lambda: walked.changed(N, f"d{next(numbers)}/x"), 500) for _ in range(3))
    print(f"again {again:.2f} us, first in a directory {first:.1f} us")
    assert again < 3 and first < 200


def microseconds(call: Callable[[], object], times: int) -> float:
    began = time.thread_time()
    for _ in range(times):
        call()
    return (time.thread_time() - began) / times * 1e6


def everything(root: Path) -> Iterator[str]:
    yield ""
    for folder, folders, files in os.walk(root):
        for name in folders + files:
            yield os.path.relpath(os.path.join(folder, name), root)


def test_many_threads_at_once(walked: KnownFiles, catalog: Catalog, drive: Drive, root: Path) -> None:
    """Threads change, ask and walk at once; whenever the changes pause, each certain answer is true."""
    stop, failures = threading.Event(), list[BaseException]()
    gate = threading.Barrier(4)

    def loop(work: Callable[[], None]) -> Callable[[], None]:
        def run() -> None:
            try:
                while not stop.is_set():
                    work()
            except BaseException as failure:
                failures.append(failure)
                gate.abort()

        return run

    def change(folder: str) -> Callable[[], None]:
        dice = random.Random(folder)

        def work() -> None:
            for _ in range(30):
                path = f"{folder}/{dice.randrange(5)}"
                walked.changed(N, path, file=True)
                with contextlib.suppress(FileNotFoundError):
                    (root / path).unlink() if dice.random() < 0.5 else (root / path).write_bytes(
                        b"x" * dice.randrange(9)
                    )
                walked.changed(N, path, file=True)
            with contextlib.suppress(threading.BrokenBarrierError):
                gate.wait(20)
                gate.wait(20)

        return work

    def check() -> None:
        for path in everything(root):
            with contextlib.suppress(Unknown):
                if not path.startswith(".mediapool"):
                    found = walked.stat(N, path)
                    assert found is not None and (not found.exact or found.size == os.lstat(root / path).st_size), path
        for folder in ("films", "empty", "films/Alien"):
            assert names(walked, folder) in (None, set(os.listdir(root / folder)))

    folders = ("films", "empty", "films/Alien")
    threads = [threading.Thread(target=loop(change(folder))) for folder in folders]
    threads.append(threading.Thread(target=loop(lambda: look_again(walked, catalog, drive))))
    threads.append(threading.Thread(target=loop(lambda: names(walked, "films") and None)))
    for thread in threads:
        thread.start()
    try:
        for _ in range(25):
            gate.wait(20)
            check()
            gate.wait(20)
    finally:
        stop.set()
        gate.abort()
        for thread in threads:
            thread.join()
    assert failures == []
    look_again(walked, catalog, drive)
    check()
    assert all(names(walked, folder) is not None for folder in folders)


def test_names_of_a_file_are_known_as_they_were_looked_at(
    walked: KnownFiles, catalog: Catalog, drive: Drive, root: Path
) -> None:
    alien, new = root / "films/Alien/alien.mkv", root / "empty/new"
    both = ["films/Alien/alien.mkv", "series/Show/Season 1/s01e01.mkv"]
    assert walked.names_of(N, alien.stat().st_ino) == both
    new.hardlink_to(alien)
    walked.changed(N, "empty/new")
    assert walked.names_of(N, alien.stat().st_ino) == both, "a hint, which may be too old"
    settle(walked, catalog, drive)
    assert walked.names_of(N, alien.stat().st_ino) == ["empty/new", *both]
    assert walked.names_of(N, 1 << 40) == walked.names_of(N + 1, alien.stat().st_ino) == []
