"""Which folders are heard of when names change, by whatever way, without a mount."""

import os
from pathlib import Path

import pytest
from uniting import ROOT, Pool

from vfs.about import About
from vfs.filesystem import FileSystem
from vfs.offering import Offering
from vfs.planting import Owner
from vfs.publish import Publisher
from vfs.renaming import RENAME_EXCHANGE

OWNER = Owner(0, 0, 0o022)
FILES = [(("a.mkv",), ("torrent", "0" * 40, "1"), 5, 0), (("sub", "b.mkv"), ("torrent", "0" * 40, "2"), 5, 0)]


class Ear:
    def __init__(self) -> None:
        self.seen: list[str] = []
        self.unseen: list[str] = []

    def __call__(self, *folders: str, unseen: bool = False) -> None:
        (self.unseen if unseen else self.seen).extend(folders)

    def taken(self) -> tuple[set[str], set[str]]:
        """What was heard since, seen and unseen."""
        told = set(self.seen), set(self.unseen)
        self.seen, self.unseen = [], []
        return told


@pytest.fixture
def ear() -> Ear:
    return Ear()


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    return Pool(tmp_path)


@pytest.fixture
def filesystem(pool: Pool, ear: Ear) -> FileSystem:
    made = FileSystem(pool.union, About(pool.union.lookup, lambda path: ""))
    made.heard = ear
    return made


def test_verbs_tell_the_folders_in_which_names_changed(filesystem: FileSystem, ear: Ear) -> None:
    filesystem.mkdir("tv", 0o755, ROOT)
    filesystem.mkdir("tv/Show", 0o755, ROOT)
    assert ear.taken() == ({"tv", "tv/Show"}, set())
    fh = filesystem.create("tv/Show/a", os.O_WRONLY, 0o644, ROOT).fh
    filesystem.write(fh, b"x", 0)
    assert ear.taken() == (set(), set()), "it is not whole yet"
    filesystem.release(fh)
    assert ear.taken() == ({"tv/Show"}, set())
    fh = filesystem.open("tv/Show/a", os.O_RDONLY).fh
    filesystem.release(fh)
    filesystem.chmod("tv/Show/a", 0o600)
    filesystem.truncate("tv/Show/a", 0)
    assert ear.taken() == (set(), set()), "no name has changed"
    filesystem.mkdir("films", 0o755, ROOT)
    ear.taken()
    for change, told in (
        (lambda: filesystem.link("tv/Show/a", "films/a"), {"films"}),
        (lambda: filesystem.symlink("x", "films/link", ROOT), {"films"}),
        (lambda: filesystem.mknod("films/pipe", 0o010644, 0, ROOT), {"films"}),
        (lambda: filesystem.rename("films/a", "tv/b", 0), {"films", "tv"}),
        (lambda: filesystem.rename("tv/Show", "films/Show", 0), {"tv/Show", "films/Show"}),
        (lambda: filesystem.rename("films/Show", "tv", RENAME_EXCHANGE), {"films/Show", "tv"}),
        (lambda: filesystem.unlink("films/pipe"), {"films"}),
        (lambda: filesystem.unlink("tv/a"), {"tv"}),
        (lambda: filesystem.rmdir("tv"), {"tv"}),
    ):
        change()
        assert ear.taken() == (told, set())
    with pytest.raises(OSError):
        filesystem.rmdir("films")
    with pytest.raises(OSError):
        filesystem.unlink("nothing")
    assert ear.taken() == (set(), set()), "nothing was done"


def test_what_is_published_and_withdrawn_is_heard_of_as_unseen(pool: Pool, filesystem: FileSystem, ear: Ear) -> None:
    publisher = Publisher(pool.union, pool.union.lookup.branches[-1], OWNER)  # type: ignore[arg-type]
    publisher.heard = ear
    path = publisher.publish("realdebrid:1", "torrents/complete", "Show", FILES)
    assert ear.taken() == (set(), {path})
    assert publisher.publish("realdebrid:1", "torrents/complete", "Show", FILES) == path
    assert ear.taken() == (set(), set()), "once"
    filesystem.mkdir("tv", 0o755, ROOT)
    filesystem.link(f"{path}/a.mkv", "tv/a.mkv")
    ear.taken()
    assert len(publisher.withdraw("0" * 40)) == 3
    assert ear.taken() == (set(), {"tv", path, f"{path}/sub"})


def test_downloads_of_clients_are_heard_of_as_unseen(pool: Pool, filesystem: FileSystem, ear: Ear) -> None:
    offering = Offering(pool.union, pool.union.lookup.branches[-1], filesystem, OWNER)  # type: ignore[arg-type]
    folder = offering.folder("torrents", "complete", "tv")
    path = offering.show(["download:1"], "torrents/incomplete", "Show", FILES, single=False)
    assert ear.taken()[1] == {"torrents/incomplete/Show"}
    assert offering.move(path, f"{folder}/Show")
    assert ear.taken()[1] == {"torrents/incomplete/Show", "torrents/complete/tv/Show"}
    offering.withdraw(f"{folder}/Show", "0" * 40)
    assert "torrents/complete/tv/Show/sub" in ear.taken()[1]
