"""A drive's changes are reported, and while it is missing it is shown as it was."""

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from indexer.catalog import Catalog
from indexer.known import KnownFiles
from indexer.scan import Crawl, crawl
from placement.drive import Drive, DriveConfig
from placement.identity import initialise
from vfs.attr import Attr, Caller
from vfs.branch import Branch
from vfs.inodes import Inodes
from vfs.known import Known, NothingKnown
from vfs.local import LocalBranch
from vfs.names import Names
from vfs.namesdb import NamesDb

N = 1
ROOT = Caller(0, 0)


class Heard:
    """Notes what is reported, and how the drive looks at that moment."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.reports: list[tuple[str, tuple[object, ...]]] = []
        self.looks: list[object] = []

    def _hear(self, what: str, *about: object) -> None:
        self.reports.append((what, about))
        self.looks.append(self.look())

    def look(self) -> object:
        """All that can be seen of the drive, the times of last access aside."""
        found = {}
        for path in sorted(self._root.rglob("*")):
            st = path.lstat()
            found[path] = (st.st_ino, st.st_mode, st.st_nlink, st.st_uid, st.st_size, st.st_mtime_ns, st.st_ctime_ns)
        return found

    def changed(self, drive_number: int, path: str, file: bool = False) -> None:
        self._hear("changed", path, file)

    def renamed(self, drive_number: int, old: str, new: str) -> None:
        self._hear("renamed", old, new)

    def writing(self, drive_number: int, path: str, ino: int) -> None:
        self._hear("writing", path, ino)

    def written(self, drive_number: int, ino: int) -> None:
        self._hear("written", ino)

    def stat(self, drive_number: int, path: str) -> Known | None:
        return None

    def entries(self, drive_number: int, path: str) -> Sequence[tuple[str, Known]] | None:
        return None


class Pool:
    """One drive with some files, and what is needed to make a branch of it."""

    def __init__(self, base: Path) -> None:
        self.root, self.away = base / "drive", base / "away"
        self.root.mkdir()
        initialise(self.root, "drive", N)
        self.drive = Drive.open(DriveConfig("drive", str(self.root)))
        self.db = NamesDb(base / "names.db")
        Names(self.db)
        self.inodes = Inodes(self.db)
        self.catalog = Catalog(base / "catalog.db")
        self.known = KnownFiles(self.catalog, base / "marks", quiet=0.0)
        self.known.adopt(N, self.drive.id)
        self.branch = LocalBranch(self.drive, self.inodes, known=self.known)
        (self.root / "folder/empty").mkdir(parents=True)
        (self.root / "file").write_text("content")
        os.link(self.root / "file", self.root / "folder/again")
        (self.root / "symlink").symlink_to("file")
        os.setxattr(self.root / "file", "user.old", b"")

    def walk(self) -> None:
        crawl(self.catalog, self.drive, watch=self.known.marks, wants_birth=self.inodes.wants_birth)

    def look_again(self) -> None:
        due = self.known.marks.due(N)
        again = Crawl.again(self.catalog, self.drive, due, self.known.marks, wants_birth=self.inodes.wants_birth)
        while again.step():
            pass

    def settle(self) -> None:
        for _ in range(4):
            self.look_again()
        assert not self.known.marks.any(N)

    def pull(self, empty: bool = True) -> None:
        self.root.rename(self.away)
        if empty:
            self.root.mkdir()
        self.drive.check()

    def put_back(self) -> None:
        if self.root.exists():
            self.root.rmdir()
        self.away.rename(self.root)
        self.drive.check()

    def everything(self) -> dict[str, Attr]:
        """All attributes in the tree of the branch by path, the times of last access aside."""
        found = {"": self.branch.stat("")}
        folders = [""]
        while folders:
            folder = folders.pop()
            for name, attr in self.branch.entries(folder):
                path = f"{folder}/{name}".lstrip("/")
                assert self.branch.stat(path)._replace(atime_ns=0) == attr._replace(atime_ns=0)
                found[path] = attr
                if attr.is_dir:
                    folders.append(path)
        return {path: attr._replace(atime_ns=0) for path, attr in found.items()}

    def close(self) -> None:
        self.known.close()
        self.catalog.close()
        self.drive.close()
        self.db.close()


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Pool]:
    pool = Pool(tmp_path)
    yield pool
    pool.close()


def hiding(branch: LocalBranch) -> None:
    handle = branch.open("file", os.O_RDONLY)
    assert branch.hide("file", "hidden")
    branch.chmod("hidden", 0o604)
    handle.close()


def by_handle(flags: int, *change: object) -> Callable[[LocalBranch], None]:
    def act(branch: LocalBranch) -> None:
        handle = branch.open("file", flags)
        getattr(handle, str(change[0]))(*change[1:])
        handle.close()

    return act


Act = Callable[[LocalBranch], None]
# Each call that changes something: the names that must be reported before it and after it.
CHANGES: dict[str, tuple[set[str], Act]] = {
    "create": ({"new"}, lambda b: b.create("new", os.O_WRONLY, 0o644, ROOT).close()),
    "mknod": ({"new"}, lambda b: b.mknod("new", 0o010644, 0, ROOT)),
    "mkdir": ({"folder/new"}, lambda b: b.mkdir("folder/new", 0o755, ROOT)),
    "symlink": ({"new"}, lambda b: b.symlink("x", "new", ROOT)),
    "link": ({"file", "folder/new"}, lambda b: b.link("file", "folder/new")),
    "unlink": ({"file"}, lambda b: b.unlink("file")),
    "rmdir": ({"folder/empty"}, lambda b: b.rmdir("folder/empty")),
    "rename": ({"folder", "moved"}, lambda b: b.rename("folder", "moved", 0)),
    "truncate": ({"file"}, lambda b: b.truncate("file", 2)),
    "chmod": ({"folder"}, lambda b: b.chmod("folder", 0o700)),
    "chown": ({"symlink"}, lambda b: b.chown("symlink", 5, 6)),
    "utime": ({"file"}, lambda b: b.utime("file", 1, 2)),
    "setxattr": ({"file"}, lambda b: b.setxattr("file", "user.x", b"1", 0)),
    "removexattr": ({"file"}, lambda b: b.removexattr("file", "user.old")),
    "hide": ({"file"}, hiding),
    "open to truncate": ({"file"}, by_handle(os.O_WRONLY | os.O_TRUNC, "fsync", True)),
    "write": ({"file"}, by_handle(os.O_RDWR, "write", b"more, much more", 0)),
    "allocate": ({"file"}, by_handle(os.O_RDWR, "allocate", 0, 0, 9000)),
    "truncate by handle": ({"file"}, by_handle(os.O_RDWR, "truncate", 1)),
    "chmod by handle": ({"file"}, by_handle(os.O_RDONLY, "chmod", 0o604)),
    "chown by handle": ({"file"}, by_handle(os.O_RDONLY, "chown", 5, 6)),
    "utime by handle": ({"file"}, by_handle(os.O_RDONLY, "utime", 1, 2)),
}
ASKING = {
    "require",
    "stat",
    "entries",
    "folder",
    "open",
    "readlink",
    "space",
    "getxattr",
    "listxattr",
    "fsyncdir",
    "follow",
}


def test_every_verb_of_a_branch_is_in_the_table() -> None:
    assert {name for name in vars(Branch) if not name.startswith("_")} - ASKING <= CHANGES.keys()


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_reported_before_and_after_it(name: str, pool: Pool) -> None:
    names, act = CHANGES[name]
    heard = Heard(pool.root)
    untouched = heard.look()
    act(LocalBranch(pool.drive, pool.inodes, known=heard))
    assert heard.look() != untouched
    reported = {path for what, about in heard.reports if what in ("changed", "renamed") for path in about}
    assert reported - {True, False} == names
    assert heard.looks[0] == untouched, "the first report comes before the change"
    assert heard.looks[-1] == heard.look(), "the last one after it"
    opened = [about[-1] for what, about in heard.reports if what == "writing"]
    closed = [about[-1] for what, about in heard.reports if what == "written"]
    assert opened == closed


@pytest.mark.parametrize("name", CHANGES)
def test_nothing_changed_is_believed_until_it_is_looked_at(name: str, pool: Pool) -> None:
    pool.walk()
    CHANGES[name][1](pool.branch)
    for path in CHANGES[name][0]:
        with pytest.raises(OSError) as raised:
            pool.known.stat(N, path)
        assert raised.value.errno == errno.EIO, path
    pool.settle()
    now = pool.everything()
    pool.pull()
    assert pool.everything() == now


@pytest.mark.parametrize("name", CHANGES)
def test_a_missing_drive_is_not_changed_and_nothing_is_reported(name: str, pool: Pool) -> None:
    heard = Heard(pool.away)
    branch = LocalBranch(pool.drive, pool.inodes, known=heard)
    pool.pull()
    untouched = heard.look()
    with pytest.raises(OSError) as raised:
        CHANGES[name][1](branch)
    assert raised.value.errno == errno.EIO
    assert heard.reports == [] and heard.look() == untouched and os.listdir(pool.root) == []


@pytest.mark.parametrize("empty", [True, False])
def test_a_missing_drive_is_shown_as_it_was(pool: Pool, empty: bool) -> None:
    pool.walk()
    before = pool.everything()
    assert before.keys() == {"", "file", "folder", "folder/again", "folder/empty", "symlink"}
    pool.pull(empty)
    assert pool.everything() == before
    for path in ("none", "folder/none", "file/none", ".mediapool"):
        with pytest.raises(FileNotFoundError):
            pool.branch.stat(path)
    for call in (pool.branch.readlink, pool.branch.listxattr, pool.branch.fsyncdir):
        with pytest.raises(OSError, match="drive"):
            call("symlink")
    pool.put_back()
    # Renaming the drive's folder changed that.
    del before[""]
    assert pool.everything().items() >= before.items()


def test_inode_numbers_stay_where_they_were_given_by_an_alias(pool: Pool) -> None:
    pool.branch.show_as("folder", 4711)
    pool.branch.show_as("file", 4712)
    pool.walk()
    # This one came after the walk: its birth time is not in the catalog.
    pool.branch.show_as("symlink", 4713)
    before = pool.everything()
    assert [before[path].ino for path in ("folder", "file", "symlink", "folder/again")] == [4711, 4712, 4713, 4712]
    pool.pull()
    assert pool.everything() == before


def test_an_alias_of_a_file_that_is_gone_is_not_believed(pool: Pool) -> None:
    ino = (pool.root / "symlink").lstat().st_ino
    pool.inodes.alias(N, ino, 12345, 4711)
    pool.walk()
    before = pool.everything()
    assert before["symlink"].ino != 4711
    pool.pull()
    assert pool.everything() == before


def test_what_was_not_walked_is_unknown(pool: Pool) -> None:
    pool.pull()
    for call in (pool.branch.stat, pool.branch.entries):
        with pytest.raises(OSError) as raised:
            call("folder")
        assert raised.value.errno == errno.EIO


def test_without_a_catalog_all_is_unknown(pool: Pool) -> None:
    branch = LocalBranch(pool.drive, pool.inodes)
    branch.create("new", os.O_WRONLY, 0o644, ROOT).close()
    branch.rename("new", "renamed", 0)
    assert branch.stat("renamed").size == 0
    pool.pull()
    for call in (branch.stat, branch.entries):
        with pytest.raises(OSError) as raised:
            call("renamed")
        assert raised.value.errno == errno.EIO
    assert NothingKnown().entries(N, "") is None


@pytest.mark.parametrize("code", [errno.EIO, errno.ENODEV, errno.ESTALE])
def test_a_disk_that_fails_is_looked_at_at_once(pool: Pool, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pulled less than a second ago, the drive still counts as present, but its calls fail."""
    pool.walk()
    before = pool.everything()
    pool.root.rename(pool.away)

    def fail(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("vfs.local.os.scandir", fail)
    monkeypatch.setattr("vfs.local.LocalBranch.attr_of", fail)
    assert pool.everything() == before
    assert not pool.drive.present


def test_a_disk_that_fails_but_is_there_says_so(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    pool.walk()

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "a bad sector")

    monkeypatch.setattr("vfs.local.LocalBranch.attr_of", fail)
    with pytest.raises(OSError, match="a bad sector"):
        pool.branch.stat("file")


def test_a_file_that_is_written_is_shown_but_not_certain(pool: Pool) -> None:
    pool.walk()
    handle = pool.branch.open("folder/again", os.O_WRONLY)
    pool.look_again()
    handle.write(b"longer than before", 0)
    handle.close()
    with pytest.raises(OSError, match="not known"):
        pool.known.stat(N, "folder/again")
    other = pool.known.stat(N, "file")
    assert other is not None and not other.exact
    pool.settle()
    pool.pull()
    assert pool.branch.stat("file").size == 18
