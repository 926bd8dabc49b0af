"""Copies of names.db: kept in the state folder and on drives, found again, and put back in its place.

In the state folder there is one for each of the last days on which the pool was mounted. A drive holds, below
`.mediapool/names/`, a mark for each pool it was part of that had remote names, so that a lost names.db is noticed, and
the newest copy that was put there. All of it is named by the id of the pool, and nothing of another pool is touched.
"""

import json
import re
import socket
import sqlite3
import stat
import time
from collections.abc import Iterable
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from placement import system as os
from placement.drive import Drive
from placement.identity import FOLDER
from vfs.namesdb import SCHEMA, NamesDb, copy_names

# Below the root of each drive.
KEPT = f"{FOLDER}/names"
DAYS = 7
# Numbers of files that were made after the copy are not given to others.
_NUMBERS_LEFT_OUT = 1 << 20
_FORMAT = 1
_LARGEST_MARK = 4096
_ID = re.compile("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Copy(NamedTuple):
    """One copy. `names` of remote files, `time` in seconds since 1970; `problem`: why it is of no use, or ""."""

    path: Path
    pool: str
    names: int
    time: float
    problem: str


class Mark(NamedTuple):
    """That a drive was part of a pool with remote names; `host` is the machine that mounted it then."""

    drive: str
    pool: str
    host: str


# In the state folder.


def save_in(folder: Path, source: Path, pool: str) -> None:
    """Put the copy of today into `folder`, and take those away that are older than the last seven. OSError."""
    folder.mkdir(mode=0o700, exist_ok=True)
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        copy_names(source, fd, f"names-{pool[:8]}-{datetime.now(UTC):%Y-%m-%d}.db")
    finally:
        os.close(fd)
    for old in sorted(folder.glob(f"names-{pool[:8]}-????-??-??.db"))[:-DAYS]:
        old.unlink(missing_ok=True)


def copies_in(folder: Path) -> list[Copy]:
    """The copies in the state folder."""
    return [inspect(path) for path in sorted(folder.glob("names-*.db"))]


# On a drive.


def mark(drive: Drive, pool: str) -> None:
    """Have the drive say that this pool had remote names. OSError, also for a drive that is missing or read-only."""
    fd = _folder(drive)
    try:
        if _exists(fd, f"{pool}.json"):
            return
        text = json.dumps({"format": _FORMAT, "pool": pool, "host": socket.gethostname()}) + "\n"
        flags = os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC
        with open(os.open(f"{pool}.json.new", flags, 0o600, dir_fd=fd), "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.rename(f"{pool}.json.new", f"{pool}.json", src_dir_fd=fd, dst_dir_fd=fd)
        os.fsync(fd)
    finally:
        os.close(fd)


def save_on(drive: Drive, source: Path, pool: str) -> None:
    """Put a copy onto the drive in place of the one before. OSError as `mark`."""
    fd = _folder(drive)
    try:
        copy_names(source, fd, f"{pool}.db")
    finally:
        os.close(fd)


def found_on(drive: Drive) -> tuple[list[Mark], list[Copy]]:
    """The marks and copies that a drive holds; nothing of one that is missing."""
    try:
        fd = drive.require().open_dir(KEPT)
    except OSError:
        return [], []
    try:
        names = sorted(os.listdir(fd))
        marks = [
            Mark(drive.name, name.removesuffix(".json"), _host(fd, name)) for name in names if _is_ours(name, ".json")
        ]
    except OSError:
        return [], []
    finally:
        os.close(fd)
    return marks, [inspect(Path(drive.path) / KEPT / name) for name in names if _is_ours(name, ".db")]


def _folder(drive: Drive) -> int:
    """The drive's folder for all this, open; made if it is not there."""
    root = drive.require()
    if drive.mode == "ro":
        raise OSError(f"drive {drive.name} is read-only by its config")
    with root.parent(KEPT) as (above, name), suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=above)
    return root.open_dir(KEPT)


def _is_ours(name: str, ending: str) -> bool:
    return name.endswith(ending) and _ID.fullmatch(name.removesuffix(ending)) is not None


def _exists(folder: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _host(folder: int, name: str) -> str:
    """Which machine wrote a mark; "" if that cannot be read. That there is a mark counts all the same."""
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        with open(fd, "rb") as file:
            fields = json.loads(file.read(_LARGEST_MARK))
    except (OSError, ValueError):
        return ""
    host = fields.get("host") if isinstance(fields, dict) else None
    return host if isinstance(host, str) else ""


# Any of them.


def inspect(path: Path) -> Copy:
    """What a file is worth as a copy of names.db; it is looked at whole, and never changed."""
    pool, names, saved = "", 0, 0.0
    try:
        saved = path.stat().st_mtime
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)) as db:
            (check,) = db.execute("PRAGMA quick_check(1)").fetchone()
            meta = dict(db.execute("SELECT key, value FROM meta"))
            query = "SELECT count(*) FROM name JOIN content USING (ino)"
            pool, (names,) = meta.get("pool", ""), db.execute(query).fetchone()
            saved = int(meta.get("saved", saved * 1e9)) / 1e9
        problem = _unfit(check, meta.get("schema", ""))
    except (OSError, sqlite3.Error, ValueError) as cause:
        problem = f"cannot be read: {cause}"
    return Copy(path, pool, names, saved, problem)


def _unfit(check: str, schema: str) -> str:
    if check != "ok":
        return f"damaged: {check}"
    if not schema.isdecimal() or int(schema) > SCHEMA:
        return f"has format {schema!r}, which this mediapool does not know"
    return ""


def pool_of(names: Path) -> str:
    """The pool that a damaged names.db belongs to, if that can still be read."""
    with suppress(sqlite3.Error), closing(sqlite3.connect(f"file:{quote(str(names))}?mode=ro", uri=True)) as db:
        (pool,) = db.execute("SELECT value FROM meta WHERE key = 'pool'").fetchone() or ("",)
        return str(pool)
    return ""


def restore(copy: Path, names: Path) -> Path | None:
    """Put `copy` in place of `names`, which nobody may use meanwhile; where that was moved aside to. OSError."""
    draft = names.with_name(f"{names.name}.restored")
    folder = os.open(names.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        copy_names(copy, folder, draft.name)
        with closing(sqlite3.connect(draft, isolation_level=None)) as db:
            db.execute("UPDATE sqlite_sequence SET seq = seq + ? WHERE name = 'node'", (_NUMBERS_LEFT_OUT,))
            db.execute("DELETE FROM meta WHERE key = 'saved'")
        aside = move_aside(names)
        draft.rename(names)
        os.fsync(folder)
        return aside
    except sqlite3.Error as cause:
        raise OSError(f"{draft} could not be written: {cause}") from cause
    finally:
        os.close(folder)


def begin_anew(names: Path) -> Path | None:
    """Put an empty names.db of a new pool in place of `names`; where that was moved aside to. OSError."""
    aside = move_aside(names)
    NamesDb(names).close()
    return aside


def move_aside(names: Path) -> Path | None:
    """Give names.db, with what belongs to it, another name beside it; None if there is none. OSError."""
    aside = names.with_name(f"{names.name}.aside-{datetime.now(UTC):%Y%m%dT%H%M%S}")
    while aside.exists():
        time.sleep(0.1)
        aside = names.with_name(f"{names.name}.aside-{datetime.now(UTC):%Y%m%dT%H%M%S%f}")
    there = is_there(names)
    # The log after the file: alone it would be taken for that of the next file of this name, but before there is
    # one, this is done again. No copy is put in place while it is there.
    for ending in ("", "-wal", "-shm"):
        with suppress(FileNotFoundError):
            names.with_name(names.name + ending).rename(aside.with_name(aside.name + ending))
    return aside if there else None


def is_there(names: Path) -> bool:
    """Whether there is a names.db; an empty file, as a disk that was full leaves it, is none."""
    try:
        found = names.stat()
    except FileNotFoundError:
        return False
    return not stat.S_ISREG(found.st_mode) or found.st_size > 0


def newest(copies: Iterable[Copy]) -> list[Copy]:
    """The copies, newest first."""
    return sorted(copies, key=lambda copy: copy.time, reverse=True)
