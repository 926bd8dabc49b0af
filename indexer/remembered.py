"""Whether what the catalog knows of a file still holds: the pure rule, and its use over many files.

A hash is that of a file as long as (inode, size, mtime, ctime) are the same, and the device or the path is: device
numbers change with a boot, paths with the rename of a folder above, which touches neither of the four. A rename of
the file itself or another hard link changes ctime, and so does writing with the mtime set back. So with another ctime
the hash holds only where a new name or link explains it, and the first and last bytes, read again, are the same.
"""

from collections.abc import Iterable
from enum import Enum

from indexer.contents import Contents, Entry
from indexer.finding import Found


class Verdict(Enum):
    """What is known of a file: its hash holds; it does if the ends are the same; nothing."""

    HOLDS = "holds"
    IF_ENDS = "if the ends are the same"
    NOTHING = "nothing"


def judge(known: Entry, found: Found) -> Verdict:
    """Whether `known`, of this or another path, says what `found` holds."""
    if (known.size, known.mtime_ns) != (found.size, found.mtime_ns) or known.ino != signed(found.ino):
        return Verdict.NOTHING
    same_path, same_device = known.path == found.path, known.dev == found.dev
    if not (same_path or same_device):
        return Verdict.NOTHING
    if known.ctime_ns == found.ctime_ns:
        return Verdict.HOLDS
    explained = known.nlink != found.nlink or not same_path
    return Verdict.IF_ENDS if explained and same_device and known.ends is not None else Verdict.NOTHING


def signed(number: int) -> int:
    """An inode number as the catalog holds it."""
    return number - (1 << 64) if number >= 1 << 63 else number


class Remembered:
    """What the catalog knows of the files below some trees, loaded whole: asked of each file found there."""

    def __init__(self, contents: Contents | None, trees: Iterable[bytes]) -> None:
        """Load it; also what is known elsewhere is found, by inode number, when asked for with `anywhere`."""
        self._contents = contents
        self._rows: dict[tuple[object, ...], tuple[int | bytes | None, ...]] = {}
        self._inodes: dict[object, list[tuple[int | bytes | None, ...]]] | None = None
        if contents is not None:
            for tree in trees:
                # (ino, size, mtime, ctime) of one file with several names is the same content: any row will do.
                self._rows.update(((row[2], row[3], row[4], row[5]), row) for row in contents.rows(tree))

    def holds(self, found: Found) -> tuple[bytes | None, bytes | None]:
        """(ends, hash) where they hold without any reading, each None where not known."""
        path, dev, ino, size, mtime_ns, ctime_ns, _ = found
        row = self._rows.get((ino if ino < 1 << 63 else ino - (1 << 64), size, mtime_ns, ctime_ns))
        if row is None or (row[1] != dev and row[0] != path):
            return None, None
        return row[7], row[8]  # type: ignore[return-value]

    def candidates(self, found: Found) -> list[Entry]:
        """What may hold for a file of which nothing holds at once, best first: it moved, or was linked."""
        if self._contents is None:
            return []
        known = (entry for entry in self._contents.with_ino(found.ino) if entry.hash is not None)
        judged = [(judge(entry, found), entry) for entry in known]
        return [entry for verdict, entry in judged if verdict is Verdict.HOLDS] + [
            entry for verdict, entry in judged if verdict is Verdict.IF_ENDS
        ]
