"""Building volumes and undoing that: files go into the archive by the plan, one after the other, and back.

At every moment each file is whole at its origin or in its volume, or at both. A volume gets its manifest when all
its files are in it; a manifest that exists is therefore true. See `shifting` for a file, `jobs` for what is remembered.
"""

import contextlib
import errno
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from indexer import jobs
from indexer.gathering import Gathered, Hear, KnownHashes, NothingKnown, Place, Source, gather, tell_copies_apart
from indexer.jobs import Item, Job, Log
from indexer.manifest import Copy, Manifest, VolumeFile
from indexer.shifting import OnStep, Shift, shift, sync
from indexer.volumes import Archive, ArchiveError, now
from placement.copying import Allowance
from placement.identity import FOLDER
from placement.linkgroup import STAGING, lstat

# Nothing after these can go better.
_STOP = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ECANCELED)


def prepare(
    sources: Sequence[Source],
    archive: Archive | None,
    *,
    exclude: Sequence[str] = (),
    known: KnownHashes | None = None,
    hear: Hear = lambda what, path, done, total: None,
    choose: Callable[[Gathered], None] = lambda gathered: None,
) -> Gathered:
    """What is to be archived: walked, chosen by `choose`, and without what is archived already. OSError, ValueError."""
    gathered = gather(sources, exclude=exclude, within=None if archive is None else archive.root)
    choose(gathered)
    hashes = {} if archive is None else archive.hashes()
    archived = [(file.size, file.hash) for _, file in hashes.values()]
    tell_copies_apart(gathered, archived, known or NothingKnown(), hear)
    return gathered


class Build:
    """A job at work in an archive that is `locked`."""

    def __init__(
        self,
        archive: Archive,
        job: Job,
        *,
        hear: Hear = lambda what, path, done, total: None,
        on_step: OnStep = lambda name: None,
        allowance: Allowance | None = None,
    ) -> None:
        """`on_step` hears each step, for tests; `allowance` slows down and cancels."""
        self._archive = archive
        self._job = job
        self._hear = hear
        self._on_step = on_step
        self._allowance = allowance or Allowance()
        self._done = 0
        self._total = job.size
        self._unsynced: list[Shift] = []

    def run(self) -> None:
        """Build, or go on building. ArchiveError, OSError; then the same again goes on."""
        job = self._job
        if job.phase != "building":
            raise ArchiveError(f"Job {job.id} is {job.phase}.")
        places = jobs.places_of(job)
        self._refuse_full(places)
        with Log(jobs.folder_of(self._archive, job.id)) as log:
            for name in job.volumes:
                items = [item for item in job.items if item.volume == name]
                for item in items:
                    self._bring(item, places, log)
                if name not in job.sealed:
                    self._seal(name, items, log)
            self._archive.save()
            job.phase = "built"
            log.add(durable=True, phase="built")
        self._remove_staging(())
        self._on_step("built")

    def _refuse_full(self, places: Sequence[Place]) -> None:
        """ArchiveError if the files that have to be copied have no room in the archive."""
        root = self._archive.root
        needed = sum(
            item.size
            for item in self._job.items
            if item.number not in self._job.hashes and not places[item.place].shares_disk(root)
        )
        room = root.statvfs()
        if needed > room.f_bavail * room.f_frsize:
            raise ArchiveError(
                f"{self._archive.path} has no room for it: {needed} bytes are to be copied there, and "
                f"{room.f_bavail * room.f_frsize} are free. Free some, archive less, or put the archive on the drive "
                "of the sources, where files are only renamed."
            )

    def _bring(self, item: Item, places: Sequence[Place], log: Log) -> None:
        job, inside = self._job, f"{item.volume}/{item.path}"
        move = Shift(
            places[item.place],
            item.rel,
            self._archive,
            inside,
            f"{job.token}-{item.number}",
            (item.size, item.mtime_ns),
            item.hash,
        )
        # The log may have reached the disk before what it tells of.
        logged = item.number in job.hashes and lstat(self._archive.root, inside) is not None
        if item.volume in job.sealed or logged:
            self._unsynced += [move] if logged else []
            self._done += item.size
            return
        try:
            digest = shift(move, self._on_step, lambda done: self._tell("archiving", item, done), self._allowance)
        except OSError as error:
            if error.errno in _STOP:
                raise
            job.hashes.pop(item.number, None)
            job.left[item.number] = error.strerror or str(error)
            log.add(file=item.number, left=job.left[item.number])
        else:
            self._unsynced.append(move)
            job.left.pop(item.number, None)
            job.hashes[item.number] = digest
            log.add(file=item.number, hash=digest)
        self._done += item.size
        self._on_step("logged")

    def _tell(self, what: str, item: Item, done: int) -> None:
        self._hear(what, item.path, self._done + done, self._total)

    def _seal(self, name: str, items: Sequence[Item], log: Log) -> None:
        job = self._job
        self._sync()
        files = tuple(
            VolumeFile(item.path, item.size, job.hashes[item.number], item.mtime_ns)
            for item in items
            if item.number in job.hashes
        )
        known = self._archive.volumes.get(name)
        # Before a crash it may have been sealed, with all that could be moved until then.
        if files and (known is None or known.manifest.files != files):
            self._archive.seal(self._manifest(name, files))
        self._on_step("sealed")
        job.sealed.add(name)
        log.add(durable=True, sealed=name)

    def _sync(self) -> None:
        """Bring all names that changed to stable storage, before anything is said of them."""
        sync(self._unsynced)
        self._unsynced.clear()
        self._on_step("names synced")

    def _manifest(self, name: str, files: tuple[VolumeFile, ...]) -> Manifest:
        job = self._job
        # Copies are recorded once, with the first volume.
        copies: tuple[Copy, ...] = tuple(job.copies) if name == job.volumes[0] else ()
        return Manifest(self._archive.id, name, now(), job.medium, job.capacity, job.ecc, files, copies)

    # Undoing.

    def undo(self) -> None:
        """Bring all files of the job back to where they came from, or go on with that.

        What cannot go back, for something else stands there, stays in its volume. ArchiveError, OSError.
        """
        job = self._job
        if job.phase == "undone":
            raise ArchiveError(f"Job {job.id} was undone already.")
        burned = [name for name in job.volumes if name in self._archive.volumes and self._is_burned(name)]
        if burned:
            raise ArchiveError(
                f"Volume {', '.join(burned)} is burned: the archive would not say any more what is on that disc. "
                "Copy the files you want back by hand."
            )
        places = jobs.places_of(job)
        with Log(jobs.folder_of(self._archive, job.id)) as log:
            if job.phase != "undoing":
                log.add(durable=True, phase="undoing")
                job.phase = "undoing"
                job.left.clear()
            for item in job.items:
                self._return(item, places, log)
            self._sync()
            for name in job.volumes:
                self._unseal(name)
            self._archive.save()
            # What had to stay is a volume as before, and may go back later.
            job.phase = "built" if job.left else "undone"
            log.add(durable=True, phase=job.phase)
        self._remove_staging(places)

    def _remove_staging(self, places: Sequence[Place]) -> None:
        """Leave nothing of ours: no copy that was cut off, and no folder in sources that are no drives."""
        for path in (self._archive.path, *(place.path for place in places)):
            staging = Path(path, STAGING)
            for name in os.listdir(staging) if staging.is_dir() else ():
                if name.startswith(self._job.token):
                    (staging / name).unlink()
        for place in places:
            for folder in () if place.drive else (STAGING, FOLDER):
                with contextlib.suppress(OSError):
                    os.rmdir(Path(place.path, folder))

    def _is_burned(self, name: str) -> bool:
        return self._archive.volumes[name].state.burned is not None

    def _return(self, item: Item, places: Sequence[Place], log: Log) -> None:
        job, inside = self._job, f"{item.volume}/{item.path}"
        move = Shift(self._archive, inside, places[item.place], item.rel, f"{job.token}-{item.number}-back")
        if lstat(self._archive.root, inside) is None:
            self._unsynced += [move] if item.number in job.back else []
            self._done += item.size
            return
        try:
            shift(move, self._on_step, lambda done: self._tell("returning", item, done), self._allowance)
        except OSError as error:
            if error.errno in _STOP:
                raise
            job.left[item.number] = error.strerror or str(error)
        else:
            self._unsynced.append(move)
            job.left.pop(item.number, None)
            job.back.add(item.number)
            log.add(back=item.number)
        self._done += item.size
        self._on_step("returned")

    def _unseal(self, name: str) -> None:
        """Take the volume out of the archive, or leave it with what had to stay in it."""
        job = self._job
        stay = tuple(
            VolumeFile(item.path, item.size, job.hashes[item.number], item.mtime_ns)
            for item in job.items
            if item.volume == name and item.number in job.left and item.number in job.hashes
        )
        if stay:
            self._archive.seal(self._manifest(name, stay))
        else:
            self._archive.forget(name)
        self._on_step("unsealed")
        _remove_empty(Path(self._archive.path, name))


def _remove_empty(folder: Path) -> None:
    """Remove a folder of a volume, and those in it, as far as they are empty."""
    for path, _, _ in os.walk(folder, topdown=False):
        if not os.listdir(path):
            os.rmdir(path)
