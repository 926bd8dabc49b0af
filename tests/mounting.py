"""Real mounts by the real command, in a process of their own.

A mount served by the process that uses it can wait for itself (a page fault holds Python's lock), and would not be
what people run; so `Mounted` starts `python -m cli mount`, in a fork that has its imports (see forking), or another
program that ends up there.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import forking
from forking import ROOT, Process


@dataclass
class Mounted:
    """One running mount: its config file and the folders it uses."""

    base: Path
    options: str = ""
    drives: int = 3
    environment: dict[str, str] = field(default_factory=dict)
    program: tuple[str, ...] = ()  # instead of `python -m cli` in a fork: arguments of Python
    under: tuple[str, ...] = ()  # a command that runs it, such as a tracer
    process: Process | None = None

    def __post_init__(self) -> None:
        self.path = self.base / "data"
        self.state = self.base / "state"
        self.cache = self.base / "cache"
        self.config = self.base / "mediapool.toml"
        self.log = self.base / "mount.log"
        self.drive_paths = [self.base / f"drive{number}" for number in range(1, self.drives + 1)]
        for folder in self.drive_paths:
            folder.mkdir(exist_ok=True)
        self.write_config()

    def write_config(self, **sections: str) -> None:
        """The config with extra lines for sections, as in write_config(debrid='token = "x"')."""
        lines = {
            "mount": f'path = "{self.path}"\n',
            "placement": 'policy = "rand"\nmin_free = "1MiB"\n',
            "cache": f'path = "{self.cache}"\nsize = "200MiB"\nmin_free = "1MiB"\n',
            "http": 'listen = "127.0.0.1:0"\n',
            "state": f'path = "{self.state}"\n',
        }
        for section, text in sections.items():
            lines[section] = lines.get(section, "") + text + "\n"
        parts = [f"[{section}]\n{text}" for section, text in lines.items()]
        parts += [f'[[drive]]\nname = "{path.name}"\npath = "{path}"\n' for path in self.drive_paths]
        self.config.write_text("\n".join(parts) + self.options)
        self.config.chmod(0o600)

    def command(self, *arguments: str, input: str = "") -> subprocess.CompletedProcess[str]:
        """Run `mediapool ARGUMENTS` with this config."""
        return forking.run([*arguments, "--config", str(self.config)], self._environment(), 60, input)

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONWARNINGS": "default", **self.environment}

    def start(self) -> "Mounted":
        """Mount and wait until the tree answers."""
        self.process = self.spawn()
        wait_for(lambda: os.path.ismount(self.path) or self._ended(), "the mount")
        if self._ended():
            raise AssertionError(f"mount ended:\n{self.log.read_text()}")
        return self

    def spawn(self) -> Process:
        """A process that mounts, not waited for."""
        words = ["mount", "--config", str(self.config)]
        with self.log.open("ab") as log:
            if not self.program and not self.under:
                return forking.Forked(words, self._environment(), log.fileno(), log.fileno())
            return subprocess.Popen(
                [*self.under, sys.executable, *(self.program or ("-m", "cli")), *words],
                cwd=ROOT, env=self._environment(), stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def _ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def stop(self) -> None:
        """Unmount cleanly, as Ctrl-C does, and fail if that does not work."""
        assert self.process is not None
        if not self._ended():
            self.process.send_signal(signal.SIGINT)
        try:
            code = self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"mount does not stop:\n{self.log.read_text()}") from None
        assert not os.path.ismount(self.path)
        assert code == 0, self.log.read_text()
        assert "Traceback" not in self.log.read_text(), self.log.read_text()

    def kill(self) -> None:
        """SIGKILL, and take the dead mount away."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        subprocess.run(["umount", "-l", str(self.path)], check=False, capture_output=True)


def wait_for(condition: Callable[[], object], what: str, seconds: float = 30.0) -> None:
    """Wait until `condition` holds; fail naming `what` when it does not."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError(f"{what}: nothing after {seconds} s")


def leftovers(folder: Path) -> list[str]:
    """What there is in `folder`, mounted below it, and running with it on the command line."""
    mounts = [line for line in Path("/proc/self/mounts").read_text().splitlines() if str(folder) in line]
    lines = (path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists())
    return [*map(str, folder.iterdir()), *mounts, *(str(line) for line in lines if bytes(folder) in line)]
