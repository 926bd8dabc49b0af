"""How far a job of moves is, and the log of what it has moved for programs that keep parity."""

import json
import time
from dataclasses import dataclass, field
from pathlib import Path

from placement import system as os
from placement.drive import Drive
from placement.relocation import Moved


@dataclass
class Progress:
    """How far the file under way is, and how fast the job is in this run. Bytes, monotonic seconds."""

    path: str = ""
    phase: str = ""
    done: int = 0
    size: int = 0
    moved: int = 0
    worked: float = 0.0
    began: float = field(default_factory=time.monotonic)

    def rate(self, now: float) -> float:
        """Bytes a second, while it worked; 0 while that is unknown."""
        seconds = self.worked + (now - self.began if self.path else 0.0)
        return (self.moved + self.part()) / seconds if seconds > 0 else 0.0

    def part(self) -> int:
        """Bytes of the file under way: copying is the first half, comparing the second."""
        done = self.done if self.phase == "copying" else self.size + self.done
        return min(done // 2, self.size)


class Watched:
    """Context manager: the progress of one file while it is being moved; `tell` is for the engine."""

    def __init__(self, progress: Progress, path: str) -> None:
        self._progress, self._path = progress, path

    def __enter__(self) -> "Watched":
        progress = self._progress
        progress.began = time.monotonic()
        progress.phase, progress.done, progress.size = "copying", 0, 0
        progress.path = self._path
        return self

    def tell(self, phase: str, done: int, size: int) -> None:
        self._progress.phase, self._progress.done, self._progress.size = phase, done, size

    def done(self, size: int) -> None:
        self._progress.moved += size

    def __exit__(self, *_: object) -> None:
        progress = self._progress
        progress.worked += time.monotonic() - progress.began
        progress.path, progress.phase, progress.done, progress.size = "", "", 0, 0


def write_down(file: Path, source: Drive, target: Drive, moved: Moved) -> None:
    """Add a line to a log for parity tools, on stable storage: JSON with whole paths."""
    line = {
        "time": int(time.time()),
        "size": moved.size,
        "from": [os.path.join(source.path, name) for name in moved.paths],
        "to": [os.path.join(target.path, name) for name in moved.paths],
    }
    with file.open("a", encoding="ascii") as out:
        out.write(json.dumps(line) + "\n")
        out.flush()
        os.fsync(out.fileno())
