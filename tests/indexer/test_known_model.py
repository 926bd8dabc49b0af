"""Random changes, looks, crashes: whatever `KnownFiles` says for certain must be so."""

import contextlib
import itertools
import os
import shutil
import stat
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from indexer.catalog import Catalog, Known
from indexer.known import KnownFiles, Unknown
from indexer.scan import Crawl
from placement.drive import Drive, DriveConfig
from placement.identity import initialise

NUMBER = 3
NAMES = ["a", os.fsdecode(b"\xff")]
PATHS = ["/".join(names) for depth in (1, 2, 3) for names in itertools.product(NAMES, repeat=depth)]
SHALLOW = ["", *(path for path in PATHS if path.count("/") < 2)]

BEGINNING = [
    ("mkdir", "a", ""),
    ("mkdir", NAMES[1], ""),
    ("mkdir", "a/a", ""),
    ("create", f"a/{NAMES[1]}", ""),
    ("link", f"a/{NAMES[1]}", f"{NAMES[1]}/a"),
    ("link", f"a/{NAMES[1]}", "a/a/a"),
    ("mkdir", f"{NAMES[1]}/{NAMES[1]}", ""),
    ("create", f"{NAMES[1]}/{NAMES[1]}/a", ""),
]

paths = st.sampled_from(PATHS)
verbs = st.sampled_from(
    ["create", "unlink", "rename", "link", "mkdir", "rmdir", "write", "chmod", "exchange", "symlink"]
)


def alike(known: Known, real: os.stat_result) -> bool:
    """Whether every attribute that is promised is right."""
    return known[:8] == Known.of(real)[:8] and known[9:11] == Known.of(real)[9:11]


class Meddling(threading.Event):
    """A `stop` that is asked in the middle of a look, and changes the drive then."""

    def __init__(self, meddle: Callable[[], None]) -> None:
        super().__init__()
        self.meddle: Callable[[], None] | None = meddle

    def is_set(self) -> bool:
        meddle, self.meddle = self.meddle, None
        if meddle is not None:
            meddle()
        return False


class Answers(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        # Thousands of commits, each of which waits for the disk, show nothing here.
        self.state = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
        self.root = self.folder / "drive"
        self.root.mkdir()
        initialise(self.root, "d", NUMBER)
        self.drive = Drive.open(DriveConfig("d", str(self.root)))
        self.crawl: Crawl | None = None
        self.handles: list[tuple[int, int]] = []
        self.open()
        for verb, path, other in BEGINNING:
            self.carry_out(verb, path, other)
        self.settle()

    def open(self) -> None:
        self.catalog = Catalog(self.state / "catalog.db")
        self.known = KnownFiles(self.catalog, self.state / "marks", quiet=0.0)
        self.known.adopt(NUMBER, self.drive.id)

    def teardown(self) -> None:
        self.close_handles()
        self.settle()
        self.known.close()
        self.catalog.close()
        self.drive.close()
        shutil.rmtree(self.folder)
        shutil.rmtree(self.state)

    # What the filesystem does.

    def real(self, path: str) -> Path:
        return self.root / path

    def carry_out(self, verb: str, path: str, other: str) -> None:
        one, two = self.real(path), self.real(other)
        if verb == "create":
            os.close(os.open(one, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        elif verb == "unlink":
            one.unlink()
        elif verb == "rename":
            one.rename(two)
        elif verb == "exchange":
            two.rename(self.root / ".mediapool/x")
            try:
                one.rename(two)
            finally:
                (self.root / ".mediapool/x").rename(one if not os.path.lexists(one) else two)
        elif verb == "link":
            os.link(one, two, follow_symlinks=False)
        elif verb == "mkdir":
            one.mkdir()
        elif verb == "rmdir":
            one.rmdir()
        elif verb == "symlink":
            one.symlink_to("nowhere")
        elif verb == "write":
            with one.open("ab") as file:
                file.write(b"more")
        elif verb == "chmod":
            one.chmod(0o700 if stat.S_IMODE(one.lstat().st_mode) != 0o700 else 0o755)

    def report(self, verb: str, path: str, other: str) -> None:
        if verb in ("rename", "exchange"):
            self.known.renamed(NUMBER, path, other)
            return
        self.known.changed(NUMBER, path, file=verb in ("create", "unlink", "link", "symlink", "write"))
        if verb == "link":
            self.known.changed(NUMBER, other, file=True)

    def mutate(self, verb: str, path: str, other: str) -> None:
        if verb == "exchange" and (path.startswith(other) or other.startswith(path)):
            return
        self.report(verb, path, other)
        with contextlib.suppress(OSError):
            self.carry_out(verb, path, other)
        self.report(verb, path, other)

    change = rule(verb=verbs, path=paths, other=paths)(mutate)

    @rule(path=paths, name=st.sampled_from(NAMES))
    def mkdir_with_file(self, path: str, name: str) -> None:
        self.mutate("mkdir", path, path)
        self.mutate("create", f"{path}/{name}", path)

    @rule(path=paths, other=paths)
    def replace_tree(self, path: str, other: str) -> None:
        """A tree goes, and a directory comes in its place, which may well get its inode number."""
        if not self.real(path).is_dir() or os.path.lexists(self.real(other)):
            return
        self.mutate("rename", path, other)
        for folder, folders, files in os.walk(self.real(other), topdown=False):
            for name in (*files, *folders):
                gone = os.path.relpath(os.path.join(folder, name), self.root)
                self.mutate("rmdir" if name in folders else "unlink", gone, gone)
        self.mutate("rmdir", other, other)
        self.mutate("mkdir", path, path)

    @rule(path=paths)
    def open_for_writing(self, path: str) -> None:
        with contextlib.suppress(OSError):
            fd = os.open(self.real(path), os.O_WRONLY | os.O_NOFOLLOW)
            ino = os.fstat(fd).st_ino
            self.known.writing(NUMBER, path, ino)
            self.handles.append((fd, ino))

    @rule()
    def write_to_handles(self) -> None:
        for fd, _ in self.handles:
            os.write(fd, b"more")

    @rule()
    def close_handles(self) -> None:
        for fd, ino in self.handles:
            os.close(fd)
            self.known.written(NUMBER, ino)
        self.handles = []

    # What the walker does.

    @rule(verb=verbs, path=paths, other=paths)
    def step(self, verb: str, path: str, other: str) -> None:
        """One step of a whole walk, with a change in the middle of it."""
        if self.crawl is None:
            self.crawl = Crawl.whole(self.catalog, self.drive, self.known.marks)
        if not self.crawl.step(Meddling(lambda: self.mutate(verb, path, other))):
            self.crawl = None

    @rule()
    def walk_on(self) -> None:
        if self.crawl is not None:
            while self.crawl.step():
                pass
            self.crawl = None

    @rule()
    def flush(self) -> None:
        if self.crawl is not None:
            self.crawl.flush()

    @rule(verb=verbs, path=paths, other=paths)
    def look_again(self, verb: str, path: str, other: str) -> None:
        self.flush()
        again = Crawl.again(self.catalog, self.drive, self.known.marks.due(NUMBER), self.known.marks)
        while again.step(Meddling(lambda: self.mutate(verb, path, other))):
            pass

    @rule(cleanly=st.booleans())
    def end(self, cleanly: bool) -> None:
        """The process ends and another begins."""
        self.crawl = None
        self.close_handles()
        if cleanly:
            self.known.close()
        else:
            self.known.marks._journal.close()
        self.catalog.close()
        self.open()

    # What must hold.

    @invariant()
    def check(self) -> None:
        for path in ("", *PATHS):
            self.check_stat(path)
        for path in SHALLOW:
            self.check_entries(path)

    def check_stat(self, path: str) -> None:
        try:
            known = self.known.stat(NUMBER, path)
        except Unknown:
            return
        if known is None:
            assert not os.path.lexists(self.real(path))
        else:
            self.check_known(path, known)

    def check_known(self, path: str, known: Known) -> None:
        real = os.lstat(self.real(path))
        assert known.ino == real.st_ino and stat.S_IFMT(known.mode) == stat.S_IFMT(real.st_mode)
        assert not known.exact or alike(known, real)

    def check_entries(self, path: str) -> None:
        try:
            entries = self.known.entries(NUMBER, path)
        except FileNotFoundError:
            assert not os.path.lexists(self.real(path))
            return
        except NotADirectoryError:
            assert os.path.lexists(self.real(path)) and not stat.S_ISDIR(self.real(path).lstat().st_mode)
            return
        if entries is None:
            return
        assert sorted(name for name, _ in entries) == sorted({*os.listdir(self.real(path))} - {".mediapool"})
        for name, known in entries:
            self.check_known(f"{path}/{name}" if path else name, known)

    def settle(self) -> None:
        """When all is quiet, everything becomes known and exact."""
        self.walk_on()
        # A look may find out that others are outdated, and those that their parents are.
        for _ in range(6):
            again = Crawl.again(self.catalog, self.drive, self.known.marks.due(NUMBER), self.known.marks)
            while again.step():
                pass
        assert not self.known.marks.any(NUMBER)
        self.check()
        self.crawl = Crawl.whole(self.catalog, self.drive, self.known.marks)
        self.walk_on()
        assert not self.known.marks.any(NUMBER)
        for path in ("", *PATHS):
            known = self.known.stat(NUMBER, path)
            assert (known is None) == (not os.path.lexists(self.real(path)))
            assert known is None or known.exact
            assert known is None or not known.is_dir or self.known.entries(NUMBER, path) is not None


Answers.TestCase.settings = settings(
    max_examples=25, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
TestAnswers = Answers.TestCase
