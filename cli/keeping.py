"""names.db kept safe: copied to the state folder and to drives, and missed when it is gone.

The names of remote files are all that cannot be found out again: which of them were linked to where, and which were
removed. So a mount copies them when it ends and once a day, and refuses to begin without them.
"""

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from cli import pool
from cli.config import Config
from cli.output import human_time
from cli.state import StateFolder
from placement.drive import Drive
from vfs import namescopies
from vfs.names import Names
from vfs.namescopies import Copy, Mark
from vfs.namesdb import NamesDamaged, NamesDb, NamesTooNew

log = logging.getLogger(__name__)

# How many drives get a copy: the loss of the state's disk and of one of them loses no names.
ON_DRIVES = 2
TICK = 30.0  # seconds between looks at whether there is something to do
FIRST = 600.0  # seconds after the start
DAILY = 86_400.0
PATIENCE = 20.0


class Keeper:
    """Copies names.db while the tree is mounted, in a thread of its own, and once more at the end. It never raises."""

    def __init__(self, db: NamesDb, names: Names, drives: Sequence[Drive], state: StateFolder) -> None:
        self._db = db
        self._names = names
        self._drives = drives
        self._state = state
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="names-keeper", daemon=True)
        self._marked: set[str] = set()
        self._told: dict[str, str] = {}

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Mark and copy a last time; nothing may change names after that. A disk that hangs is not waited for."""
        if self._thread.ident is None:
            self._thread.start()
        self._end.set()
        self._thread.join(PATIENCE)
        if self._thread.is_alive():
            log.warning("a disk does not answer: the names of remote files may have no new copy")

    def _run(self) -> None:
        due = time.monotonic() + FIRST
        self.mark()
        while not self._end.wait(TICK):
            self.mark()
            if time.monotonic() >= due:
                due = time.monotonic() + DAILY
                self.save()
        self.mark()
        self.save()

    def mark(self) -> None:
        """Have each drive that is there say that this pool has remote names."""
        if not self._names.ever_held():
            return
        for drive in self._drives:
            if drive.id not in self._marked and drive.mode != "ro" and drive.present:
                try:
                    namescopies.mark(drive, self._db.pool)
                    self._marked.add(drive.id)
                except OSError as cause:
                    self._complain(f"drive {drive.name} cannot be marked as one with remote names", cause)

    def save(self) -> None:
        """Copy names.db to the state folder and to the first drives that take it."""
        if not self._names.ever_held():
            return
        try:
            namescopies.save_in(self._state.copies, self._db.path, self._db.pool)
        except OSError as cause:
            self._complain(f"no copy of the names of remote files in {self._state.copies}", cause)
        taken = 0
        for drive in self._drives:
            if taken < ON_DRIVES and drive.mode != "ro" and drive.present:
                try:
                    namescopies.save_on(drive, self._db.path, self._db.pool)
                    taken += 1
                except OSError as cause:
                    self._complain(f"no copy of the names of remote files on drive {drive.name}", cause)
        if not taken:
            log.warning("no drive has a copy of the names of remote files as they are now")

    def _complain(self, what: str, cause: OSError) -> None:
        # Once, or each look would say it again.
        if self._told.get(what) != str(cause):
            self._told[what] = str(cause)
            log.warning("%s: %s", what, cause)


@dataclass(frozen=True)
class Found:
    """The copies of names.db that there are, newest first, and the drives that miss one."""

    copies: list[Copy]
    marks: list[Mark]
    # The pools whose state this folder is known to hold.
    own: set[str] = field(default_factory=set)

    @property
    def lost(self) -> bool:
        """Whether there ought to be a names.db."""
        return bool(self.marks or self.copies)

    def offered(self) -> Copy | None:
        """The newest usable copy of this pool; None if there is none, or if it cannot be known which pool this is."""
        usable = [copy for copy in self.copies if not copy.problem]
        pools = self.own or {copy.pool for copy in usable} | {mark.pool for mark in self.marks}
        fitting = [copy for copy in usable if copy.pool in pools]
        return fitting[0] if fitting and len(pools) == 1 else None

    def lines(self) -> list[str]:
        """For people: each copy, with its time, number of names and pool."""
        hosts = {mark.pool: f" of {mark.host}" for mark in self.marks if mark.host}
        return [_line(copy, hosts.get(copy.pool, ""), self.own) for copy in self.copies]


def _line(copy: Copy, host: str, own: set[str]) -> str:
    if copy.problem:
        return f"  {copy.path}: {copy.problem}"
    other = ", not the pool of this state folder" if own and copy.pool not in own else ""
    return f"  {human_time(copy.time)}  {copy.names} names  {copy.path}  (pool {copy.pool[:8]}{host}{other})"


def look_for(config: Config, state: StateFolder) -> Found:
    """The copies in the state folder and on the drives that are there; nothing is changed."""
    copies, marks = namescopies.copies_in(state.copies), list[Mark]()
    own = {copy.pool for copy in copies if copy.pool}
    if namescopies.is_there(state.names):
        own = {pool_id for pool_id in (namescopies.pool_of(state.names),) if pool_id} or own
    drives = pool.look_at(config, {})
    try:
        for drive in drives:
            if isinstance(drive, Drive):
                more_marks, more_copies = namescopies.found_on(drive)
                marks += more_marks
                copies += more_copies
    finally:
        pool.close(drives)
    return Found(namescopies.newest(copies), marks, own)


def open_names(config: Config, state: StateFolder) -> tuple[NamesDb, Names]:
    """Open names.db, new only where there never was one.

    NamesDamaged, naming the cause, the copies there are and how to take one; OSError of its disk.
    """
    if not namescopies.is_there(state.names):
        found = look_for(config, state)
        if found.lost:
            raise NamesDamaged(_missing(state, found))
    try:
        db = NamesDb(state.names)
        try:
            return db, Names(db)
        except BaseException:
            db.close()
            raise
    except NamesTooNew:
        raise
    except NamesDamaged as damage:
        raise NamesDamaged(f"{damage}\n{_offer(look_for(config, state))}") from damage


def _missing(state: StateFolder, found: Found) -> str:
    drives = sorted({mark.drive for mark in found.marks})
    who = f"drive{'s' if len(drives) > 1 else ''} {', '.join(drives)}" if drives else str(state.copies)
    return f"{state.names} is missing, but there were names of remote files, as {who} can tell.\n{_offer(found)}"


def _offer(found: Found) -> str:
    """What can be done about a names.db that is gone."""
    empty = "To begin without any names instead: mediapool pool restore-names --empty"
    if not found.copies:
        return f"No copy of it was found: is a drive missing? {empty}"
    take = "To put the newest one back: mediapool pool restore-names"
    if found.offered() is None:
        take = "To put one back, once you know which: mediapool pool restore-names FILE"
    return "\n".join(["Copies of it, newest first:", *found.lines(), take, empty])
