"""Copies of names.db: whole while it is written to, found on drives, of use or not, and put back."""

import os
import sqlite3
import stat
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from placement.drive import Drive, DriveConfig
from placement.identity import initialise
from vfs import namescopies
from vfs.journal import Journal
from vfs.names import Names
from vfs.namesdb import NamesDb
from vfs.planting import NewFile, Owner, make_directories, plant

OWNER = Owner(1000, 1001, 0o022)


def held(file: Path, count: int = 3) -> Names:
    names = Names(NamesDb(file))
    make_directories(names, "torrents", OWNER)
    files = [NewFile((f"{one}.mkv",), ("torrent", "a" * 40, str(one)), 10, 5, b"x") for one in range(count)]
    plant(names, "add:1", "torrents", "Show", files, OWNER)
    return names


def pool_of(file: Path) -> str:
    with closing(sqlite3.connect(file)) as db:
        return str(db.execute("SELECT value FROM meta WHERE key = 'pool'").fetchone()[0])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "names.db"


def drive_at(path: Path, **config: str) -> Drive:
    path.mkdir()
    initialise(path, path.name, 1)
    return Drive.open(DriveConfig(path.name, str(path), **config))  # type: ignore[arg-type]


def test_a_copy_is_whole_while_names_are_written(file: Path, tmp_path: Path) -> None:
    names = held(file)
    ended = threading.Event()

    def write() -> None:
        count = 0
        while not ended.is_set():
            names.link("torrents/Show/0.mkv", f"torrents/{count}")
            names.rename(f"torrents/{count}", f"torrents/Show/link {count}")
            count += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(10):
            namescopies.save_in(tmp_path / "copies", file, pool_of(file))
            (copy,) = namescopies.copies_in(tmp_path / "copies")
            assert copy.problem == "" and copy.names >= 3
    finally:
        ended.set()
        writer.join()
    assert stat.S_IMODE(copy.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(copy.path.parent.stat().st_mode) == 0o700
    assert os.listdir(copy.path.parent) == [copy.path.name], "no drafts, no journals"
    names.close()
    again = Names(NamesDb(copy.path))
    assert again.find("torrents/Show/2.mkv")
    again.close()


def test_only_the_last_days_are_kept_and_nothing_of_other_pools(file: Path, tmp_path: Path) -> None:
    held(file).close()
    pool, copies = pool_of(file), tmp_path / "copies"
    copies.mkdir()
    for day in range(1, 12):
        (copies / f"names-{pool[:8]}-2020-01-{day:02}.db").write_bytes(b"old")
        (copies / f"names-00000000-2020-01-{day:02}.db").write_bytes(b"another pool's")
    namescopies.save_in(copies, file, pool)
    ours = sorted(path.name for path in copies.glob(f"names-{pool[:8]}-*"))
    assert len(ours) == namescopies.DAYS and ours[0].endswith("2020-01-06.db")
    assert len(list(copies.glob("names-00000000-*"))) == 11


def test_a_drive_keeps_marks_and_copies_of_several_pools(file: Path, tmp_path: Path) -> None:
    drive = drive_at(tmp_path / "disk1")
    assert namescopies.found_on(drive) == ([], [])
    pools = set()
    for name in ("one.db", "two.db"):
        held(tmp_path / name).close()
        pools.add(pool_of(tmp_path / name))
        namescopies.mark(drive, pool_of(tmp_path / name))
        namescopies.mark(drive, pool_of(tmp_path / name))
        namescopies.save_on(drive, tmp_path / name, pool_of(tmp_path / name))
    marks, copies = namescopies.found_on(drive)
    assert {mark.pool for mark in marks} == {copy.pool for copy in copies} == pools
    assert {copy.names for copy in copies} == {3} and {mark.drive for mark in marks} == {"disk1"}
    folder = tmp_path / "disk1" / namescopies.KEPT
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    drive.close()


def test_what_is_no_copy_is_told_apart(tmp_path: Path, file: Path) -> None:
    held(file).close()
    (tmp_path / "garbage").write_bytes(b"SQLite format 3\0" + b"garbage" * 1000)
    (tmp_path / "empty").touch()
    cut = tmp_path / "cut"
    cut.write_bytes(file.read_bytes()[:-8192])
    newer = tmp_path / "newer"
    newer.write_bytes(file.read_bytes())
    with closing(sqlite3.connect(newer)) as db, db:
        db.execute("UPDATE meta SET value = '99' WHERE key = 'schema'")
    for path in ("garbage", "empty", "cut", "newer", "absent"):
        assert namescopies.inspect(tmp_path / path).problem, path
    assert not (tmp_path / "absent").exists()


def test_a_copy_put_back_keeps_what_was_there_and_forgets_old_work(file: Path, tmp_path: Path) -> None:
    names = held(file)
    Journal(names, "union").begin({"steps": []})
    namescopies.save_in(tmp_path / "copies", file, pool_of(file))
    (copy,) = namescopies.copies_in(tmp_path / "copies")
    names.mkdir("later", 0o755, 0, 0)
    later = names.get("later").ino
    assert names.intents("union")
    # As a crash leaves it: the log is not folded in.
    kept = {ending: (tmp_path / f"names.db{ending}").read_bytes() for ending in ("", "-wal")}
    names.close()
    for ending, data in kept.items():
        (tmp_path / f"names.db{ending}").write_bytes(data)
    aside = namescopies.restore(copy.path, file)
    assert aside is not None and stat.S_IMODE(file.stat().st_mode) == 0o600
    again = Names(NamesDb(file))
    assert again.find("torrents/Show/0.mkv") and again.find("later") is None
    assert again.intents("union") == []
    again.mkdir("other", 0o755, 0, 0)
    assert again.get("other").ino > later, "a number that was given once is not given again"
    again.close()
    before = Names(NamesDb(aside))
    assert before.find("later") is not None
    before.close()


@pytest.mark.parametrize("act", ["restore", "begin_anew"])
def test_a_damaged_file_is_moved_aside_not_lost(act: str, file: Path, tmp_path: Path) -> None:
    held(file).close()
    pool = pool_of(file)
    namescopies.save_in(tmp_path / "copies", file, pool)
    file.write_bytes(b"damaged")
    acts: dict[str, Callable[[], Path | None]] = {
        "restore": lambda: namescopies.restore(namescopies.copies_in(tmp_path / "copies")[0].path, file),
        "begin_anew": lambda: namescopies.begin_anew(file),
    }
    aside = acts[act]()
    assert aside is not None and aside.read_bytes() == b"damaged"
    names = Names(NamesDb(file))
    assert names.ever_held() == (act == "restore")
    names.close()
    assert (pool_of(file) == pool) == (act == "restore"), "one that begins anew is another pool"


def test_a_copy_that_fails_leaves_the_one_before(file: Path, tmp_path: Path) -> None:
    names = held(file)
    drive = drive_at(tmp_path / "disk1")
    namescopies.save_on(drive, file, pool_of(file))
    before = namescopies.found_on(drive)[1]
    names.close()
    data = bytearray(file.read_bytes())
    data[4096:] = os.urandom(len(data) - 4096)
    file.write_bytes(data)
    with pytest.raises(OSError):
        namescopies.save_on(drive, file, before[0].pool)
    assert namescopies.found_on(drive)[1] == before
    assert len(os.listdir(tmp_path / "disk1" / namescopies.KEPT)) == 1
    drive.close()


def test_a_drive_that_may_not_be_written_gets_nothing(file: Path, tmp_path: Path) -> None:
    held(file).close()
    drive = drive_at(tmp_path / "disk1", mode="ro")
    with pytest.raises(OSError, match="read-only"):
        namescopies.save_on(drive, file, pool_of(file))
    (tmp_path / "disk1").rename(tmp_path / "unplugged")
    drive.check()
    with pytest.raises(OSError):
        namescopies.mark(drive, pool_of(file))
    drive.close()
