"""The life of a download: one step after the other, each recorded before the call it is about.

    ADDING ──> CONVERTING ──> FETCHING ──> PUBLISHING ──> CHECKING ──> MOVING ──> COMPLETE
      no slot free,  files known  the provider    names under   every file   one rename  import, or
      or the way     and chosen   downloads it    incomplete    looked at    to complete removal by a client
      there is down

Whatever ends it for good is a `Failed`: what it left in the tree is withdrawn, what was added for it and never shown
leaves the account at once, the rest as everything does whose last name is gone. What passes by itself only makes it
wait. Every step may be repeated: a kill at any moment, and the next start goes on with the stage that is recorded.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from debrid import errors
from debrid.client import Client
from debrid.contents import Contents, NotYet, PublishedFile
from debrid.downloads.adding import Adding, Waiting
from debrid.downloads.ports import Inspector, Keeper, Reporter, Tree
from debrid.downloads.record import LINK, UNSETTLED, Download, Stage, Verdict, Wanted
from debrid.downloads.selection import is_probed, main_files
from debrid.downloads.verdicts import Failed
from debrid.errors import AuthError, DebridError, SlotsFull, TemporaryError
from debrid.store import PACK, Store
from debrid.torrents import addition_of
from debrid.transport import Budget

log = logging.getLogger(__name__)

_LOOKS = (0.3, 1.0, 2.0, 2.0, 2.0)  # seconds between looks in which cached content is recognised
_NO_SLOT = 15.0  # seconds
_NOT_NOW = 20.0
_PATIENCE = 600.0  # who has to wait longer for the links of what is finished will not get them
_DOUBTS = 5  # tries after which an error about one torrent is believed
_LONGEST_CHECK = 24 * 3600.0  # seconds in which the files of a download have to become readable
_WATCH, _WATCH_LATER = 5.0, 60.0  # seconds between looks whether it was imported
_SOON = 3600.0  # after it is complete
_REPORT_AGAIN = 60.0
_REPORTS = 60
_NEVER = 365 * 24 * 3600.0

ROOTS = {"torrent": "torrents", LINK: "ddl"}


@dataclass(frozen=True, slots=True)
class Parts:
    """What a life is made of; `wanted` answers what the configuration says about a category."""

    client: Client
    store: Store
    tree: Tree
    inspector: Inspector
    wanted: Callable[[str], Wanted]
    reporter: Reporter | None = None
    keeper: Keeper | None = None
    clock: Callable[[], float] = time.time


class Life:
    """Thread-safe, as long as no two threads work on one download. `put` records a download at once."""

    def __init__(self, parts: Parts, put: Callable[[Download], None]) -> None:
        self._client, self._store, self._tree, self._put = parts.client, parts.store, parts.tree, put
        self._inspector, self._wanted, self._clock = parts.inspector, parts.wanted, parts.clock
        self._reporter, self._keeper = parts.reporter, parts.keeper
        self._contents = Contents(parts.client, parts.store, parts.clock)
        self._adding = Adding(parts.client, parts.store, put, parts.clock)

    def step(self, download: Download, budget: Budget) -> Download | None:
        """One step, or why it waits (`problem`, `retry_at`); None: nothing is left of it.

        Raises Interrupted and StoreError; then the next call repeats the step.
        """
        try:
            done = self._step(download, budget)
        except (errors.Interrupted, errors.StoreError):
            raise
        except Failed as failure:
            return self._failed(download, failure)
        except (Waiting, NotYet) as reason:
            if isinstance(reason, NotYet) and reason.seconds > _PATIENCE:
                return self._failed(download, Failed("dead", str(reason)))
            return self._waits(download, str(reason), reason.seconds)
        except SlotsFull:
            return self._waits(download, "", _NO_SLOT)
        except (DebridError, OSError) as error:
            return self._hindered(download, error)
        if done is not None and done.stage is not download.stage:
            log.debug("download %s: %s", download.hash, done.stage)
            return replace(done, changed_at=self._clock(), tries=0, retry_at=0.0, problem="")
        return done

    def _step(self, download: Download, budget: Budget) -> Download | None:
        if download.paused and download.stage in UNSETTLED:
            raise Waiting("", _NEVER)
        profile = self._wanted(download.category).files
        match download.stage:
            case Stage.ADDING:
                return self._adding.add(download, profile, budget)
            case Stage.CONVERTING:
                return self._adding.convert(download, profile, budget)
            case Stage.FETCHING:
                return self._fetch(download, budget)
            case Stage.PUBLISHING:
                return self._publish(download, budget)
            case Stage.CHECKING:
                return self._check(download)
            case Stage.MOVING:
                return self._move(download)
            case Stage.COMPLETE:
                return self._watch(download)
            case Stage.FAILED:
                return self._report(download, budget)
            case Stage.DELETING:
                self._take_back(download, budget)
                return None

    # -- when it does not go on

    def _waits(self, download: Download, problem: str, seconds: float) -> Download:
        latest = self._latest(download)
        # What failed says why it failed, whatever hinders its end.
        problem = latest.problem if latest.stage is Stage.FAILED else problem
        return replace(latest, problem=problem, retry_at=self._clock() + seconds, tries=download.tries + 1)

    def _latest(self, download: Download) -> Download:
        """As last recorded: a step may have recorded more than it could return."""
        return self._store.downloads.get(download.hash) or download

    def _hindered(self, download: Download, error: DebridError | OSError) -> Download:
        until = error.retry_after if isinstance(error, DebridError) else None
        pause = max(until or 0.0, min(_NOT_NOW * 2 ** min(download.tries, 5), 600.0) / 10)
        log.info("download %s waits %.0f s: %s", download.name, pause, error)
        if download.stage is Stage.CHECKING and self._clock() > download.changed_at + _LONGEST_CHECK:
            return self._failed(download, Failed("dead", f"it could not be read for a day: {error}"))
        passing = isinstance(error, OSError | TemporaryError | AuthError)
        if not passing and download.stage in UNSETTLED and download.tries >= _DOUBTS:
            return self._failed(download, Failed("dead", str(error)))
        # Clients see this, and the path of an OSError may lie outside the tree.
        told_to_clients = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
        return self._waits(download, told_to_clients, pause)

    def _failed(self, download: Download, failure: Failed) -> Download:
        log.warning("download %s failed: %s", download.name, failure)
        now = self._clock()
        if download.kind != LINK:
            self._store.downloads.judge(download.hash, Verdict(failure.kind, str(failure), now))
        latest = self._latest(download)
        return replace(latest, stage=Stage.FAILED, problem=str(failure), changed_at=now, retry_at=0.0, tries=0, speed=0)

    # -- at the provider

    def _fetch(self, download: Download, budget: Budget) -> Download:
        info = self._adding.info(download, budget)
        if info.is_finished:
            return replace(download, stage=Stage.PUBLISHING, progress=1.0, speed=0, problem="")
        if info.status == "waiting_files_selection":
            return replace(download, stage=Stage.CONVERTING)
        refuses = self._wanted(download.category).uncached == "refuse"
        if refuses and download.tries >= len(_LOOKS):
            raise Failed("uncached", 'Real-Debrid does not have it yet (uncached = "refuse")')
        tries = download.tries
        pause = _LOOKS[tries] if tries < len(_LOOKS) else min(5.0 + (self._clock() - download.changed_at) / 60, 30.0)
        return replace(
            download,
            progress=min(info.progress / 100, 0.999),
            speed=info.speed,
            seeders=info.seeders,
            problem="",
            tries=tries + 1,
            retry_at=self._clock() + pause,
        )

    # -- in the tree

    def _publish(self, download: Download, budget: Budget) -> Download:
        files, own = self._files(download, budget), f"client:{download.hash}"
        folder = self._tree.folder(ROOTS[download.kind], "incomplete", download.category)
        name = files[0].path[-1] if download.single else download.name
        additions = [own, addition_of(download.torrent)] if download.torrent else [own]
        path = self._tree.show(additions, folder, name, files, download.single)
        self._note(download, path)
        return replace(download, stage=Stage.CHECKING, path=path)

    def _note(self, download: Download, path: str) -> None:
        """Its addition is published; what people added, and the poller published, stays where that is."""
        torrent = self._store.torrent(download.torrent) if download.torrent else None
        if torrent is not None and (torrent.path is None or self._store.added_here(torrent.id)):
            self._store.set_published(torrent.id, path)

    def _files(self, download: Download, budget: Budget) -> list[PublishedFile]:
        if download.kind == LINK:
            item = download.items[0]
            return [PublishedFile((item.path.lstrip("/"),), (LINK, download.hash, "1"), item.bytes, self._now_ns())]
        torrent = self._store.torrent(download.torrent)
        if torrent is None:
            raise Waiting("", 1.0)
        files, problem = self._contents.files(torrent, budget)
        wanted = {str(each.id) for each in download.wanted}
        shown = [each for each in files if each.key[2].partition("/")[0] in wanted]
        if any(each.key[2] == str(PACK) for each in files):
            raise Failed("fake", f"{problem}: its files cannot be shown")
        if not shown or problem:
            raise Failed("dead", problem or "Real-Debrid gives no link for its files")
        return shown

    def _now_ns(self) -> int:
        return int(self._clock() * 10**9)

    def _check(self, download: Download) -> Download:
        found = self._tree.contents(download.path, download.content)
        if not found:
            raise Failed("dead", "its files were removed before it was complete")
        for path, _ in found:
            kind = "video" if is_probed(path) else "other"
            problem = self._inspector.check(path, kind)
            if problem is not None:
                raise Failed("fake", f"{path.rpartition('/')[2]}: {problem}")
        return replace(download, stage=Stage.MOVING, target="")

    def _move(self, download: Download) -> Download:
        if download.target and self._tree.contents(download.target, download.content):
            return self._complete(download)
        folder = self._tree.folder(ROOTS[download.kind], "complete", download.category)
        while True:
            name = download.path.rpartition("/")[2]
            download = replace(download, target=self._tree.free(folder, name, download.hash))
            self._put(download)
            try:
                if self._tree.move(download.path, download.target):
                    return self._complete(download)
            except FileExistsError:
                continue  # somebody took the name between the look and the rename
            raise Failed("dead", "its files were removed before it was complete")

    def _complete(self, download: Download) -> Download:
        log.info("%s is complete: %s", download.name, download.target)
        self._note(download, download.target)
        keep = self._wanted(download.category).keep
        if self._keeper is not None and keep != "remote":
            self._keeper.keep(keep, [download.target])
        files = self._tree.contents(download.target, download.content)
        return replace(
            download,
            stage=Stage.COMPLETE,
            path=download.target,
            target="",
            only=files[0][0] if len(download.items) == 1 and len(files) == 1 else "",
            done_at=self._clock(),
            problem="",
        )

    def _watch(self, download: Download) -> Download:
        """Whether all that matters of it has a name elsewhere, so that it was imported by links, or was moved away."""
        wanted = self._wanted(download.category)
        if download.imported or wanted.importing != "link":
            return replace(download, retry_at=self._clock() + _NEVER)
        local = _became(download) if wanted.keep == "download" else []
        left = self._tree.unlinked(download.path, download.content, local)
        names = [each.path.rpartition("/")[2] for each in download.wanted]
        matters = {path.rpartition("/")[2] for path in main_files(names, wanted.files)}
        imported = not any(path.rpartition("/")[2] in matters for path in left)
        pause = _WATCH if self._clock() < download.done_at + _SOON else _WATCH_LATER
        return replace(download, imported=imported, retry_at=self._clock() + pause)

    # -- its end

    def _report(self, download: Download, budget: Budget) -> Download | None:
        """Take back what it left, and tell Sonarr or Radarr, who then forget it and so do we."""
        if download.path or download.torrent:
            self._take_back(download, budget)
            download = replace(download, path="", torrent="")
            self._put(download)
        if self._reporter is None or download.kind == LINK or download.tries >= _REPORTS:
            return replace(download, retry_at=self._clock() + _NEVER)
        if self._reporter.failed(download.hash, download.category, download.problem):
            return None
        # It is told within seconds, or takes as long as the service is away.
        pause = min(_REPORT_AGAIN, 2.0 * 2 ** min(download.tries, 10))
        return replace(download, tries=download.tries + 1, retry_at=self._clock() + pause)

    def _take_back(self, download: Download, budget: Budget) -> None:
        keeps = self._wanted(download.category).keep == "download" and download.done_at
        local = _became(download) if keeps else []
        for path in filter(None, dict.fromkeys((download.path, download.target))):
            self._tree.withdraw(path, download.content, local)
        torrent = self._store.torrent(download.torrent) if download.torrent else None
        shown = torrent is not None and torrent.path is not None
        if download.torrent and not shown and self._store.added_here(download.torrent):
            # It never had a name, so nothing of it is used.
            self._client.delete_torrent(download.torrent, budget)
            self._store.forget(download.torrent)


def _became(download: Download) -> list[tuple[str, int]]:
    """Names and sizes of the local files that it may have become."""
    return [(each.path.rpartition("/")[2], each.bytes) for each in download.wanted]
