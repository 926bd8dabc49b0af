"""Pulling a drive out of a running mount, and knowing when all that it holds is known."""

import json
import os
import urllib.request
from pathlib import Path
from typing import Any

from mounting import Mounted, wait_for


class Pulled:
    """A drive that can be pulled: its folder is renamed away, with an empty folder or nothing left in its place."""

    def __init__(self, path: Path, empty: bool = True) -> None:
        self.path = path
        self.away = path.with_name(path.name + ".away")
        self._empty = empty
        self._place: os.stat_result | None = None

    def pull(self) -> None:
        self.path.rename(self.away)
        if self._empty:
            self.path.mkdir()
            self._place = self.path.stat()

    def check_place(self) -> None:
        """Nothing was written where the drive is not."""
        if self._place is None:
            assert not os.path.lexists(self.path)
        else:
            assert os.listdir(self.path) == []
            assert self.path.stat().st_ctime_ns == self._place.st_ctime_ns

    def put_back(self) -> None:
        self.check_place()
        if self._place is not None:
            self.path.rmdir()
        self.away.rename(self.path)


def status(mounted: Mounted) -> dict[str, Any]:
    """What `mediapool status --json` says, asked from the daemon itself."""
    contact = json.loads((mounted.state / "daemon.json").read_text())
    request = urllib.request.Request(
        contact["url"] + "/api/status", headers={"Authorization": f"Bearer {contact['token']}"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def settled(mounted: Mounted, but: int = 0) -> None:
    """Wait until all drives are walked, and at most `but` folders of any are uncertain (open for writing)."""

    def certain() -> bool:
        now = status(mounted)
        return not now["walking"] and all(
            drive["problem"] or (drive["uncertain"] is not None and drive["uncertain"] <= but)
            for drive in now["drives"]
        )

    wait_for(certain, "the walk of all drives", 60)


def missed(mounted: Mounted, number: int) -> None:
    """Wait until the drive with this number is noticed to be missing."""
    wait_for(lambda: status(mounted)["drives"][number - 1]["problem"], "the drive to be missed")


def back(mounted: Mounted, number: int) -> None:
    """Wait until the drive with this number is there again."""
    wait_for(lambda: not status(mounted)["drives"][number - 1]["problem"], "the drive to be back")
