"""Local files that are probably the same as remote ones, by size and OSDB hash; each remote file is looked at once."""

import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from indexer.contents import Contents
from indexer.finding import find, roots
from indexer.probable import END, RemoteFile, osdb, probable


class Remote:
    """Remote files in memory; counts what is fetched."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = {
            RemoteFile(name.encode(), len(data), ("p", "torrent", name, "1")): data for name, data in files.items()
        }
        self.fetched: list[bytes] = []

    def of_sizes(self, sizes: frozenset[int]) -> Iterable[RemoteFile]:
        return [file for file in self.files if file.size in sizes]

    def ends(self, file: RemoteFile) -> tuple[bytes, bytes]:
        self.fetched.append(file.path)
        if file.path == b"down":
            raise OSError(5, "Input/output error")
        return self.files[file][:END], self.files[file][-END:]


def test_the_hash_is_that_of_its_definition() -> None:
    assert osdb(131072, bytes(END), bytes(END)).hex() == "0000000000020000"
    one = (1).to_bytes(8, "little")
    assert osdb(131072, one + bytes(END - 8), bytes(END - 8) + one).hex() == "0000000000020002"
    assert osdb(5, b"\xff" * END, bytes(END)) == ((5 - END // 8) % (1 << 64)).to_bytes(8, "big")


def test_pairs_problems_and_memory(tmp_path: Path) -> None:
    film = os.urandom(2 * END + 1000)
    middle = film[: END + 5] + b"?" + film[END + 6 :]
    other = os.urandom(len(film))
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "film").write_bytes(film)
    os.link(tree / "film", tree / "link")
    (tree / "short").write_bytes(b"x" * 1000)
    remote = Remote({"same": film, "alike": middle, "other": other, "short": b"x" * 1000, "down": other})
    with Contents(tmp_path / "contents.db") as contents:
        for fetched in (5 - 1, 1):
            remote.fetched.clear()
            pairs, problems = probable(find(roots([tree])).files, remote, contents)
            # Nothing tells the one that differs in the middle: "probable" is all that is said.
            assert [[file.path for file in pair.remote] for pair in pairs] == [[b"alike", b"same"]]
            assert [len(pair.local) for pair in pairs] == [1]
            assert [(one.path, one.reason) for one in problems] == [(b"down", "Input/output error")]
            # What is known is not fetched again; what failed is.
            assert len(remote.fetched) == fetched and b"short" not in remote.fetched


@pytest.mark.parametrize("count", [0, 1])
def test_it_can_be_ended(tmp_path: Path, count: int) -> None:
    (tmp_path / "a").write_bytes(bytes(2 * END))
    remote = Remote({f"{number}": bytes(2 * END) for number in range(3)})
    with Contents(tmp_path / "contents.db") as contents:
        probable(find(roots([tmp_path])).files, remote, contents, lambda done: done < count)
    assert len(remote.fetched) == count
