"""SIGKILL of the daemon while several programs write: whatever fsync has promised is there after the next start."""

import contextlib
import json
import os
import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import MakeMount
from mounting import ROOT, Mounted, wait_for
from promising import broken, noted

from debrid.simulator import Simulator
from vfs.mount import state

pytestmark = [pytest.mark.mount, pytest.mark.timeout(300)]

FILM = random.Random(1).randbytes(2_500_000)
COMPLETE = "torrents/complete"
WRITERS = 3
ROUNDS = 4


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator() as simulator:
        simulator.add_torrent("Film", {"/film.mkv": FILM})
        yield simulator


class Writer:
    """A program that writes below a folder of its own."""

    def __init__(self, tree: Mounted, number: int) -> None:
        self.top = tree.path / f"shared/{number}"
        self.remote = tree.path / COMPLETE / "Film/film.mkv"
        self.ledger = tree.base / f"ledger {number}"

    def start(self) -> None:
        program = [sys.executable, str(ROOT / "tests/promising.py"), self.top, self.remote, self.ledger]
        self.process = subprocess.Popen(program, stderr=subprocess.DEVNULL)

    def promises(self) -> int:
        return len(noted(self.ledger))

    def join(self) -> None:
        """It ends by itself when the mount is gone."""
        assert self.process.wait(60) != 0


def past_the_page_cache(path: Path) -> bytes:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        return os.pread(fd, len(FILM), 0)
    finally:
        os.close(fd)


def cached(tree: Mounted) -> int:
    """Bytes in the disk cache."""
    stats = json.loads(tree.command("status", "--json").stdout)["cache"]
    return stats["main"] + stats["edges"]


def restart(tree: Mounted) -> None:
    """Start over a dead mount, of which the kernel still answers some questions for a moment."""
    tree.start()
    wait_for(lambda: state(tree.path) == "mounted", "the new mount")


def nothing_is_broken(tree: Mounted, writers: list[Writer]) -> None:
    assert [fault for writer in writers for fault in broken(writer.top, writer.remote, writer.ledger)] == []
    linked = sum(1 for path in (tree.path / "shared").rglob("remote *"))
    assert writers[0].remote.stat().st_nlink == 1 + linked
    found = [path.relative_to(drive) for drive in tree.drive_paths for path in (drive / "shared").rglob("*")
             if not path.is_dir()]  # fmt: skip
    assert len(found) == len(set(found)), "one file on two drives"


def test_what_fsync_promised_outlives_a_crash_under_load(make_mount: MakeMount, simulator: Simulator) -> None:
    tree = make_mount()
    tree.write_config(debrid=f'token = "{simulator.token}"\napi_url = "{simulator.api_url}"\npoll_seconds = 1')
    tree.start()
    writers = [Writer(tree, number) for number in range(WRITERS)]
    wait_for(writers[0].remote.exists, "the torrent")
    assert writers[0].remote.read_bytes() == FILM
    wait_for(lambda: cached(tree) >= len(FILM), "the disk cache")
    fetched = simulator.cdn_bytes
    moments = random.Random(2)
    for _ in range(ROUNDS):
        before = [writer.promises() for writer in writers]
        for writer in writers:
            writer.start()
        for writer, old in zip(writers, before, strict=True):
            wait_for(lambda writer=writer, old=old: writer.promises() > old + 8, "writing")
        time.sleep(moments.uniform(0, 0.5))
        assert tree.process is not None
        # The dead mount is left for the next start to clear away.
        tree.process.kill()
        tree.process.wait()
        for writer in writers:
            writer.join()
        restart(tree)
        nothing_is_broken(tree, writers)
        assert past_the_page_cache(writers[0].remote) == FILM
    assert simulator.cdn_bytes == fetched, "the cache is used again"
    tree.stop()
    with contextlib.closing(sqlite3.connect(tree.state / "names.db")) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert db.execute("PRAGMA foreign_key_check").fetchall() == db.execute("SELECT * FROM intent").fetchall() == []
