"""The drives of a configuration: opened, known again by their identity, new ones taken in."""

import sqlite3
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import placement.drive
from cli.config import Config, DriveConfig
from placement.drive import Drive, refuse_clashes
from placement.eligible import measure
from placement.identity import DriveError, Identity, initialise, next_number
from placement.rules import Knowledge, Placement
from vfs.namesdb import NamesDb


def drive_config(drive: DriveConfig) -> placement.drive.DriveConfig:
    """The configuration of a drive as `placement` wants it."""
    return placement.drive.DriveConfig(
        name=drive.name,
        path=str(drive.path),
        mode=drive.mode,
        tier=drive.tier,
        min_free=drive.min_free,
        capacity=drive.capacity,
    )


def open_drives(config: Config, db: NamesDb) -> list[Drive]:
    """Open all drives for a mount; a folder never seen before becomes a drive. Raises DriveError.

    A drive that the pool knows but that is not there is returned missing: nothing is written at its path.
    """
    known = known_drives(db.db)
    drives: list[Drive] = []
    try:
        for drive in config.drive:
            identity = known.get(drive.name)
            taken = {one.number for one in known.values()} | {one.number for one in drives}
            if identity is None:
                take_in(drive, taken)
            drives.append(Drive.open(drive_config(drive), known=identity))
        refuse_clashes(drives)
    except BaseException:
        close(drives)
        raise
    remember(db, drives)
    return drives


def take_in(drive: DriveConfig, taken: Iterable[int]) -> None:
    """Write the identity of a folder that is no drive yet; one that is keeps its own."""
    if not (Path(drive.path) / ".mediapool" / "identity.json").exists():
        initialise(drive.path, drive.name, next_number(taken))


def look_at(config: Config, known: dict[str, Identity]) -> list[Drive | DriveError]:
    """The drives as they are now, without changing anything; a problem instead of a drive that cannot be opened."""
    found: list[Drive | DriveError] = []
    for drive in config.drive:
        try:
            found.append(Drive.open(drive_config(drive), known=known.get(drive.name)))
        except DriveError as problem:
            found.append(problem)
    return found


def known_drives(db: sqlite3.Connection) -> dict[str, Identity]:
    """What names.db remembers of the drives of this pool, by name."""
    rows = db.execute("SELECT name, identity, number FROM drive")
    return {name: Identity(identity, number, name) for name, identity, number in rows}


def remembered(names: Path) -> dict[str, Identity]:
    """As `known_drives`, from a names.db that may be in use, or not exist."""
    if not names.exists():
        return {}
    db = sqlite3.connect(f"file:{names}?mode=ro", uri=True)
    try:
        return known_drives(db)
    except sqlite3.Error:
        return {}
    finally:
        db.close()


def placing(config: Config, drives: list[Drive], knowledge: Knowledge) -> Placement:
    """The rules for new files."""
    pools = config.placement
    return Placement(
        lambda: drives,
        policy=pools.policy,
        path_preserving=pools.path_preserving,
        min_free=pools.min_free,
        rules=[rule.as_rule() for rule in pools.rule],
        knowledge=knowledge,
    )


def close(drives: Iterable[Drive | DriveError]) -> None:
    for drive in drives:
        if isinstance(drive, Drive):
            drive.close()


def remember(db: NamesDb, drives: Iterable[Drive]) -> None:
    """Record that these drives are part of the pool."""
    with db.write() as connection:
        for drive in drives:
            connection.execute("DELETE FROM drive WHERE name = ? OR identity = ?", (drive.name, drive.id))
            connection.execute("INSERT OR REPLACE INTO drive VALUES (?, ?, ?)", (drive.number, drive.id, drive.name))


def drive_status(drive: Drive, min_free: int) -> dict[str, Any]:
    """One drive as plain values; `total` and `available` in bytes, as they count for new files."""
    room = None
    if drive.present:
        # A drive that goes away just now is reported as missing all the same.
        with suppress(OSError):
            room = measure(drive, min_free)
    return {
        "name": drive.name,
        "path": drive.path,
        "mode": drive.mode,
        "tier": drive.tier,
        "id": drive.id,
        "number": drive.number,
        "problem": None if drive.problem is None else str(drive.problem),
        "total": None if room is None else room.total,
        "available": None if room is None else room.available,
    }
