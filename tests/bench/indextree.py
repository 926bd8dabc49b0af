"""The tree that `scripts/bench index` looks for duplicates in: made anew from a seed, with the truth about it."""

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# Bytes of random content that all files are slices of; each begins with its own number.
_POOL = 1 << 23
_HEADER = 16
# Suffixes that break text output, JSON and shells.
_HOSTILE = (
    b" ", b"\n", b"\xff\xfe", b"\"'", b"\\", b"*?[", b"\xc3\xa4", b"a\xcc\x88", b"$(x)", b"\t", b"-rf", b"\xe2\x80\xae",
)  # fmt: skip
_FOLDERS = 600


@dataclass(frozen=True)
class Truth:
    """What lies in the tree: `groups` are sets of paths with equal content, one path an inode; sizes in bytes."""

    files: int
    size: int
    groups: frozenset[frozenset[bytes]]
    # Every name of each inode that has several, by the one that stands in `groups` if it is in one.
    links: dict[bytes, bytes]


def make_tree(root: Path, files: int, size: int, seed: int = 1) -> Truth:
    """Fill `root` with about `files` files of `size` bytes in all; the same for the same arguments."""
    draw = random.Random(seed)
    pool = memoryview(draw.randbytes(_POOL))
    writer = _Writer(os.fsencode(root), pool, draw)
    originals = [(number, _size(draw, size / files)) for number in range(int(files * 0.76))]
    # A few are as long as others by chance; the decoys are so on purpose.
    groups: list[list[bytes]] = []
    copies = int(files * 0.2)
    copied = draw.sample(originals, copies * 2 // 3)
    extra = [draw.choice(copied) for _ in range(copies - len(copied))]
    times: dict[int, int] = {}
    for number, _ in [*copied, *extra]:
        times[number] = times.get(number, 0) + 1
    for number, length in originals:
        same = [writer.write(number, length) for _ in range(1 + times.get(number, 0))]
        if len(same) > 1:
            groups.append(same)
    for number, place in enumerate(_decoy_places(int(files * 0.02))):
        length = max(9000, _size(draw, size / files))
        writer.write(files + number, length)
        writer.write(files + number, length, flipped=place(length))
    links = writer.link(draw, groups, files // 400)
    writer.oddities(files // 1000)
    return Truth(writer.count, writer.size, frozenset(map(frozenset, groups)), links)


def _size(draw: random.Random, mean: float) -> int:
    """Many small files and few big ones, of `mean` bytes on average."""
    return max(64, int(mean * draw.choices((0.02, 0.15, 1.0, 9.0), (30, 40, 22, 8))[0] * draw.uniform(0.4, 1.6)))


def _decoy_places(count: int) -> Iterator:  # type: ignore[type-arg]
    """Where each decoy differs from a file of its size: mostly in the last block, also the first and the middle."""
    kinds = (lambda size: size - 1, lambda size: size - 4000, lambda size: 40, lambda size: size // 2)
    return (kinds[number % 4] for number in range(count))


class _Writer:
    def __init__(self, root: bytes, pool: memoryview, draw: random.Random) -> None:
        self._pool = pool
        self._draw = draw
        self.count = 0
        self.size = 0
        self._folders = [root]
        for number in range(_FOLDERS):
            above = draw.choice(self._folders[-40:])
            folder = above + b"/" + b"f%d" % number + (draw.choice(_HOSTILE) if number % 9 == 0 else b"")
            if len(folder) > 900:
                folder = root + b"/f%d" % number
            os.makedirs(folder)
            self._folders.append(folder)

    def _path(self) -> bytes:
        hostile = self._draw.choice(_HOSTILE) if self.count % 20 == 0 else b""
        # Copies do not lie beside one another: where each lies is drawn.
        self.count += 1
        return self._draw.choice(self._folders) + b"/n%d" % self.count + hostile + b".bin"

    def write(self, number: int, length: int, flipped: int | None = None) -> bytes:
        """A file whose content follows from `number` and `length`, one byte flipped if asked."""
        path = self._path()
        content = bytearray(number.to_bytes(_HEADER, "big")[:length])
        start = number * 4099 % (_POOL // 2)
        while len(content) < length:
            content += self._pool[start : start + length - len(content)]
            start = 0
        if flipped is not None:
            content[flipped] ^= 0xFF
        with open(path, "xb") as file:
            file.write(content)
        self.size += length
        return path

    def link(self, draw: random.Random, groups: list[list[bytes]], count: int) -> dict[bytes, bytes]:
        """Second names for some files of groups."""
        links = {}
        for group in draw.sample(groups, min(count, len(groups))):
            path = self._path()
            os.link(group[0], path)
            links[path] = group[0]
        return links

    def oddities(self, count: int) -> None:
        """Symbolic links, empty files, a FIFO: none of them is a duplicate."""
        for number in range(count):
            os.symlink(b"somewhere", self._path())
            with open(self._path(), "xb"):
                pass
            if not number:
                os.mkfifo(self._path())
