"""A mount and a plain folder driven by the same random calls: what they answer and what they show must be equal.

Each run has a folder of its own in the tree, which begins as the folder of a torrent: remote files, to which local
files and folders on three drives are added. Drives are drawn by path, so that a failure can be repeated.

`MEDIAPOOL_MACHINE_SECONDS` runs it with random seeds for so long, instead of the same few runs each time.
"""

import os
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from mounting import ROOT, Mounted, wait_for
from parity_rows import failing, rename_flags
from twins import Twins, same_of_open

from debrid.simulator import Simulator

LONG = float(os.environ.get("MEDIAPOOL_MACHINE_SECONDS", "0"))
pytestmark = [pytest.mark.mount, pytest.mark.timeout(600 + LONG)]

# The second is empty: each remote file with bytes costs a second of the provider's patience.
FILM, MORE = bytes(range(251)) * 20, b""
COMPLETE = "torrents/complete"
FOLDERS = 40  # of one torrent: so many runs before the next is added
MODES = {"r": os.O_RDONLY, "rw": os.O_RDWR, "a": os.O_WRONLY | os.O_APPEND}
NAMES = ["a", "b", "c", os.fsdecode(b"\xff")]
TARGETS = ["a", "../b", "nowhere"]
RENAMES = {"plain": 0, "noreplace": 1, "exchange": 2}
MOST_OPEN = 4

picks = st.integers(0, 1 << 16)
names = st.sampled_from(NAMES)
data = st.builds(lambda fill, size: bytes([fill]) * size, st.integers(1, 255), st.integers(0, 5000))
sizes = st.integers(0, 9000)
times = st.integers(0, 10**9 - 1).map(lambda second: second * 10**9 + 7)


class Pool:
    """The mount that all runs share, and the account that gives each of them a folder."""

    def __init__(self, base: Path, simulator: Simulator) -> None:
        self.mounted = Mounted(base, program=(str(ROOT / "tests/mount/drawn_by_path.py"),))
        self.plain = base / "plain"
        self.plain.mkdir()
        self._simulator = simulator
        self._given = 0
        debrid = f'token = "{simulator.token}"\napi_url = "{simulator.api_url}"\npoll_seconds = 1'
        self.mounted.write_config(debrid=debrid)
        self.mounted.start()

    def next_run(self) -> Twins:
        """Two trees for a new run: the same remote files in one, ordinary ones in the other."""
        batch, number = divmod(self._given, FOLDERS)
        self._given += 1
        source = self.mounted.path / COMPLETE / f"Batch {batch}"
        if not number:
            inner = [(f"/run{one}/film", f"/run{one}/d/more") for one in range(FOLDERS)]
            files = {path: content for film, more in inner for path, content in ((film, FILM), (more, MORE))}
            self._simulator.add_torrent(source.name, files, rar=False)
            wait_for(source.exists, "the torrent")
        twins = Twins(self.mounted.path / f"run{self._given}", self.plain / f"run{self._given}")
        os.rename(source / f"run{number}", twins.tree)
        shutil.copytree(twins.tree, twins.plain, copy_function=copied)
        twins.remote = {path.stat().st_ino for path in (twins.plain / "film", twins.plain / "d/more")}
        return twins


def copied(source: str, target: str) -> None:
    shutil.copy2(source, target)
    st = os.stat(source)
    os.chown(target, st.st_uid, st.st_gid)


class Machine(RuleBasedStateMachine):
    pool: ClassVar[Pool]

    def __init__(self) -> None:
        super().__init__()
        self.twins = self.pool.next_run()
        self.open: list[tuple[int, int]] = []
        self.remounted = False

    # Choosing, always among what the plain tree holds.

    def any(self, pick: int) -> str:
        return self._chosen(self.twins.paths(), pick)

    def file(self, pick: int) -> str:
        return self._chosen(self.twins.paths(lambda mode: not stat.S_ISDIR(mode)), pick)

    def folder(self, pick: int) -> str:
        return self._chosen(["", *self.twins.paths(stat.S_ISDIR)], pick)

    def _chosen(self, paths: list[str], pick: int) -> str:
        # Where there is nothing, a name that is missing.
        path = paths[pick % len(paths)] if paths else "missing"
        note(f"chosen: {path!r}")
        return path

    def place(self, pick: int, name: str) -> str:
        return f"{self.folder(pick)}/{name}".lstrip("/")

    def changed(self, path: str, act: Any, follow: bool = True) -> None:
        """Write into a file of both trees, but not into remote ones."""
        if self.twins.is_remote(path, follow):
            self.twins.refused(act)
        else:
            self.twins.same(act)

    # Making.

    @initialize(mode=st.sampled_from([0o755, 0o2775]), pick=picks)
    def begin(self, mode: int, pick: int) -> None:
        """Folders on several drives from the beginning, a file in each, and a second name of the film."""
        for number, folder in enumerate(("a", "a/b", "d/c", "c")):
            self.make_folder_at(folder, mode)
            self.write_at(f"{folder}/{NAMES[(pick + number) % 3]}", b"begin")
        self.twins.same(lambda root: os.link(root / "film", root / "a/film"))

    @rule(pick=picks, name=names, mode=st.sampled_from([0o755, 0o700, 0o2775]))
    def make_folder(self, pick: int, name: str, mode: int) -> None:
        self.make_folder_at(self.place(pick, name), mode)

    def make_folder_at(self, path: str, mode: int) -> None:
        self.twins.same(lambda root: os.mkdir(root / path, mode))

    @rule(pick=picks, name=names, data=data)
    def write(self, pick: int, name: str, data: bytes) -> None:
        self.write_at(self.place(pick, name), data)

    def write_at(self, path: str, data: bytes) -> None:
        def act(root: Path) -> Any:
            fd = os.open(root / path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW, 0o640)
            try:
                return os.write(fd, data)
            finally:
                os.close(fd)

        self.changed(path, act, follow=False)

    @rule(pick=picks, name=names)
    def create_new(self, pick: int, name: str) -> None:
        path = self.place(pick, name)
        self.twins.same(lambda root: os.close(os.open(root / path, os.O_CREAT | os.O_EXCL, 0o600)))

    @rule(pick=picks, data=data)
    def append(self, pick: int, data: bytes) -> None:
        path = self.file(pick)

        def act(root: Path) -> Any:
            with open(root / path, "ab", buffering=0, opener=existing) as file:
                return file.write(data), file.tell()

        self.changed(path, act)

    @rule(pick=picks, size=sizes)
    def truncate(self, pick: int, size: int) -> None:
        path = self.any(pick)
        self.changed(path, lambda root: os.truncate(root / path, size))

    @rule(pick=picks, where=picks, name=names)
    def link(self, pick: int, where: int, name: str) -> None:
        source, target = self.any(pick), self.place(where, name)
        self.twins.same(lambda root: os.link(root / source, root / target, follow_symlinks=False))

    @rule(leads=st.sampled_from(TARGETS), where=picks, name=names)
    def symlink(self, leads: str, where: int, name: str) -> None:
        path = self.place(where, name)
        self.twins.same(lambda root: os.symlink(leads, root / path))

    # Taking away and moving.

    @rule(pick=picks)
    def unlink(self, pick: int) -> None:
        path = self.file(pick)
        self.twins.same(lambda root: os.unlink(root / path))

    @rule(pick=picks)
    def rmdir(self, pick: int) -> None:
        path = self._chosen(self.twins.paths(stat.S_ISDIR), pick)
        self.twins.same(lambda root: os.rmdir(root / path))

    @rule(pick=picks, where=picks, name=names, how=st.sampled_from(["plain", "plain", "noreplace", "exchange"]))
    def rename(self, pick: int, where: int, name: str, how: str) -> None:
        self.renamed(self.any(pick), self.place(where, name), how)

    @rule(pick=picks, over=picks, how=st.sampled_from(["plain", "plain", "noreplace", "exchange"]))
    def rename_over(self, pick: int, over: int, how: str) -> None:
        self.renamed(self.any(pick), self.any(over), how)

    @rule(pick=picks, where=picks, name=names)
    def rename_folder(self, pick: int, where: int, name: str) -> None:
        folders = self.twins.paths(stat.S_ISDIR)
        self.renamed(self._chosen(folders, pick), self.place(where, name), "plain")

    def renamed(self, source: str, target: str, how: str) -> None:
        def act(root: Path) -> Any:
            return rename_flags(root / source, root / target, RENAMES[how])

        if how != "exchange":
            self.twins.same(act)
            return
        found = failing(act, self.twins.tree)
        if found == "EINVAL":
            # Between branches that is as designed, and nothing has changed.
            inside = source.startswith(target + "/") or target.startswith(source + "/")
            assert inside or len(self.branches(source) | self.branches(target)) > 1
        else:
            assert failing(act, self.twins.plain) == found

    def branches(self, path: str) -> set[str]:
        """Where `path` lies: the drives that hold it, and "remote" for a remote file or any folder."""
        found = {drive.name for drive in self.pool.mounted.drive_paths if os.path.lexists(self.on(drive) / path)}
        if self.twins.is_remote(path, follow=False) or (self.twins.plain / path).is_dir():
            found.add("remote")
        return found

    def on(self, drive: Path) -> Path:
        return drive / self.twins.tree.name

    # Attributes.

    @rule(pick=picks, mode=st.integers(0, 0o7777))
    def chmod(self, pick: int, mode: int) -> None:
        path = self.any(pick)
        self.twins.same(lambda root: os.chmod(root / path, mode))

    @rule(pick=picks, uid=st.sampled_from([-1, 0, 12]), gid=st.sampled_from([-1, 0, 34]))
    def chown(self, pick: int, uid: int, gid: int) -> None:
        path = self.any(pick)
        self.twins.same(lambda root: os.chown(root / path, uid, gid, follow_symlinks=False))

    @rule(pick=picks, atime=times, mtime=times)
    def utime(self, pick: int, atime: int, mtime: int) -> None:
        path = self.any(pick)
        self.twins.same(lambda root: os.utime(root / path, ns=(atime, mtime), follow_symlinks=False))

    @rule(pick=picks, name=st.sampled_from(["user.a", "user.b"]), value=st.binary(max_size=20), flags=st.integers(0, 2))
    def set_xattr(self, pick: int, name: str, value: bytes, flags: int) -> None:
        path = self.any(pick)
        self.twins.same(lambda root: os.setxattr(root / path, name, value, flags, follow_symlinks=False))

    @rule(pick=picks, name=st.sampled_from(["user.a", "user.b"]))
    def remove_xattr(self, pick: int, name: str) -> None:
        path = self.any(pick)
        self.twins.same(lambda root: os.removexattr(root / path, name, follow_symlinks=False))

    # Open files, kept over everything that happens to their names.

    @precondition(lambda self: len(self.open) < MOST_OPEN)
    @rule(pick=picks, how=st.sampled_from(sorted(MODES)))
    def open_file(self, pick: int, how: str) -> None:
        path = self.file(pick)
        if how != "r" and self.twins.is_remote(path):
            self.twins.refused(lambda root: os.close(os.open(root / path, MODES[how])))
            return
        one, other = (failing(os.open, root / path, MODES[how]) for root in (self.twins.plain, self.twins.tree))
        if isinstance(one, int) and isinstance(other, int):
            self.open.append((one, other))
        else:
            assert other == one

    @precondition(lambda self: self.open)
    @rule(pick=picks, offset=sizes, size=sizes)
    def read_open(self, pick: int, offset: int, size: int) -> None:
        one, other = self.open[pick % len(self.open)]
        assert failing(os.pread, other, size, offset) == failing(os.pread, one, size, offset)

    @precondition(lambda self: self.open)
    @rule(pick=picks, offset=sizes, data=data)
    def write_open(self, pick: int, offset: int, data: bytes) -> None:
        one, other = self.open[pick % len(self.open)]
        assert failing(os.pwrite, other, data, offset) == failing(os.pwrite, one, data, offset)

    @precondition(lambda self: self.open)
    @rule(pick=picks, size=sizes)
    def truncate_open(self, pick: int, size: int) -> None:
        one, other = self.open[pick % len(self.open)]
        assert failing(os.ftruncate, other, size) == failing(os.ftruncate, one, size)

    @precondition(lambda self: self.open)
    @rule(pick=picks, mode=st.integers(0, 0o777), mtime=times)
    def attributes_of_open(self, pick: int, mode: int, mtime: int) -> None:
        def act(fd: int) -> None:
            os.fchmod(fd, mode)
            os.utime(fd, ns=(0, mtime))
            os.setxattr(fd, "user.a", b"%d" % mode)
            assert os.getxattr(fd, "user.a") == b"%d" % mode
            os.fsync(fd)

        same_of_open(act, *self.open[pick % len(self.open)])

    @precondition(lambda self: self.open)
    @rule(pick=picks)
    def close(self, pick: int) -> None:
        for fd in self.open.pop(pick % len(self.open)):
            os.close(fd)

    # Now and then.

    @rule(pick=picks)
    def sync_folder(self, pick: int) -> None:
        path = self.folder(pick)
        fd = os.open(self.twins.tree / path, os.O_RDONLY | os.O_DIRECTORY)
        os.fsync(fd)
        os.close(fd)

    @precondition(lambda self: not self.remounted)
    @rule()
    def remount(self) -> None:
        self.remounted = True
        while self.open:
            self.close(0)
        self.pool.mounted.stop()
        self.pool.mounted.start()

    @invariant()
    def alike(self) -> None:
        self.twins.compare(self.open)

    def teardown(self) -> None:
        while self.open:
            self.close(0)
        if not self.twins.tree.exists():
            return
        self.each_file_lies_on_one_drive()
        shutil.rmtree(self.twins.tree)
        shutil.rmtree(self.twins.plain)
        assert not [drive for drive in self.pool.mounted.drive_paths if self.on(drive).exists()]

    def each_file_lies_on_one_drive(self) -> None:
        for path in self.twins.paths(lambda mode: not stat.S_ISDIR(mode)):
            st = (self.twins.plain / path).lstat()
            holders = [drive for drive in self.pool.mounted.drive_paths if os.path.lexists(self.on(drive) / path)]
            assert len(holders) == (0 if st.st_ino in self.twins.remote else 1), (path, holders)
        shown = {""} | set(self.twins.paths())
        for drive in self.pool.mounted.drive_paths:
            for folder, folders, files in os.walk(self.on(drive)):
                found = {str((Path(folder) / name).relative_to(self.on(drive))) for name in (*folders, *files)}
                assert found <= shown


def existing(path: str, flags: int) -> int:
    """As open(2) without making what is not there."""
    return os.open(path, flags & ~os.O_CREAT)


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    before = os.umask(0o022)
    with Simulator() as simulator:
        pool = Pool(tmp_path_factory.mktemp("machine"), simulator)
        yield pool
        pool.mounted.stop()
    os.umask(before)


USUAL = settings(
    max_examples=25,
    stateful_step_count=60,
    deadline=None,
    database=None,
    derandomize=not LONG,
    suppress_health_check=list(HealthCheck),
    # A failing run is short enough to be read, and making it shorter takes very long.
    phases=[Phase.generate],
    report_multiple_bugs=False,
)


def test_the_mount_answers_as_a_plain_folder(pool: Pool) -> None:
    Machine.pool = pool
    until = time.monotonic() + LONG
    run_state_machine_as_test(Machine, settings=USUAL)
    while time.monotonic() < until:
        run_state_machine_as_test(Machine, settings=USUAL)
