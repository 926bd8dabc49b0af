"""The union while a drive is missing, and how changes of the mover become known."""

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from uniting import ROOT, Pool

from indexer.catalog import Catalog
from indexer.known import KnownFiles
from indexer.scan import Crawl, crawl
from vfs.attr import Attr
from vfs.journal import Journal
from vfs.localhandle import LocalHandle
from vfs.relocating import Relocating


class KnownPool(Pool):
    """Drives a, b and c, of which the catalog knows what was there at the last `walk`."""

    def __init__(self, base: Path) -> None:
        self.catalog = Catalog(base / "catalog.db")
        self.known = KnownFiles(self.catalog, base / "marks", quiet=0.0)
        super().__init__(base, self.known)
        for drive in self.drives:
            self.known.adopt(drive.number, drive.id)

    def walk(self) -> None:
        for drive in self.drives:
            crawl(self.catalog, drive, watch=self.known.marks)
        for _ in range(4):
            for drive in self.drives:
                again = Crawl.again(self.catalog, drive, self.known.marks.due(drive.number), self.known.marks)
                while again.step():
                    pass

    def pull(self, name: str) -> None:
        """Leave an empty folder in the place of this drive."""
        path = self.paths["abc".index(name)]
        path.rename(path.with_name(name + ".away"))
        path.mkdir()
        self.drives["abc".index(name)].check()

    def put_back(self, name: str) -> None:
        path = self.paths["abc".index(name)]
        assert os.listdir(path) == []
        path.rmdir()
        path.with_name(name + ".away").rename(path)
        self.drives["abc".index(name)].check()

    def shown(self) -> dict[str, tuple[int, int, int]]:
        found: dict[str, tuple[int, int, int]] = {}

        def note(path: str, attr: Attr) -> None:
            found[path] = (attr.ino, attr.mode, 0 if attr.is_dir else attr.size)
            for name, _ in self.union.entries(path) if attr.is_dir else ():
                below = f"{path}/{name}".lstrip("/")
                note(below, self.union.stat(below))

        note("", self.union.stat(""))
        return found


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[KnownPool]:
    pool = KnownPool(tmp_path)
    yield pool
    pool.known.close()
    pool.catalog.close()
    for drive in pool.drives:
        drive.close()
    pool.db.close()


def refused(call: Callable[..., object], *arguments: object) -> bool:
    with pytest.raises(OSError) as raised:
        call(*arguments)
    return raised.value.errno == errno.EIO


@pytest.mark.parametrize("missing", ["a", "b", "c"])
def test_the_tree_is_the_same_whichever_drive_is_missing(pool: KnownPool, missing: str) -> None:
    for drive in "abc":
        pool.write(drive, f"both/{drive}")
        pool.write(drive, f"only-{drive}/deep/file")
        pool.write(drive, "twice", drive * 3)
    pool.walk()
    before = pool.shown()
    pool.pull(missing)
    assert pool.shown() == before
    pool.put_back(missing)
    assert pool.shown() == before


def test_a_hidden_copy_on_the_missing_drive_keeps_the_name(pool: KnownPool) -> None:
    for drive in "ab":
        pool.write(drive, "f/twice")
    pool.write("a", "f/other")
    pool.walk()
    pool.pull("b")
    assert refused(pool.union.unlink, "f/twice") and refused(pool.union.rename, "f/twice", "f/new", 0)
    assert refused(pool.union.rename, "f/other", "f/twice", 0) and refused(pool.union.rename, "f", "g", 0)
    assert refused(pool.union.rmdir, "f") and refused(pool.union.chmod, "f", 0o700)
    assert pool.read("f/twice") == "a" and pool.everywhere("f/twice") == "a"
    pool.put_back("b")
    pool.union.unlink("f/twice")
    assert pool.everywhere("f/twice") == ""


def test_what_is_unknown_is_not_made_anew(pool: KnownPool) -> None:
    pool.write("b", "f/old")
    pool.write("a", "f/mine")
    pool.walk()
    pool.next = "b"
    pool.create("f/new")
    pool.next = "a"
    pool.pull("b")
    # Made since the last look: what became of it is not known.
    assert refused(pool.union.stat, "f/new") and refused(pool.create, "f/new") and refused(pool.union.entries, "f")
    assert refused(pool.union.mkdir, "f/new", 0o755, ROOT) and refused(pool.union.link, "f/mine", "f/new")
    assert pool.union.stat("f/old").size == 1 and pool.read("f/mine") == "a"
    pool.create("f/third")
    assert pool.everywhere("f/third") == "a"
    pool.put_back("b")
    assert pool.union.stat("f/new").size == 0


@pytest.mark.parametrize("next", ["a", "c"])
def test_folders_of_the_missing_drive_are_made_elsewhere(pool: KnownPool, next: str) -> None:
    pool.write("b", "deep/er/old")
    (pool.paths[1] / "deep").chmod(0o2750)
    os.chown(pool.paths[1] / "deep", 5, 6)
    pool.walk()
    numbers = [pool.union.stat(path).ino for path in ("deep", "deep/er")]
    pool.next = next
    pool.pull("b")
    pool.create("deep/er/new")
    made = (pool.paths["abc".index(next)] / "deep").stat()
    assert (made.st_uid, made.st_gid, made.st_mode & 0o7777) == (5, 6, 0o2750)
    for _ in range(2):
        assert [pool.union.stat(path).ino for path in ("deep", "deep/er")] == numbers
        assert sorted(name for name, _ in pool.union.entries("deep/er")) == ["new", "old"]
        if pool.paths[1].with_name("b.away").exists():
            pool.put_back("b")


def test_a_folder_that_also_the_missing_drive_has_is_synced_where_it_can_be(
    pool: KnownPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for drive in "abc":
        pool.write(drive, "f/file")
    pool.walk()
    pool.pull("b")
    synced = []
    for branch in pool.branches:
        monkeypatch.setattr(
            branch, "fsyncdir", lambda path, branch=branch: (branch.drive.require(), synced.append(branch.drive.name))
        )
    assert refused(pool.union.fsyncdir, "f")
    assert synced == ["a", "c"]


def test_interrupted_work_waits_for_the_drive_though_its_names_are_known(pool: KnownPool) -> None:
    pool.write("a", "source")
    pool.write("b", "target")
    pool.walk()
    steps = [["rename", 1, pool.branches[0].stat("source").ino, "c291cmNl", "dGFyZ2V0"]]
    steps += [["unlink", 2, pool.branches[1].stat("target").ino, "dGFyZ2V0", ""]]
    Journal(pool.names, "union").begin({"steps": steps})
    # As after a crash between the two steps.
    (pool.paths[0] / "source").rename(pool.paths[0] / "target")
    pool.pull("b")
    pool.union.intents.recover()
    assert refused(pool.union.stat, "target") and refused(pool.union.stat, "source")
    pool.put_back("b")
    assert pool.read("target") == "a" and pool.everywhere("target") == "a"


def test_no_step_is_taken_for_done_because_of_what_is_known(pool: KnownPool) -> None:
    pool.write("a", "target", "must not be lost")
    pool.walk()
    # Somebody put it there past the mount, so the catalog takes it for absent.
    pool.write("b", "source")
    steps = [["rename", 2, pool.branches[1].stat("source").ino, "c291cmNl", "dGFyZ2V0"]]
    steps += [["unlink", 1, pool.branches[0].stat("target").ino, "dGFyZ2V0", ""]]
    Journal(pool.names, "union").begin({"steps": steps})
    pool.pull("b")
    pool.union.intents.recover()
    assert pool.everywhere("target") == "a" and refused(pool.union.stat, "target")
    pool.put_back("b")
    assert pool.read("target") == "b" and pool.everywhere("target") == "b"


def test_a_file_that_changed_drives_is_unknown_until_it_is_looked_at(pool: KnownPool) -> None:
    pool.write("b", "films/alien", "content")
    pool.walk()
    relocating = Relocating(pool.union, pool.branches, pool, Journal(pool.names, "move"), 0)
    handle = pool.union.open("films/alien", os.O_RDWR)
    assert isinstance(handle, LocalHandle)
    relocating.make_room(handle, handle.branch, 10, OSError(errno.ENOSPC, "no room"))
    assert pool.everywhere("films/alien") == "a"
    for drive in (1, 2):
        assert refused(pool.known.stat, drive, "films/alien")
    pool.walk()
    assert pool.known.stat(2, "films/alien") is None
    found = pool.known.stat(1, "films")
    assert found is not None and found.is_dir
    # It is still open for writing, on its new drive.
    assert refused(pool.known.stat, 1, "films/alien")
    handle.close()
    pool.walk()
    before = pool.shown()
    pool.pull("a")
    assert pool.shown() == before


def test_a_look_at_the_drives_during_a_move_is_not_believed(pool: KnownPool, monkeypatch: pytest.MonkeyPatch) -> None:
    pool.write("b", "films/alien", "content")
    pool.walk()
    looks: list[Crawl] = []

    def look(step: str, when: str) -> None:
        if (step, when) == ("names made", "before"):
            looks.append(Crawl.again(pool.catalog, pool.drives[0], [""], pool.known.marks))
            looks[0].step()

    monkeypatch.setattr("vfs.relocating._crash_point", look)
    relocating = Relocating(pool.union, pool.branches, pool, Journal(pool.names, "move"), 0)
    handle = pool.union.open("films/alien", os.O_RDWR)
    assert isinstance(handle, LocalHandle)
    relocating.make_room(handle, handle.branch, 10, OSError(errno.ENOSPC, "no room"))
    handle.close()
    looks[0].flush()
    assert refused(pool.known.stat, 1, "films")
