"""Jobs of an archive: builds, each with its plan, so that it can be resumed after any crash and undone.

They lie in `.mediapool/jobs/a1`, `a2`, ... of the archive: `plan.json`, written before the first file moves, and
`log.jsonl`, to which a line is added for each file. The log only saves reading files again; where a file is, the
folders themselves tell.
"""

import json
import os
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TextIO

from indexer.gathering import Gathered, Left, Place
from indexer.manifest import Copy, named, path_of
from indexer.planning import Plan
from indexer.volumes import Archive, ArchiveError, now, write_whole

FORMAT = "mediapool job 1"
Phase = Literal["building", "built", "undoing", "undone"]
_ID = re.compile(r"a\d+")


@dataclass(frozen=True, slots=True)
class Item:
    """A file of a job. `rel` below the place number `place`; `path` in the volume; bytes; ns; hash, "" if unknown."""

    number: int
    place: int
    rel: str
    volume: str
    path: str
    size: int
    mtime_ns: int
    hash: str = ""


@dataclass(slots=True)
class Job:
    """One build. `places`: (path, id of the drive or ""); `hashes` of what is archived; `left`: by number, why not.

    `token`: what copies under way are called by, beside those of others.
    """

    id: str
    token: str
    made: str
    medium: str
    capacity: int
    ecc: float
    places: list[tuple[str, str]]
    items: list[Item]
    copies: list[Copy]
    phase: Phase = "building"
    hashes: dict[int, str] = field(default_factory=dict)
    left: dict[int, str] = field(default_factory=dict)
    sealed: set[str] = field(default_factory=set)
    back: set[int] = field(default_factory=set)

    @property
    def volumes(self) -> list[str]:
        """The volumes it builds, in order."""
        return sorted({item.volume for item in self.items})

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(item.size for item in self.items)


class Log:
    """The log of a job, open for adding to. To be used in a `with`."""

    def __init__(self, folder: Path) -> None:
        self._place = folder / "log.jsonl"
        self._file: TextIO | None = None

    def add(self, *, durable: bool = False, **fields: Any) -> None:
        """Add a line; `durable`: it is on stable storage when this returns. OSError."""
        if self._file is None:
            self._cut_torn_line()
            self._file = self._place.open("a", encoding="ascii")
        self._file.write(json.dumps(fields) + "\n")
        self._file.flush()
        if durable:
            os.fsync(self._file.fileno())

    def _cut_torn_line(self) -> None:
        """Remove what was being written when the power failed."""
        if self._place.exists():
            data = self._place.read_bytes()
            os.truncate(self._place, data.rfind(b"\n") + 1)

    def __enter__(self) -> "Log":
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()


def folder_of(archive: Archive, ident: str = "") -> Path:
    """Where the jobs, or this one, lie."""
    return Path(archive.path, ".mediapool", "jobs", ident)


def begin(archive: Archive, gathered: Gathered, plan: Plan, medium: tuple[str, int, float]) -> Job:
    """A new job for a plan, durably, before any file is touched. `medium`: name, capacity in bytes, ecc. OSError."""
    numbers = [int(job.id[1:]) for job in all_jobs(archive)]
    first = int(next_volume(archive))
    items: list[Item] = []
    for number, members in enumerate(plan.volumes):
        for file in (gathered.files[at] for at in members):
            name = f"{first + number:04}"
            known = file.hash or ""
            items.append(Item(len(items), file.source, file.rel, name, file.target, file.size, file.mtime_ns, known))
    job = Job(
        f"a{max([0, *numbers]) + 1}",
        secrets.token_hex(8),
        now(),
        *medium,
        [(source.place.path, source.place.drive) for source in gathered.sources],
        items,
        [Copy(gathered.origin(file), file.hash or "") for file in gathered.copies],
    )
    folder = folder_of(archive, job.id)
    folder.mkdir(parents=True, mode=0o700)
    write_whole(folder / "plan.json", _plan_text(job))
    return job


def next_volume(archive: Archive) -> str:
    """A number that no volume has or had: discs outlive their folders, and the index of the set may have been lost."""
    built = [name for job in all_jobs(archive) if job.phase != "undone" for name in job.volumes]
    return f"{max([0, *map(int, [*archive.folders(), *archive.volumes, *built])]) + 1:04}"


def _plan_text(job: Job) -> str:
    fields = {
        "format": FORMAT,
        "id": job.id,
        "token": job.token,
        "made": job.made,
        "medium": job.medium,
        "capacity": job.capacity,
        "ecc": job.ecc,
        "places": [{**named(path), "drive": drive} for path, drive in job.places],
        "items": [_item_fields(item) for item in job.items],
        "copies": [{**named(copy.origin), "hash": copy.hash} for copy in job.copies],
    }
    return json.dumps(fields) + "\n"


def _item_fields(item: Item) -> dict[str, Any]:
    whole = {"place": item.place, "volume": item.volume, "size": item.size, "mtime_ns": item.mtime_ns}
    return {**whole, "hash": item.hash, **named(item.path), "from": named(item.rel)}


def all_jobs(archive: Archive) -> list[Job]:
    """All jobs of the archive, oldest first. ArchiveError for one that cannot be read."""
    folder = folder_of(archive)
    names = [name for name in (os.listdir(folder) if folder.is_dir() else ()) if _ID.fullmatch(name)]
    return [job for name in sorted(names, key=lambda name: int(name[1:])) if (job := _read(folder / name))]


def job(archive: Archive, ident: str) -> Job:
    """The job called `ident`; ArchiveError."""
    found = {job.id: job for job in all_jobs(archive)}
    if ident not in found:
        raise ArchiveError(f"There is no job {ident!r} in {archive.path}. There are: {', '.join(found) or 'none'}.")
    return found[ident]


def unfinished(archive: Archive) -> Job | None:
    """The build or undoing that was cut off, if there is one."""
    return next((job for job in all_jobs(archive) if job.phase in ("building", "undoing")), None)


def _read(folder: Path) -> Job | None:
    """The job in `folder`; None if its plan was never written, so nothing was done."""
    try:
        fields = json.loads((folder / "plan.json").read_bytes())
        if fields["format"] != FORMAT:
            raise ValueError(f"its format is {fields['format']!r}")
        found = Job(
            fields["id"],
            fields["token"],
            fields["made"],
            fields["medium"],
            fields["capacity"],
            fields["ecc"],
            [(path_of(place), place["drive"]) for place in fields["places"]],
            [_item(number, one) for number, one in enumerate(fields["items"])],
            [Copy(path_of(one), one["hash"]) for one in fields["copies"]],
        )
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise ArchiveError(f"The job in {folder} cannot be read: {error}. Put it back from a backup.") from None
    log = folder / "log.jsonl"
    for line in log.read_bytes().split(b"\n")[:-1] if log.exists() else ():
        _apply(found, json.loads(line))
    return found


def _item(number: int, one: dict[str, Any]) -> Item:
    rel, path = path_of(one["from"]), path_of(one)
    return Item(number, one["place"], rel, one["volume"], path, one["size"], one["mtime_ns"], one["hash"])


def _apply(job: Job, line: dict[str, Any]) -> None:
    if "hash" in line:
        job.hashes[line["file"]] = line["hash"]
        job.left.pop(line["file"], None)
    elif "left" in line:
        job.left[line["file"]] = line["left"]
        job.hashes.pop(line["file"], None)
    elif "back" in line:
        job.back.add(line["back"])
    elif "sealed" in line:
        job.sealed.add(line["sealed"])
    elif "phase" in line:
        job.phase = line["phase"]


def places_of(job: Job) -> list[Place]:
    """The folders of the job's sources, opened; OSError EIO where another drive is mounted by now, or none."""
    return [Place(path, drive) for path, drive in job.places]


def left_of(job: Job) -> Sequence[Left]:
    """The files of the job that were not archived, and why."""
    paths = {item.number: os.path.join(job.places[item.place][0], item.rel) for item in job.items}
    return [Left(paths[number], reason) for number, reason in sorted(job.left.items())]
