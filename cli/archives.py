"""What the commands about archives share: which archive is meant, where its sources lie, how far work is."""

import contextlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from cli import config as configuration
from cli import pool
from cli.config import Config
from cli.options import load
from cli.output import fail, human_size, progress, warn
from cli.problems import ConfigMissing
from cli.sizes import parse_size
from cli.state import StateFolder
from indexer import jobs
from indexer.archive import Build
from indexer.contents import Contents
from indexer.contentsdb import ContentsError
from indexer.discs import MEDIA, Medium, medium
from indexer.gathering import KnownHashes, Left, NothingKnown, Place, Source
from indexer.jobs import Job
from indexer.manifest import named
from indexer.planning import TooLarge
from indexer.volumes import Archive, ArchiveError
from placement.drive import Drive

archive_option = click.option(
    "--archive",
    "archive",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="The folder of the volumes; default: the one that was used last.",
)


@contextlib.contextmanager
def told() -> Iterator[None]:
    """Tell people what goes wrong in the block, and end the command."""
    try:
        yield
    except (ArchiveError, TooLarge, ValueError) as error:
        progress("")
        fail(str(error))
    except OSError as error:
        progress("")
        about = f"{error.filename!r}: " if error.filename else ""
        fail(f"{about}{error.strerror or error}.")


def configured(config_file: Path | None) -> Config:
    """The configuration; the defaults where there is none, since an archive needs no pool. Raises ConfigError."""
    try:
        return load(config_file)
    except ConfigMissing:
        if config_file is not None:
            raise
        return configuration.parse("", None, os.environ)


def opened(config: Config, folder: Path | None, *, make: bool = False) -> Archive:
    """The archive in `folder`, else the one used last; remembered from then on. ArchiveError, OSError."""
    memory = StateFolder(config.state.path).archive
    folder = folder or last_used(memory)
    if folder is None:
        raise ArchiveError("No archive is known yet. Name the folder for its volumes: --archive DIR.")
    _refuse_folder(config, folder.resolve())
    archive = Archive(folder, make=make)
    # Only a convenience: the archive itself knows all there is to know.
    with contextlib.suppress(OSError):
        memory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        memory.write_text(json.dumps({"path": archive.path}))
    return archive


def last_used(memory: Path) -> Path | None:
    """The folder of the archive that was used last, as the state folder remembers it; None for none."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        return Path(json.loads(memory.read_bytes())["path"])
    return None


def _refuse_folder(config: Config, folder: Path) -> None:
    """ArchiveError for an archive in the mounted tree, or on a drive that is not to be changed."""
    if config.drive and folder.is_relative_to(config.mount.path):
        raise ArchiveError(f"{folder} lies in the mounted tree. Name the archive's folder on a drive.")
    for drive in config.drive:
        if drive.mode == "ro" and folder.is_relative_to(drive.path.resolve()):
            raise ArchiveError(f"{folder} lies on drive {drive.name}, which is read-only by its configuration.")


def maybe_opened(config: Config, folder: Path | None) -> Archive | None:
    """As `opened`, None where there is none yet. ArchiveError, OSError."""
    with contextlib.suppress(ArchiveError):
        return opened(config, folder)
    return None


class _Catalog:
    """Hashes that the index has."""

    def __init__(self, contents: Contents) -> None:
        self._contents = contents

    def hash_of(self, path: str, size: int, mtime_ns: int) -> str | None:
        entry = self._contents.entry(os.fsencode(path))
        if entry is None or entry.hash is None or (entry.size, entry.mtime_ns) != (size, mtime_ns):
            return None
        return entry.hash.hex()


def known_hashes(config: Config) -> KnownHashes:
    """The hashes that need not be computed again: those of the index, where there is one."""
    file = StateFolder(config.state.path).contents
    try:
        return _Catalog(Contents(file)) if file.exists() else NothingKnown()
    except ContentsError as error:
        warn(f"{error} Going on without it.")
        return NothingKnown()


def chosen_medium(name: str, ecc: str, no_spare: bool) -> Medium:
    """The medium that --media, --ecc and --no-spare mean; ends the command if they mean none."""
    try:
        share = float(ecc.rstrip("% ")) / 100
        if not 0 <= share <= 5:
            raise ValueError
    except ValueError:
        fail(f"--ecc {ecc} is no share.", "Write it as in --ecc 20%, or 0 for none.")
    try:
        return medium(
            name.lower(), size=None if name.lower() in MEDIA else parse_size(name), spare=not no_spare, ecc=share
        )
    except ValueError:
        fail(
            f"--media {name} is no medium.", f"There are {', '.join(MEDIA)}; or give the bytes of a disc, as in 4.7GB."
        )


def sources(config: Config, words: Sequence[str], drive: str | None) -> list[Source]:
    """The folders that people mean: below a drive, in the tree (then on every drive that has them), or any others.

    With `drive` only what lies on it, all of it without words. Ends the command for what is not there. OSError.
    """
    known = pool.remembered(StateFolder(config.state.path).names)
    found = pool.look_at(config, known)
    try:
        drives = []
        for one in found:
            if not isinstance(one, Drive):
                warn(str(one))
            elif one.problem is not None:
                warn(f"{one.problem}. What lies on it is not archived.")
            else:
                drives.append(one)
        if drive is not None:
            drives = [one for one in drives if one.name == drive]
            if not drives:
                fail(f"There is no drive {drive!r}, or it is missing.", "mediapool pool status shows the drives.")
        places = [Place(one.path, one.id) for one in drives]
        wanted = [source for word in words for source in _meant(config, word, places, drive)]
        return wanted if words else [Source(place, "", "") for place in places]
    finally:
        pool.close(found)


def refuse_read_only(config: Config, wanted: Sequence[Source]) -> None:
    """End the command if files are to leave a drive that the configuration calls read-only."""
    for drive in config.drive:
        if drive.mode == "ro" and any(source.place.path == os.path.realpath(drive.path) for source in wanted):
            fail(f"Drive {drive.name} is read-only by its configuration.", "Leave it out, or change its mode.")


def _meant(config: Config, word: str, places: Sequence[Place], drive: str | None) -> list[Source]:
    path = os.path.realpath(word)
    tree = os.path.realpath(config.mount.path)
    if config.drive and os.path.commonpath([path, tree]) == tree:
        return _on_drives(os.path.relpath(path, tree), places, word)
    for place in places:
        if os.path.commonpath([path, place.path]) == place.path:
            return _on_drives(os.path.relpath(path, place.path), [place], word)
    if drive is not None:
        return _on_drives(word.strip("/"), places, word)
    if not os.path.isdir(path):
        fail(f"{word} is no folder.", "Name the folders whose files are to be archived.")
    return [Source.plain(path)]


def _on_drives(rel: str, places: Sequence[Place], word: str) -> list[Source]:
    rel = "" if rel == "." else rel
    there = [place for place in places if os.path.isdir(os.path.join(place.path, rel))]
    if not there:
        fail(f"No drive that is there has a folder {word}.", "mediapool pool status shows the drives.")
    # The same paths as in the tree, so that files may go back to where they were.
    return [Source(place, rel, "") for place in there]


class Meter:
    """Shows on a terminal how far long work is, its rate and the time left."""

    def __init__(self) -> None:
        self._what = ""
        self._began = 0.0
        self._from = 0
        self._shown = 0.0

    def __call__(self, what: str, path: str, done: int, total: int) -> None:
        """`done` of `total` bytes of the work called `what`, at `path` just now."""
        now = time.monotonic()
        if what != self._what:
            self._what, self._began, self._from = what, now, done
        if now - self._shown < 0.2:
            return
        self._shown = now
        rate = (done - self._from) / max(now - self._began, 0.001)
        left = f", {(total - done) / rate:.0f} s left" if rate else ""
        share = 100 * done / total if total else 100.0
        progress(f"{what} {share:.0f} %, {human_size(int(rate))}/s{left}: {path}")

    def share(self, what: str, path: str, share: float) -> None:
        """The same for work of which only a share is known, 0 to 1."""
        if time.monotonic() - self._shown >= 0.2:
            self._shown = time.monotonic()
            progress(f"{what} {100 * share:.0f} %: {path}")


def run_job(archive: Archive, job: Job, *, back: bool) -> None:
    """Build, or bring the files back, with progress. ArchiveError, OSError; Ctrl-C leaves it to be gone on with."""
    work = Build(archive, job, hear=Meter())
    go_on = f"Go on with: mediapool {f'jobs undo {job.id}' if back else 'archive build'}"
    try:
        work.undo() if back else work.run()
    except KeyboardInterrupt:
        progress("")
        fail("Interrupted; every file is whole, here or there.", go_on)
    except OSError as error:
        progress("")
        fail(f"{error.filename or archive.path}: {error.strerror}. Every file is whole, here or there.", go_on)
    progress("")


def left_as_json(left: Sequence[Left]) -> list[dict[str, Any]]:
    """What is not archived, for programs."""
    return [{**named(one.path), "reason": one.reason} for one in left]


def refuse_unfinished(archive: Archive) -> None:
    """End the command if a job was cut off: its files are neither here nor there."""
    job = jobs.unfinished(archive)
    if job is not None:
        go_on = f"mediapool jobs undo {job.id}"
        if job.phase == "building":
            go_on = f"mediapool archive build (or take it back: {go_on})"
        fail(f"Job {job.id} was interrupted while {job.phase}.", f"Go on with: {go_on}")
