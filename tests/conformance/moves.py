"""Draining a drive and balancing while fsstress works in the same tree: what else lies there must not change."""

import contextlib
import hashlib
import os
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

FILES = 300
LARGEST = 3 * 1024 * 1024
DRAINED = "drive1"
# So long a job may take while fsstress holds some of its files open, and without it.
UNDER_LOAD, AT_REST = 60, 120

Facts = tuple[str, int, int, int, int, int, bytes]


def plant(folder: Path) -> dict[Path, Facts]:
    """Files of many sizes, a third with a second name, all with an attribute and a time; what they are."""
    draw = random.Random(1)
    for number in range(FILES):
        path = folder / f"season {number % 7}" / f"file {number}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.write(draw.randbytes(draw.randrange(LARGEST)))
            file.seek(draw.randrange(LARGEST), os.SEEK_CUR)
            file.write(b"behind a hole")
        if number % 3 == 0:
            (folder / f"link {number}").hardlink_to(path)
        os.setxattr(path, "user.number", str(number).encode())
        os.utime(path, ns=(draw.randrange(1 << 60), draw.randrange(1 << 60)))
    return facts(folder)


def facts(folder: Path) -> dict[Path, Facts]:
    """Hash, size, links, inode number, mode, mtime and attribute of each file below."""
    return {path: _facts(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def _facts(path: Path) -> Facts:
    digest = hashlib.blake2b(path.read_bytes()).hexdigest()
    st = path.stat()
    mark = os.getxattr(path, "user.number")
    return digest, st.st_size, st.st_nlink, st.st_ino, st.st_mode, st.st_mtime_ns, mark


class Readers:
    """Read all files over and over; `wrong` says what was not as planted."""

    def __init__(self, planted: dict[Path, Facts]) -> None:
        self.planted = planted
        self.rounds = 0
        self.wrong: list[str] = []
        self._stop = threading.Event()

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        thread = threading.Thread(target=self._run)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            for path, planted in self.planted.items():
                if self._stop.is_set():
                    return
                try:
                    if _facts(path) != planted:
                        self.wrong.append(f"{path} reads differently")
                except OSError as error:
                    self.wrong.append(f"{path}: {error}")
            self.rounds += 1


@contextlib.contextmanager
def stressing(program: Path, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """fsstress at work until the end of the block."""
    folder.mkdir()
    command = (program, "-d", folder, "-n", "10000000", "-p", "2", "-s", "7")
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "stdin": subprocess.DEVNULL}
    with subprocess.Popen(command, start_new_session=True, **quiet) as running:  # type: ignore[call-overload]
        try:
            yield running
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(running.pid, 15)


def pool(config: Path, *words: str, patience: float) -> str:
    """What `mediapool pool` says; "" if it has not ended after `patience` s, when its job goes on in the mount."""
    command = (sys.executable, "-m", "cli", "pool", *words, "--config", config)
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=patience, check=False)
    except subprocess.TimeoutExpired:
        return ""
    return f"{done.stdout}{done.stderr}".strip() or f"ended with {done.returncode}"


def left_on(drive: Path, folder: Path) -> list[str]:
    """The names of planted files that are still on a drive."""
    return [str(path) for path in (drive / folder).rglob("*") if path.is_file()]
