"""Drives that join or leave the pool while it is mounted, as the configuration says after it was changed."""

import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cli import config as configuration
from cli import pool
from cli.catalog import DriveKnowledge
from cli.config import DriveConfig
from cli.problems import ConfigError
from placement.drive import Drive, refuse_clashes
from placement.identity import DriveError
from placement.running import MoveJobs
from vfs.local import LocalBranch
from vfs.namesdb import NamesDb
from vfs.relocating import Relocating
from vfs.union import Union

log = logging.getLogger(__name__)

RELOAD = "/api/pool/reload"


class Members:
    """The drives of a mounted pool. `drives` and `branches` are the lists that all parts look at."""

    def __init__(
        self,
        drives: list[Drive],
        branches: list[LocalBranch],
        db: NamesDb,
        make_branch: Callable[[Drive], LocalBranch],
        union: Union,
        relocating: Relocating,
        knowledge: DriveKnowledge,
        jobs: MoveJobs,
    ) -> None:
        self._drives, self._branches, self._db, self._make_branch = drives, branches, db, make_branch
        self._union, self._relocating, self._knowledge = union, relocating, knowledge
        self._jobs = jobs
        # Branches of drives that have left, by id: files on them may be open still.
        self._parted: dict[str, LocalBranch] = {}
        self._lock = threading.Lock()

    def reload(self, file: Path | None) -> dict[str, list[str]]:
        """Read the configuration anew: names of the drives that joined and left.

        ValueError, in words, where a drive cannot join; OSError of names.db.
        """
        try:
            wanted = configuration.load(file, os.environ).drive
            with self._lock:
                there = {drive.name for drive in self._drives}
                joined = [drive for drive in wanted if drive.name not in there]
                gone = there - {drive.name for drive in wanted}
                for drive in joined:
                    self._join(drive)
                for name in sorted(gone):
                    self._leave(name)
        except (ConfigError, DriveError) as error:
            raise ValueError(str(error)) from None
        return {"joined": [drive.name for drive in joined], "left": sorted(gone)}

    def _join(self, config: DriveConfig) -> None:
        known = pool.known_drives(self._db.db)
        drive = Drive.open(pool.drive_config(config), known=known.get(config.name))
        try:
            refuse_clashes([*self._drives, drive])
            others = [one for one in known.values() if one.number == drive.number and one.id != drive.id]
            parted = self._parted.get(drive.id)
            if parted is not None and len(parted.open_files):
                # Who moves a file must know all that have it open.
                cause = f"{len(parted.open_files)} files on it are open since before it left"
                raise DriveError(drive.name, drive.path, cause, "Close them, then add it again")
            if others:
                raise DriveError(
                    drive.name,
                    drive.path,
                    f"its number {drive.number} is that of drive {others[0].name!r}",
                    "Mount anew",
                )
            pool.remember(self._db, [drive])
        except BaseException:
            drive.close()
            raise
        branch = self._make_branch(drive)
        # Whoever finds the drive in the list must find its branch as well.
        self._branches.append(branch)
        self._relocating.join(branch)
        self._union.join(branch)
        self._drives.append(drive)
        self._knowledge.add(drive)
        # Moves that were interrupted may have waited for it.
        self._relocating.recover()
        log.info("drive %s (%s) has joined the pool", drive.name, drive.path)

    def _leave(self, name: str) -> None:
        drive = next(one for one in self._drives if one.name == name)
        branch = next(one for one in self._branches if one.drive is drive)
        # No move is broken off between its commit and the removal of what it leaves behind.
        with self._jobs.resting():
            self._jobs.keep(name)
            self._drives.remove(drive)
            self._union.leave(branch)
            self._branches.remove(branch)
            self._knowledge.remove(drive)
            self._parted[drive.id] = branch
            drive.close()
        log.info("drive %s (%s) has left the pool", drive.name, drive.path)


def told(answer: Any) -> str:
    """For people: what a reload has changed."""
    names = [*(f"{name} has joined" for name in answer["joined"]), *(f"{name} has left" for name in answer["left"])]
    return f"The running mount uses it: {', '.join(names)}." if names else "The running mount knew it already."
