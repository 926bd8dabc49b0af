"""Publishing into a union of real drives: safe paths, clashes, additions that came before."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from placement.drive import Drive, DriveConfig
from placement.identity import initialise
from placement.rules import Placement
from vfs.cache import ChunkCache
from vfs.inodes import Inodes
from vfs.journal import Journal
from vfs.local import LocalBranch
from vfs.names import Names
from vfs.namesdb import NamesDb
from vfs.nodes import Directory
from vfs.planting import Owner
from vfs.publish import Offered, Publisher, placed
from vfs.reader import Reader
from vfs.remote import NoLibrary, RemoteBranch
from vfs.union import Union

HASH = "c" * 40
OWNER = Owner(0, 0, 0o022)


class Tree:
    def __init__(self, base: Path) -> None:
        self.drive = base / "drive"
        self.drive.mkdir()
        initialise(self.drive, "one", 1)
        drives = [Drive.open(DriveConfig("one", str(self.drive)))]
        db = NamesDb(base / "names.db")
        self.names = Names(db)
        inodes = Inodes(db)
        branches = [LocalBranch(drive, inodes) for drive in drives]
        remote = RemoteBranch(self.names, Reader(NoLibrary(), ChunkCache(str(base / "cache"), 0)))
        self.union = Union(branches, remote, Placement(lambda: drives), Journal(self.names, "union"))
        self.publisher = Publisher(self.union, remote, OWNER)

    def paths(self) -> list[str]:
        found = []

        def walk(directory: Directory, prefix: str) -> None:
            for name, node in directory.children.items():
                found.append(prefix + name)
                if isinstance(node, Directory):
                    walk(node, f"{prefix}{name}/")

        walk(self.names.root, "")
        return sorted(found)


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    tree = Tree(tmp_path)
    yield tree
    tree.names.close()


def offered(path: str, part: str = "1", id_: str = HASH, size: int = 5) -> Offered:
    return (tuple(path.strip("/").split("/")), ("torrent", id_, part), size, 1_000)


def test_an_addition_is_published_once(tree: Tree) -> None:
    files = [offered("/S1/e1.mkv"), offered("/S1/e2.mkv", "2")]
    path = tree.publisher.publish("rd:A", "torrents/complete", "Show", files)
    assert path == "torrents/complete/Show" and tree.publisher.published("rd:A")
    before = tree.paths()
    assert before[2:] == [f"{path}{inner}" for inner in ("", "/S1", "/S1/e1.mkv", "/S1/e2.mkv")]
    assert tree.publisher.publish("rd:A", "torrents/complete", "Show", files) == path
    assert tree.paths() == before


def test_the_same_torrent_added_twice_has_one_set_of_names(tree: Tree) -> None:
    files = [offered("/e1.mkv"), offered("/e2.mkv", "2")]
    tree.publisher.publish("rd:A", "torrents/complete", "Show", files)
    before = tree.paths()
    tree.publisher.publish("rd:B", "torrents/complete", "Show", files)
    assert tree.paths() == before and tree.publisher.published("rd:B")


def test_two_torrents_of_one_name(tree: Tree) -> None:
    one = tree.publisher.publish("rd:A", "torrents/complete", "Film", [offered("/f.mkv")])
    other = tree.publisher.publish("rd:B", "torrents/complete", "Film", [offered("/f.mkv", "1", "d" * 40)])
    assert one == "torrents/complete/Film" and other.startswith("torrents/complete/Film%+")
    assert tree.publisher.publish("rd:B", "torrents/complete", "Film", []) == other


def test_a_local_name_is_never_shadowed(tree: Tree) -> None:
    (tree.drive / "torrents/complete/Film").mkdir(parents=True)
    path = tree.publisher.publish("rd:A", "torrents/complete", "Film", [offered("/f.mkv")])
    assert path != "torrents/complete/Film"
    assert not list((tree.drive / "torrents/complete/Film").iterdir())


def test_the_provider_s_own_path_is_kept_beside_the_safe_one(tree: Tree) -> None:
    tree.publisher.publish("rd:A", "torrents/complete", "x", [offered("/" + "n" * 300 + ".mkv")])
    (kept,) = tree.names._db.db.execute("SELECT original FROM content").fetchone()
    assert kept == b"n" * 300 + b".mkv"


components = st.text(st.sampled_from("ab./\n%\0"), max_size=4)
raw_paths = st.lists(components, min_size=1, max_size=3).map(tuple)


@settings(deadline=None)
@given(st.lists(raw_paths, max_size=12))
def test_no_two_files_share_a_path_and_none_lies_inside_another(paths: list[tuple[str, ...]]) -> None:
    files: list[Offered] = [(path, ("torrent", HASH, str(part)), 1, 0) for part, path in enumerate(paths)]
    found = [new.path for new in placed(files)]
    assert len(found) == len(files) == len(set(found))
    folders = {path[:depth] for path in found for depth in range(1, len(path))}
    assert not folders & set(found)
    assert all(part not in ("", ".", "..") and "/" not in part for path in found for part in path)
