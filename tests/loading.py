"""Programs at work in a tree: several threads that write, append, link, rename, read and compare until told to stop."""

import hashlib
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

KIB = 1 << 10


class Load:
    """Workers with a folder each; what every file must hold is remembered, and what was wrong."""

    def __init__(self, top: Path, workers: int = 4) -> None:
        self.wrong: list[str] = []
        self.rounds = 0
        self.held: dict[Path, bytes] = {}
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(top / f"worker{number}", Random(number)))
            for number in range(workers)
        ]

    @contextmanager
    def running(self) -> Iterator["Load"]:
        for thread in self._threads:
            thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join()

    def _run(self, folder: Path, random: Random) -> None:
        mine: dict[Path, bytes] = {}
        try:
            folder.mkdir(parents=True)
            while not self._stop.is_set():
                self._round(folder, random, mine)
                self.rounds += 1
                # As much load as there is, but not so much that nothing else gets a turn on a small machine.
                time.sleep(0.002)
        except Exception as failure:
            self.wrong.append(f"{folder.name}: {failure!r}")
        self.held |= mine

    def _round(self, folder: Path, random: Random, mine: dict[Path, bytes]) -> None:
        act = random.choice(("new", "new", "append", "overwrite", "read", "rename", "remove"))
        if act == "new" and len(mine) < 20:
            path = folder / f"file{random.randrange(1 << 30)}"
            mine[path] = random.randbytes(random.randrange(64 * KIB))
            path.write_bytes(mine[path])
        if not mine or act == "new":
            return
        path = random.choice(sorted(mine))
        if act == "append":
            data = random.randbytes(8 * KIB)
            with path.open("ab", buffering=0) as file:
                file.write(data)
            mine[path] += data
        elif act == "overwrite" and mine[path]:
            data, at = random.randbytes(min(100, len(mine[path]))), 0
            with path.open("r+b", buffering=0) as file:
                file.write(data)
            mine[path] = mine[path][:at] + data + mine[path][len(data) :]
        elif act == "rename":
            to = folder / f"renamed{random.randrange(1 << 30)}"
            path.rename(to)
            mine[to] = mine.pop(path)
        elif act == "remove":
            path.unlink()
            del mine[path]
        elif path.read_bytes() != mine[path]:
            self.wrong.append(f"{path} holds something else")


def whole(folder: Path) -> dict[str, tuple[object, ...]]:
    """All that must be as it was, for each file below `folder`: bytes, links, number, mode, owner, times, xattrs."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            continue
        st = path.lstat()
        if path.is_symlink():
            content: object = os.readlink(path)
        else:
            content = hashlib.sha256(path.read_bytes()).digest()
        # Asked one by one, since those that mediapool answers itself are never listed.
        xattrs = {} if path.is_symlink() else {name: os.getxattr(path, name) for name in os.listxattr(path)}
        found[str(path.relative_to(folder))] = (
            content, st.st_nlink, st.st_ino, st.st_mode, st.st_uid, st.st_gid, st.st_mtime_ns, st.st_size, xattrs,
        )  # fmt: skip
    return found
