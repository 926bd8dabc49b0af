"""The union over real folders as drives: what is shown, where things go, and what is removed."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from bypathing import work_by_path
from uniting import ROOT, Pool, remote_of

from placement.drive import Drive, DriveConfig
from placement.identity import initialise
from placement.rules import Placement
from vfs.inodes import Inodes
from vfs.journal import Journal
from vfs.local import LocalBranch
from vfs.names import Names
from vfs.namesdb import NamesDb
from vfs.renaming import RENAME_EXCHANGE
from vfs.union import Union


@pytest.fixture(params=["descriptors", "paths"])
def pool(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pool]:
    """Over the calls of Linux, and over those that Windows has."""
    if request.param == "paths":
        work_by_path(monkeypatch)
    pool = Pool(tmp_path)
    yield pool
    pool.close()


@pytest.fixture
def linux_pool(tmp_path: Path) -> Iterator[Pool]:
    """For what Windows does not have: extended attributes, and names that are exchanged."""
    pool = Pool(tmp_path)
    yield pool
    pool.close()


def names(pool: Pool, path: str) -> list[str]:
    return sorted(name for name, _ in pool.union.entries(path))


def test_folders_merge_and_the_first_file_is_shown(pool: Pool) -> None:
    pool.write("a", "f/one")
    pool.write("b", "f/one", "hidden")
    pool.write("c", "f/two")
    assert names(pool, "f") == ["one", "two"] and names(pool, "") == ["f"]
    assert pool.read("f/one") == "a"


def test_a_new_file_brings_its_folders_along(linux_pool: Pool) -> None:
    pool = linux_pool
    pool.write("b", "deep/er/old")
    os.chown(pool.paths[1] / "deep", 5, 6)
    (pool.paths[1] / "deep").chmod(0o2750)
    os.setxattr(pool.paths[1] / "deep/er", "user.k", b"v")
    os.utime(pool.paths[1] / "deep", ns=(1, 2))
    number = pool.union.stat("deep").ino
    pool.next = "a"
    pool.create("deep/er/new")
    assert pool.everywhere("deep/er/new") == "a"
    made = (pool.paths[0] / "deep").stat()
    assert (made.st_uid, made.st_gid, made.st_mode & 0o7777) == (5, 6, 0o2750)
    assert os.getxattr(pool.paths[0] / "deep/er", "user.k") == b"v"
    assert pool.union.stat("deep").ino == number, "the folder keeps its number, although an earlier drive has it now"
    pool.next = "c"
    pool.create("deep/er/other")
    assert pool.union.stat("deep").ino == number and names(pool, "deep/er") == ["new", "old", "other"]


def test_folders_brought_along_leave_the_times_above_them(pool: Pool) -> None:
    pool.write("b", "deep/er/old")
    for folder in ("deep/er", "deep"):
        os.utime(pool.paths[1] / folder, ns=(1, 2))
    before = pool.union.stat("").mtime_ns
    pool.next = "a"
    pool.create("deep/er/new")
    assert pool.union.stat("deep").mtime_ns == 2 and pool.union.stat("").mtime_ns == before
    assert pool.union.stat("deep/er").mtime_ns > 2


def test_a_full_drive_is_passed_over(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(pool.branches[0], "create", full)
    monkeypatch.setattr(pool.branches[0], "mkdir", full)
    pool.create("file")
    pool.union.mkdir("folder", 0o755, ROOT)
    assert pool.everywhere("file") == pool.everywhere("folder") == "b"
    for branch in pool.branches:
        monkeypatch.setattr(branch, "create", full)
    with pytest.raises(OSError) as refused:
        pool.create("another")
    assert refused.value.errno == errno.ENOSPC


def test_other_errors_are_not_hidden_by_trying_elsewhere(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(pool.branches[0], "create", broken)
    with pytest.raises(OSError) as refused:
        pool.create("file")
    assert refused.value.errno == errno.EIO and pool.everywhere("file") == ""


def test_a_name_on_any_drive_is_taken(pool: Pool) -> None:
    pool.write("c", "file")
    pool.write("a", "other")
    for attempt in (
        lambda: pool.create("file"),
        lambda: pool.union.mkdir("file", 0o755, ROOT),
        lambda: pool.union.symlink("x", "file", ROOT),
        lambda: pool.union.mknod("file", 0o100644, 0, ROOT),
        lambda: pool.union.link("other", "file"),
        lambda: pool.union.rename("other", "file", 1),
    ):
        with pytest.raises(FileExistsError):
            attempt()
    assert pool.everywhere("file") == "c" and pool.everywhere("other") == "a"


@pytest.mark.parametrize("next", ["a", "b"])
def test_nothing_is_made_below_a_file_or_nowhere(pool: Pool, next: str) -> None:
    pool.write("b", "file")
    pool.next = next
    for path, code in (("file/new", errno.ENOTDIR), ("file/d/new", errno.ENOTDIR), ("gone/new", errno.ENOENT)):
        for make in (lambda path: pool.create(path), lambda path: pool.union.mkdir(path, 0o755, ROOT)):
            with pytest.raises(OSError) as caught:
                make(path)
            assert caught.value.errno == code
    assert pool.everywhere("file") == "b" and pool.everywhere("gone") == ""


def test_unlink_takes_every_copy(pool: Pool) -> None:
    for drive in "abc":
        pool.write(drive, "f/file")
    pool.union.unlink("f/file")
    assert pool.everywhere("f/file") == "" and names(pool, "f") == []


def test_rmdir_looks_everywhere_before_it_touches_anything(pool: Pool) -> None:
    pool.union.mkdir("f", 0o755, ROOT)
    pool.write("c", "f/file")
    with pytest.raises(OSError) as refused:
        pool.union.rmdir("f")
    assert refused.value.errno == errno.ENOTEMPTY and pool.everywhere("f") == "ac"
    pool.union.unlink("f/file")
    pool.union.rmdir("f")
    assert pool.everywhere("f") == ""


def test_a_link_stays_on_the_drive_of_its_file(pool: Pool) -> None:
    pool.write("b", "down/file")
    pool.write("a", "library/x")
    pool.union.link("down/file", "library/file")
    assert pool.everywhere("library/file") == "b"
    assert pool.union.stat("library/file").nlink == 2
    assert pool.union.stat("library/file").ino == pool.union.stat("down/file").ino


def test_a_renamed_file_stays_on_its_drive_and_replaces_copies_elsewhere(pool: Pool) -> None:
    pool.write("c", "f/new", "new")
    for drive in "ab":
        pool.write(drive, "g/old", "old")
    number = pool.union.stat("f/new").ino
    pool.union.rename("f/new", "g/old", 0)
    assert pool.everywhere("g/old") == "c" and pool.read("g/old") == "new"
    assert pool.union.stat("g/old").ino == number and pool.everywhere("f/new") == ""


def test_hidden_copies_of_the_source_do_not_resurface(pool: Pool) -> None:
    pool.write("a", "file", "shown")
    pool.write("b", "file", "hidden")
    pool.union.rename("file", "moved", 0)
    assert pool.everywhere("file") == "" and pool.read("moved") == "shown"


def test_a_folder_on_several_drives_is_renamed_on_all(pool: Pool) -> None:
    for drive in "abc":
        pool.write(drive, f"f/{drive}")
    pool.union.mkdir("empty", 0o755, ROOT)
    pool.union.rename("f", "empty", 0)
    assert pool.everywhere("f") == "" and pool.everywhere("empty") == "abc"
    assert names(pool, "empty") == ["a", "b", "c"]


def test_a_folder_rename_that_fails_half_way_is_undone(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    for drive in "abc":
        pool.write(drive, f"f/{drive}")
    honest = pool.branches[2].rename

    def broken(source: str, target: str, flags: int) -> None:
        if target == "g":
            raise OSError(errno.EIO, "broken")
        honest(source, target, flags)

    monkeypatch.setattr(pool.branches[2], "rename", broken)
    with pytest.raises(OSError):
        pool.union.rename("f", "g", 0)
    assert names(pool, "f") == ["a", "b", "c"] and pool.everywhere("g") == ""


def test_a_folder_does_not_replace_one_that_is_filled_elsewhere(pool: Pool) -> None:
    pool.write("a", "f/x")
    pool.write("b", "g/y")
    with pytest.raises(OSError) as refused:
        pool.union.rename("f", "g", 0)
    assert refused.value.errno == errno.ENOTEMPTY and names(pool, "g") == ["y"] and names(pool, "f") == ["x"]


def test_exchange_inside_one_drive_only(linux_pool: Pool) -> None:
    pool = linux_pool
    pool.write("a", "one", "1")
    pool.write("a", "two", "2")
    pool.write("b", "three", "3")
    pool.union.rename("one", "two", RENAME_EXCHANGE)
    assert (pool.read("one"), pool.read("two")) == ("2", "1")
    with pytest.raises(OSError) as refused:
        pool.union.rename("one", "three", RENAME_EXCHANGE)
    assert refused.value.errno == errno.EINVAL
    with pytest.raises(FileNotFoundError):
        pool.union.rename("one", "none", RENAME_EXCHANGE)


def test_changes_to_a_folder_reach_every_drive(linux_pool: Pool) -> None:
    pool = linux_pool
    for drive in "ab":
        pool.write(drive, f"f/{drive}")
    pool.union.chmod("f", 0o711)
    pool.union.chown("f", 7, 8)
    pool.union.setxattr("f", "user.x", b"1", 0)
    pool.union.utime("f", 5, 6)
    for path in pool.paths[:2]:
        st = (path / "f").stat()
        assert (st.st_mode & 0o777, st.st_uid, st.st_gid, st.st_mtime_ns) == (0o711, 7, 8, 6)
        assert os.getxattr(path / "f", "user.x") == b"1"


def test_a_merged_folder_has_the_newest_time_and_counts_all_links(pool: Pool) -> None:
    pool.write("a", "f/one/x")
    pool.write("b", "f/two/x")
    os.utime(pool.paths[0] / "f", ns=(0, 10))
    os.utime(pool.paths[1] / "f", ns=(0, 20))
    attr = pool.union.stat("f")
    assert attr.mtime_ns == 20 and attr.nlink == 4


def test_a_link_planted_on_a_drive_leads_nowhere(pool: Pool, tmp_path: Path) -> None:
    pool.write("a", "f/x")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret").write_text("secret")
    (pool.paths[1] / "f").symlink_to(tmp_path / "outside")
    assert names(pool, "f") == ["x"]
    with pytest.raises(FileNotFoundError):
        pool.union.stat("f/secret")
    pool.next = "b"
    with pytest.raises(OSError):
        pool.create("f/new")
    assert sorted(os.listdir(tmp_path / "outside")) == ["secret"]


def test_room_counts_one_filesystem_once(pool: Pool) -> None:
    st = os.statvfs(pool.paths[0])
    room = pool.union.space()
    assert room.total == st.f_blocks * st.f_frsize and room.available <= st.f_bavail * st.f_frsize + (64 << 20)


def test_room_of_drives_with_a_capacity(tmp_path: Path) -> None:
    drives = []
    for number, capacity in ((1, 10_000_000), (2, 20_000_000)):
        path = tmp_path / str(number)
        path.mkdir()
        initialise(path, str(number), number)
        drives.append(Drive.open(DriveConfig(str(number), str(path), capacity=capacity, min_free=1_000_000)))
    db = NamesDb(tmp_path / "names.db")
    inodes = Inodes(db)
    branches = [LocalBranch(drive, inodes) for drive in drives]
    names = Names(db)
    union = Union(branches, remote_of(names), Placement(lambda: drives, random=Random(1)), Journal(names, "union"))
    room = union.space()
    assert room.total == 30_000_000
    assert 27_000_000 < room.available <= 28_000_000
    for drive in drives:
        drive.close()
    db.close()


@pytest.mark.parametrize("kind", ["drive", "remote"])
def test_parents_made_on_another_branch_leave_the_times_of_the_folders_above(pool: Pool, kind: str) -> None:
    pool.write("a", "top/mid/low/file")
    if kind == "remote":
        pool.names.mkdir("top", 0o755, 0, 0)
        pool.names.mkdir("source", 0o755, 0, 0)
    else:
        (pool.paths[1] / "top").mkdir()
    old = {path: 10**18 + number * 10**9 for number, path in enumerate(("top", "top/mid", "top/mid/low", ""))}
    for path, mtime_ns in old.items():
        pool.union.utime(path, mtime_ns, mtime_ns)
    if kind == "remote":
        pool.union.rename("source", "top/mid/low/target", 0)
    else:
        pool.next = "b"
        pool.union.mkdir("top/mid/low/target", 0o755, ROOT)
    now = {path: pool.union.stat(path).mtime_ns for path in old}
    assert now.pop("top/mid/low") > old.pop("top/mid/low"), "something was added here"
    if kind == "remote":
        del now[""], old[""]  # the source left it
    assert now == old
