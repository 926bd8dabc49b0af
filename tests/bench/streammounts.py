"""Who takes part in `bench stream`: mediapool and rclone, both as installed, over one simulated provider."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from contenders import CannotStart, Mount
from simulated import Provider

_PUBLISHED_SECONDS = 300.0
MEDIAPOOL, RCLONE, RCLONE_TUNED = "mediapool", "rclone", "rclone, 8 streams"


class StreamMount(Mount):
    """A mount of the provider's files. They are found by name, wherever in the tree it shows them."""

    def __init__(self, column: str, base: Path, provider: Provider, names: Sequence[str]) -> None:
        super().__init__(column, base / re.sub(r"\W+", "-", column), "")
        self._provider = provider
        self._names = frozenset(names)
        self._paths: dict[str, Path] = {}

    def file(self, name: str) -> Path:
        return self._paths[name]

    def start(self) -> float:
        seconds = super().start()
        until = time.monotonic() + _PUBLISHED_SECONDS
        while not self._names <= self._paths.keys():
            if time.monotonic() > until:
                raise CannotStart(f"{self.column} does not show all files: {self.log.read_text(errors='replace')}")
            time.sleep(0.2)
            self._look()
        return seconds

    def _look(self) -> None:
        for folder, _, files in os.walk(self.path):
            self._paths.update((name, Path(folder, name)) for name in files)


class Mediapool(StreamMount):
    """mediapool with nothing set but where things are."""

    def __init__(self, base: Path, provider: Provider, names: Sequence[str]) -> None:
        super().__init__(MEDIAPOOL, base, provider, names)
        self._config = base / "mediapool.toml"

    def command(self) -> Sequence[str | Path]:
        return (sys.executable, "-m", "cli", "mount", "--config", self._config)

    def start(self) -> float:
        drive = self.path.with_name("drive")
        drive.mkdir(exist_ok=True)
        sections = {
            "mount": f'path = "{self.path}"',
            "debrid": f'token = "{self._provider.token}"\napi_url = "{self._provider.api}"',
            "cache": f'path = "{self.path}.cache"\nmin_free = "1MiB"',
            "http": 'listen = "127.0.0.1:0"',
            "state": f'path = "{self.path}.state"',
        }
        text = "".join(f"[{section}]\n{lines}\n\n" for section, lines in sections.items())
        self._config.write_text(f'{text}[[drive]]\nname = "drive"\npath = "{drive}"\n')
        self._config.chmod(0o600)
        return super().start()


class Rclone(StreamMount):
    """rclone's mount of the plain list, with its full cache."""

    def __init__(
        self, column: str, options: Sequence[str], binary: Path, base: Path, provider: Provider, names: Sequence[str]
    ) -> None:
        super().__init__(column, base, provider, names)
        self._binary = binary
        self._given = tuple(options)
        self.options = " ".join(("--vfs-cache-mode full", *options))

    def command(self) -> Sequence[str | Path]:
        return (
            self._binary, "mount", ":http:", self.path, "--http-url", self._provider.listing, "--read-only",
            "--vfs-cache-mode", "full", "--cache-dir", f"{self.path}.cache", "--dir-cache-time", "24h",
            "--config", os.devnull, *self._given,
        )  # fmt: skip


def rclone_binary(named: Path | None) -> Path | None:
    """The one named, or that of this Python's folder, or that of the system."""
    beside = Path(sys.executable).with_name("rclone")
    found = shutil.which("rclone")
    return named or (beside if beside.exists() else Path(found) if found else None)


def rclone_version(binary: Path) -> str:
    """As "v1.75.2". Raises CannotStart."""
    try:
        told = subprocess.run([binary, "version"], capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError) as cause:
        raise CannotStart(f"{binary} is no rclone: {cause}") from cause
    return told.split()[1]
