"""Who takes part in a benchmark: the bare disk, mediapool, mergerfs; each mount with a process that is watched."""

import contextlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stage import LIBRARY, Stage, is_mounted, unmount

ROOT = Path(__file__).resolve().parents[2]
_START_SECONDS = 60.0
_STOP_SECONDS = 30.0
_TICK = os.sysconf("SC_CLK_TCK")
_MIN_FREE = "1MiB"
# mergerfs of Debian 12 leaves its read-ahead to the administrator; 1 MiB is what mediapool sets, too.
_READ_AHEAD_KIB = 1024


class CannotStart(Exception):
    """A contender that does not mount; the message holds what it said."""


class Contender:
    """One column of the table, or one of several option sets that share a column."""

    column: str
    variant = ""
    options: str = ""

    def folder(self, name: str) -> Path:
        """Folder `name` of the root, as this contender shows it; for the bare disk on its first drive."""
        raise NotImplementedError

    def library(self) -> list[Path]:
        """The folders that together hold the library."""
        raise NotImplementedError

    def start(self) -> float:
        """Mount; seconds until it answers. Raises CannotStart."""
        return 0.0

    def stop(self) -> None:
        """Unmount and wait for the process."""

    def cpu(self) -> float:
        """CPU seconds that the process has used so far."""
        return 0.0

    def memory(self, field: str) -> int:
        """Bytes that /proc/PID/status tells under `field`, as VmHWM or VmRSS; 0 without a process."""
        return 0

    def twin(self) -> "Mount | None":
        """Another mount just like this one, not started, with its own mount point and state; None of a disk."""
        return None


class BareDisk(Contender):
    """The drives themselves."""

    column = "bare disk"

    def __init__(self, stage: Stage) -> None:
        self._drives = stage.drives

    def folder(self, name: str) -> Path:
        return self._drives[0] / name

    def library(self) -> list[Path]:
        return [drive / LIBRARY for drive in self._drives]


class Mount(Contender):
    """A filesystem in a process of ours, at `path`."""

    def __init__(self, column: str, path: Path, probe: str) -> None:
        """`probe`: what must be there once the mount answers, as a path in it."""
        self.column = column
        self.path = path
        self.log = path.with_name(path.name + ".log")
        self._probe = probe
        self._process: subprocess.Popen[bytes] | None = None

    def folder(self, name: str) -> Path:
        return self.path / name

    def library(self) -> list[Path]:
        return [self.path / LIBRARY]

    def command(self) -> Sequence[str | Path]:
        """What serves the mount until it is unmounted."""
        raise NotImplementedError

    def start(self) -> float:
        self.path.mkdir(exist_ok=True)
        begun = time.monotonic()
        with self.log.open("wb") as log:
            # A session of its own: Ctrl-C is for us, who then unmount.
            self._process = subprocess.Popen(
                self.command(), cwd=ROOT, env=environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        try:
            self._wait(begun)
        except BaseException:
            self.stop()
            raise
        return time.monotonic() - begun

    def _wait(self, begun: float) -> None:
        assert self._process is not None
        while not (is_mounted(self.path) and os.path.lexists(self.path / self._probe)):
            if self._process.poll() is not None or time.monotonic() - begun > _START_SECONDS:
                raise CannotStart(self.log.read_text(errors="replace").strip())
            time.sleep(0.005)

    def stop(self) -> None:
        unmount(self.path)
        process, self._process = self._process, None
        if process is None:
            return
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        # mediapool leaves its mount point read-only.
        with contextlib.suppress(OSError):
            self.path.chmod(0o755)

    def cpu(self) -> float:
        assert self._process is not None
        # After the name in parentheses, which may hold anything: state is field 3, utime and stime are 14 and 15.
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICK

    def memory(self, field: str) -> int:
        assert self._process is not None
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        found = re.search(rf"^{field}:\s+(\d+) kB", status, re.M)
        return int(found[1]) * 1024 if found else 0


@dataclass(frozen=True)
class Settings:
    """What all mounts of one run have in common."""

    cache_seconds: int
    remote_name: str  # path in the tree of a remote file, there once mediapool answers
    names: Path  # a names.db to begin with


class Mediapool(Mount):
    """mediapool as people run it, with a state of its own."""

    def __init__(self, stage: Stage, name: str, settings: Settings, passthrough: str | None = None) -> None:
        """`passthrough`: value of [mount] passthrough, None for the default."""
        super().__init__("mediapool", stage.base / name, settings.remote_name)
        self._stage = stage
        self._settings = settings
        self._passthrough = passthrough
        self._config = stage.base / f"{name}.toml"
        self._state = stage.base / f"{name}.state"

    def command(self) -> Sequence[str | Path]:
        return (sys.executable, "-m", "cli", "mount", "--config", self._config)

    def start(self) -> float:
        self._state.mkdir(mode=0o700, exist_ok=True)
        (self._state / "names.db").write_bytes(self._settings.names.read_bytes())
        self._config.write_text(self._configuration())
        self._config.chmod(0o600)
        return super().start()

    def twin(self) -> "Mediapool":
        return Mediapool(self._stage, f"{self.path.name}-again", self._settings, self._passthrough)

    def _configuration(self) -> str:
        mount = [f'path = "{self.path}"', f'cache_seconds = "{self._settings.cache_seconds}s"']
        # As on drives of terabytes, which these are not.
        mount.append(f'passthrough_room = "{_MIN_FREE}"')
        if self._passthrough is not None:
            mount.append(f'passthrough = "{self._passthrough}"')
        self.options = ", ".join(mount[1:]) + ', policy = "mfs"'
        sections = {
            "mount": "\n".join(mount),
            "placement": f'policy = "mfs"\nmin_free = "{_MIN_FREE}"',
            "cache": f'path = "{self.path}.cache"\nmin_free = "{_MIN_FREE}"',
            "http": 'listen = "127.0.0.1:0"',
            "state": f'path = "{self._state}"',
        }
        drives = (f'[[drive]]\nname = "{drive.name}"\npath = "{drive}"\n' for drive in self._stage.drives)
        return "\n".join([f"[{section}]\n{text}\n" for section, text in sections.items()] + list(drives))

    def passthrough(self) -> bool | None:
        """Whether the running mount says that the kernel reads and writes local files itself; None if it cannot."""
        asked = subprocess.run(
            [sys.executable, "-m", "cli", "status", "--json", "--config", str(self._config)],
            cwd=ROOT, env=environment(), capture_output=True, text=True, check=True,
        )  # fmt: skip
        told = json.loads(asked.stdout).get("passthrough")
        return bool(told.get("on")) if isinstance(told, dict) else told


class Mergerfs(Mount):
    """A mergerfs binary with one of its documented option sets."""

    def __init__(self, stage: Stage, name: str, binary: Path, variant: str, settings: Settings) -> None:
        """`variant` is one of `mergerfs_variants`. Raises CannotStart if `binary` is no mergerfs."""
        version = mergerfs_version(binary)
        super().__init__(f"mergerfs {'.'.join(map(str, version))}", stage.base / name, LIBRARY)
        self.variant = variant
        self.options = _mergerfs_options(version, variant, settings)
        self._binary = binary
        self._stage = stage
        self._settings = settings

    def command(self) -> Sequence[str | Path]:
        return (self._binary, "-f", "-o", self.options, ":".join(map(str, self._stage.drives)), self.path)

    def start(self) -> float:
        seconds = super().start()
        device = os.stat(self.path).st_dev
        bdi = Path(f"/sys/class/bdi/{os.major(device)}:{os.minor(device)}/read_ahead_kb")
        # Root only, as for mediapool.
        with contextlib.suppress(OSError):
            bdi.write_text(str(_READ_AHEAD_KIB))
        return seconds

    def twin(self) -> "Mergerfs":
        return Mergerfs(self._stage, f"{self.path.name}-again", self._binary, self.variant, self._settings)


def mergerfs_version(binary: Path) -> tuple[int, ...]:
    """As in (2, 33, 5). Raises CannotStart if `binary` does not say."""
    try:
        told = subprocess.run([binary, "-v"], capture_output=True, text=True, timeout=10, check=False)
    except OSError as cause:
        raise CannotStart(f"{binary}: {cause.strerror}") from cause
    found = re.search(r"mergerfs\D*(\d+)\.(\d+)\.(\d+)", told.stdout + told.stderr)
    if not found:
        raise CannotStart(f"{binary} -v does not tell a version of mergerfs: {told.stdout.strip()}")
    return tuple(map(int, found.groups()))


def mergerfs_variants(binary: Path) -> list[str]:
    """The option sets that its documentation names for speed: none is best at everything, so all are tried."""
    return ["cached", "direct", *(["passthrough"] if mergerfs_version(binary) >= (2, 41) else [])]


def _mergerfs_options(version: tuple[int, ...], variant: str, settings: Settings) -> str:
    seconds = settings.cache_seconds
    options = [
        f"fsname=bench,category.create=mfs,minfreespace=1M,cache.files={'off' if variant == 'direct' else 'auto-full'}",
        f"cache.attr={seconds},cache.entry={seconds},cache.statfs={seconds},cache.readdir=true,cache.symlinks=true",
        # Else each write asks for an attribute first.
        "security_capability=false",
    ]
    if version < (2, 35):
        options.append("use_ino")
    if variant == "direct" and version >= (2, 41):
        options.append("parallel-direct-writes=true")
    if variant == "passthrough":
        options.append("passthrough.io=rw")
    return ",".join(options)


def environment() -> dict[str, str]:
    """Ours, without settings of mediapool: those would go before the config file of the benchmark."""
    return {key: value for key, value in os.environ.items() if not key.startswith("MEDIAPOOL_")}
