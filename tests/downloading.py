"""Downloads over a simulated account and a union of real folders, without a mount."""

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from faketree import Clock
from mounting import wait_for
from uniting import Pool

from debrid.client import Client
from debrid.downloads.downloads import Downloads
from debrid.downloads.life import Life, Parts
from debrid.downloads.record import Download, Stage, Wanted
from debrid.downloads.sources import Source, read_magnet
from debrid.library import Library
from debrid.simulator import Simulator
from debrid.store import Store
from debrid.torrents import Torrents
from debrid.transport import Budget
from vfs.about import About
from vfs.filesystem import FileSystem
from vfs.offering import Offering
from vfs.planting import Owner
from vfs.publish import Publisher

MIB = 1 << 20
VIDEO = b"\x1aE\xdf\xa3" + bytes(range(256)) * 40


class Eyes:
    """An inspector that finds what it is told, by a part of the path; and remembers what it was shown."""

    def __init__(self) -> None:
        self.problems: dict[str, str | OSError] = {}
        self.seen: list[tuple[str, str]] = []

    def check(self, path: str, kind: str) -> str | None:
        self.seen.append((path, kind))
        for part, problem in self.problems.items():
            if part in path:
                if isinstance(problem, OSError):
                    raise problem
                return problem
        return None


class Arrs:
    """Who is told of failures."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, str]] = []
        self.knows = True

    def failed(self, info_hash: str, category: str, reason: str) -> bool:
        self.told.append((info_hash, category, reason))
        return self.knows


class Copies:
    """Who makes local copies."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, list[str]]] = []

    def keep(self, goal: str, paths: list[str]) -> None:
        self.asked.append((goal, list(paths)))


class World:
    """One account, one tree, one debrid.db, and the downloads between them."""

    def __init__(self, base: Path, sim: Simulator, client: Client) -> None:
        self.base, self.sim, self.client, self.clock = base, sim, client, Clock()
        pool = base / "pool"
        pool.mkdir()
        self.pool = Pool(pool)
        self.filesystem = FileSystem(self.pool.union, About(self.pool.union.lookup, lambda path: ""))
        owner = Owner(0, 0, 0o022)
        remote = self.pool.union.lookup.branches[-1]
        self.tree = Offering(self.pool.union, remote, self.filesystem, owner)  # type: ignore[arg-type]
        self.publisher = Publisher(self.pool.union, remote, owner)  # type: ignore[arg-type]
        self.eyes, self.arrs, self.copies = Eyes(), Arrs(), Copies()
        self.settings: dict[str, Wanted] = {}
        self.open()

    def open(self) -> None:
        self.store = Store(self.base / "debrid.db")
        self.parts = Parts(
            self.client, self.store, self.tree, self.eyes, lambda name: self.settings.get(name, Wanted()),
            self.arrs, self.copies, self.clock,
        )  # fmt: skip
        self.downloads = Downloads(self.parts, verdict_seconds=20)
        self.poller = Torrents(self.client, self.store, self.publisher, clock=self.clock)
        self.library = Library(self.client, self.store)

    def restart(self) -> None:
        self.close()
        self.open()

    def close(self) -> None:
        self.downloads.stop()
        self.store.close()

    # -- what the tests do

    def film(self, name: str = "Film.2024", **options: object) -> Source:
        """A magnet link of a torrent with two files, subtitles and a sample."""
        files = {
            f"/{name}.mkv": VIDEO,
            f"/{name}.srt": b"1\n00:00:01",
            "/Sample/sample.mkv": b"x" * 100,
            "/get.exe": b"MZ",
        }
        options.setdefault("rar", False)
        return self.source(self.sim.offer(name, files, **options))  # type: ignore[arg-type]

    def source(self, info_hash: str) -> Source:
        return read_magnet(self.sim.magnet(info_hash))

    def names(self, below: str = "") -> list[str]:
        return sorted(
            path
            for folder in ("torrents", "ddl")
            if self.pool.names.find(folder)
            for path, _ in self.publisher.files_below(folder)
            if path.startswith(below)
        )

    def wait(self, info_hash: str, stage: Stage) -> Download:
        def there() -> bool:
            found = self.downloads.get(info_hash)
            return found is not None and found.stage is stage

        with self.passing():
            wait_for(there, f"{stage}, not {self.downloads.get(info_hash)}")
        found = self.downloads.get(info_hash)
        assert found is not None
        return found

    def wait_gone(self, info_hash: str) -> None:
        with self.passing():
            wait_for(lambda: info_hash not in self.downloads._all, "the download to be gone")

    @contextlib.contextmanager
    def passing(self) -> Iterator[None]:
        """Time passes, a hundred times as fast."""
        end = threading.Event()

        def run() -> None:
            while not end.wait(0.02):
                self.clock.now += 2
                with self.downloads._changed:
                    self.downloads._changed.notify_all()

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            end.set()
            thread.join()

    def stepped(self, source: Source, category: str = "tv") -> Iterator[Download]:
        """The stages of a download, one step each, as debrid.db has them; `send(True)` repeats a step unrecorded."""
        self.downloads.add(source, category=category)  # nothing runs, so it only is recorded
        while True:
            found = self.store.downloads.get(source.hash)
            assert found is not None
            again = yield found
            life = Life(self.parts, self.store.downloads.put)
            result = life.step(found, Budget.of(20))
            assert result is not None
            if not again:
                self.store.downloads.put(result)
            if result.retry_at > self.clock.now:
                self.clock.now = result.retry_at + 0.1

    def ids(self) -> list[str]:
        return [each.id for each in self.sim.torrents]

    def rest(self, download: Download) -> Download:
        return replace(download, retry_at=0.0)
