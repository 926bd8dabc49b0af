import errno
import os
import sqlite3
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Barrier

import pytest

from vfs.names import Names
from vfs.namesdb import NamesDamaged, NamesDb
from vfs.nodes import Directory, RemoteFile
from vfs.planting import NewFile, Owner, make_directories, plant

OWNER = Owner(1000, 1001, 0o022)


def new(path: str, part: str = "1", size: int = 10, id_: str = "a" * 40) -> NewFile:
    return NewFile(tuple(path.split("/")), ("torrent", id_, part), size, 5_000_000_000, os.fsencode(path))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "names.db"


@pytest.fixture
def names(file: Path) -> Iterator[Names]:
    names = Names(NamesDb(file))
    make_directories(names, "torrents/complete", OWNER)
    yield names
    names.close()


def everything(names: Names) -> dict[str, tuple[object, ...]]:
    found = {}

    def walk(directory: Directory, prefix: str) -> None:
        for name, node in directory.children.items():
            found[prefix + name] = tuple(node.attr())
            if isinstance(node, Directory):
                walk(node, f"{prefix}{name}/")

    walk(names.root, "")
    return found


def test_published_files_have_the_provider_s_size_and_time(names: Names) -> None:
    plant(names, "add:1", "torrents/complete", "Show", [new("S1/e1.mkv", "1", 12_345), new("info.nfo", "2", 7)], OWNER)
    attr = names.get("torrents/complete/Show/S1/e1.mkv").attr()
    assert (attr.size, attr.mtime_ns, attr.nlink, attr.uid, attr.gid) == (
        12_345,
        5_000_000_000,
        1,
        1000,
        1001,
    )
    assert stat.filemode(attr.mode) == "-rw-r--r--"
    assert attr.blocks == 25
    folder = names.get("torrents/complete/Show").attr()
    assert stat.filemode(folder.mode) == "drwxr-xr-x" and folder.nlink == 3
    assert names.count() == 2 and names.published_path("add:1") and not names.published_path("add:2")


def test_a_restart_shows_the_same_tree(names: Names, file: Path) -> None:
    plant(names, "add:1", "torrents/complete", "Show", [new("S1/e1.mkv"), new("S1/e2.mkv", "2")], OWNER)
    plant(names, "add:2", "torrents/complete", "Other", [new("again.mkv"), new("x.mkv", "1", 5, "b" * 40)], OWNER)
    before = everything(names)
    # The same content is one file with two names.
    assert names.get("torrents/complete/Show/S1/e1.mkv") is names.get("torrents/complete/Other/again.mkv")
    assert names.get("torrents/complete/Other/again.mkv").attr().nlink == 2
    again = Names(NamesDb(file))
    assert everything(again) == before
    assert again.published_path("add:2") == "torrents/complete/Other"
    again.close()


def test_names_are_bytes(names: Names, file: Path) -> None:
    odd = os.fsdecode(b"caf\xe9 \xff.mkv")
    plant(names, "add:1", "torrents/complete", odd, [new(odd)], OWNER)
    again = Names(NamesDb(file))
    assert isinstance(again.get(f"torrents/complete/{odd}/{odd}"), RemoteFile)
    again.close()


def test_a_taken_name_is_refused_and_nothing_stays_behind(names: Names, file: Path) -> None:
    plant(names, "add:1", "torrents/complete", "Show", [new("e1.mkv")], OWNER)
    before = everything(names)
    with pytest.raises(FileExistsError):
        plant(names, "add:2", "torrents/complete", "Show", [new("e2.mkv", "2")], OWNER)
    assert everything(names) == before and not names.published_path("add:2")


def test_a_failed_write_leaves_memory_and_file_as_they_were(names: Names, file: Path) -> None:
    before = everything(names)
    # SQLite says then that it is full, as it does of a disk.
    names._db.db.execute("PRAGMA max_page_count = 1")
    with pytest.raises(OSError) as failure:
        files = [new(f"S1/e{number}.mkv", str(number)) for number in range(1000)]
        plant(names, "add:1", "torrents/complete", "Show", files, OWNER)
    assert failure.value.errno == errno.ENOSPC and str(file) in str(failure.value)
    assert everything(names) == before and names.count() == 0
    again = Names(NamesDb(file))
    assert everything(again) == before
    again.close()


def test_inode_numbers_are_never_used_twice(names: Names, file: Path) -> None:
    plant(names, "add:1", "torrents/complete", "One", [new("a.mkv")], OWNER)
    last = max(int(str(attr[0])) for attr in everything(names).values())
    with sqlite3.connect(file) as other:
        for table in ("name", "content", "node"):
            other.execute(f"DELETE FROM {table} WHERE ino = ?", (last,))
    other.close()
    again = Names(NamesDb(file))
    plant(again, "add:2", "torrents/complete", "Two", [new("b.mkv", "2")], OWNER)
    assert again.get("torrents/complete/Two").attr().ino > last
    again.close()


def test_lookups_fail_as_a_filesystem_does(names: Names) -> None:
    plant(names, "add:1", "torrents/complete", "Show", [new("e1.mkv")], OWNER)
    with pytest.raises(FileNotFoundError):
        names.get("torrents/none")
    with pytest.raises(FileNotFoundError):
        names.get("torrents/complete/Show/e1.mkv/below")
    with pytest.raises(NotADirectoryError):
        names.directory("torrents/complete/Show/e1.mkv")
    with pytest.raises(FileExistsError):
        make_directories(names, "torrents/complete/Show/e1.mkv/x", OWNER)


def test_folders_may_be_made_by_several_at_once(names: Names) -> None:
    together = Barrier(8)

    def make(_: int) -> None:
        together.wait(10)
        make_directories(names, "torrents/incomplete/tv/a/b/c/d/e", OWNER)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(make, range(8)))
    assert isinstance(names.find("torrents/incomplete/tv/a/b/c/d/e"), Directory)


def test_a_damaged_file_is_refused_with_path_and_remedy(file: Path) -> None:
    file.write_bytes(b"SQLite format 3\0" + b"garbage" * 1000)
    with pytest.raises(NamesDamaged, match=f"{file}.*damaged"):
        NamesDb(file)


def test_a_file_whose_rows_make_no_tree_is_damaged(file: Path) -> None:
    NamesDb(file).close()
    with closing(sqlite3.connect(file)) as db, db:
        db.execute("INSERT INTO name VALUES (77, x'61', 1)")
    db = NamesDb(file)
    with pytest.raises(NamesDamaged, match=f"{file}.*damaged"):
        Names(db)
    db.close()


def test_a_disk_that_cannot_be_read_is_no_damage(file: Path) -> None:
    file.mkdir()
    with pytest.raises(OSError, match="names.db"):
        NamesDb(file)


def test_a_newer_format_is_refused(file: Path) -> None:
    NamesDb(file).close()
    with sqlite3.connect(file) as db:
        db.execute("UPDATE meta SET value = '99' WHERE key = 'schema'")
    db.close()
    with pytest.raises(NamesDamaged, match="format 99"):
        NamesDb(file)


def test_only_its_owner_reads_the_file(file: Path) -> None:
    NamesDb(file).close()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def walked(names: Names) -> dict[int, list[str]]:
    """For each remote file the paths at which the tree shows it."""
    found: dict[int, list[str]] = {}

    def walk(directory: Directory, prefix: str) -> None:
        for name, node in directory.children.items():
            if isinstance(node, Directory):
                walk(node, f"{prefix}{name}/")
            else:
                found.setdefault(node.ino, []).append(prefix + name)

    walk(names.root, "")
    return {ino: sorted(paths) for ino, paths in found.items()}


def test_each_file_knows_its_names_and_each_torrent_its_files(names: Names, file: Path) -> None:
    files = [new("S1/e1.mkv", "1"), new("S1/e2.mkv", "2"), new("top.mkv", "3")]
    plant(names, "add:1", "torrents/complete", "Show", files, OWNER)
    plant(names, "add:2", "torrents/complete", "Again", [new("e1.mkv", "1")], OWNER)
    acts: list[Callable[[], object]] = [
        lambda: names.mkdir("media", 0o755, 0, 0),
        lambda: names.link("torrents/complete/Show/S1/e1.mkv", "media/one.mkv"),
        lambda: names.link("media/one.mkv", "top.mkv"),
        lambda: names.rename("torrents/complete/Show/S1", "media/season"),
        lambda: names.exchange("media/season/e1.mkv", "media/season/e2.mkv"),
        lambda: names.exchange("media/season", "torrents/complete/Show"),
        lambda: names.rename("media/one.mkv", "media/two.mkv"),
        lambda: names.unlink("torrents/complete/Again/e1.mkv"),
        lambda: names.rename("top.mkv", "media/two.mkv"),
        lambda: names.rename("media/two.mkv", "media/season/top.mkv"),
    ]
    ident = names.get("torrents/complete/Show/S1/e1.mkv").key[1]  # type: ignore[attr-defined]

    def agrees(tree: Names) -> None:
        found = {one.ino: sorted(tree.paths_of([one])) for one in tree.files_of(ident)}
        assert found == walked(tree)
        assert all(one.nlink == len(found[one.ino]) for one in tree.files_of(ident))
        assert tree.count() == len(found)

    for act in acts:
        act()
        agrees(names)
    again = Names(NamesDb(file))
    agrees(again)
    again.close()
    for path in [path for paths in walked(names).values() for path in paths]:
        names.unlink(path)
        agrees(names)
    assert names.files_of(ident) == []


def test_a_directory_taken_out_of_the_tree_has_no_path(names: Names) -> None:
    plant(names, "add:1", "torrents/complete", "Show", [new("e1.mkv", "1")], OWNER)
    folder = names.directory("torrents/complete/Show")
    assert folder.path() == "torrents/complete/Show" and names.root.path() == ""
    names.unlink("torrents/complete/Show/e1.mkv")
    names.rmdir("torrents/complete/Show")
    assert folder.path() is None
