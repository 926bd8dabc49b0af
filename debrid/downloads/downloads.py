"""All downloads: what clients see and ask, from memory, and the threads that go on with them.

Lock order: `_changed`, then the store's; no call of the provider and no look at the tree is made while it is held. A
download in `_busy` is in the hands of one thread; what clients change meanwhile (category, tags, pause, removal) is
kept when its result comes back.
"""

import hashlib
import logging
import threading
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace

from debrid import errors
from debrid.downloads import verdicts
from debrid.downloads.life import Life, Parts
from debrid.downloads.record import LINK, TORRENT, Download, Stage
from debrid.downloads.sources import Source
from debrid.transport import Budget, Interrupt

log = logging.getLogger(__name__)

_THREADS = 4
_STEP_SECONDS = 120.0
_STOP_SECONDS = 15.0
_VERDICT_SECONDS = 25.0  # within the time-outs of all clients, the shortest of which is 100 s
_MOST_WAITING = 6  # requests; others are answered before there is a verdict
_LONG = 10.0  # seconds; who rests so long before the next step has no verdict soon
_TROUBLE = 30.0  # seconds after a bug or a full disk
_LONGEST_SLEEP = 30.0
_OPEN = frozenset({Stage.ADDING, Stage.CONVERTING, Stage.FETCHING})


class Refused(Exception):
    """It will not be downloaded; the text says why."""


class Downloads:
    """Thread-safe."""

    def __init__(self, parts: Parts, *, threads: int = _THREADS, verdict_seconds: float = _VERDICT_SECONDS) -> None:
        """Raises StoreError."""
        self._log, self._tree, self._wanted, self._clock = parts.store.downloads, parts.tree, parts.wanted, parts.clock
        self._life = Life(parts, self._put)
        self._count, self._verdict_seconds = threads, verdict_seconds
        self._changed = threading.Condition()
        self._all = {each.hash: each for each in self._log.all()}
        self._busy: set[str] = set()
        self._awaited: dict[str, str] = {}  # hashes somebody waits for a verdict on, and why it is refused
        self._interrupt = Interrupt()
        self._threads: list[threading.Thread] = []

    # -- running

    def start(self) -> None:
        """Go on with everything, in threads of its own, until `stop`."""
        self._interrupt = Interrupt()
        with self._changed:
            # What waited for something outside has waited long enough: the world may be another one by now.
            self._all = {key: replace(each, retry_at=0.0) for key, each in self._all.items()}
        for number in range(self._count):
            thread = threading.Thread(target=self._run, name=f"downloads-{number}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """End the threads, in the middle of a call if need be; the next start goes on with each download."""
        self._interrupt.set()
        with self._changed:
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(_STOP_SECONDS)
        self._threads.clear()

    # -- asking

    def all(self) -> list[Download]:
        """Every download that clients know, the oldest first."""
        return [each for each in list(self._all.values()) if each.stage is not Stage.DELETING]

    def get(self, info_hash: str) -> Download | None:
        """One of them."""
        found = self._all.get(info_hash)
        return None if found is None or found.stage is Stage.DELETING else found

    # -- adding

    def add(
        self,
        source: Source,
        *,
        category: str = "",
        tags: Collection[str] = (),
        paused: bool = False,
        folder: bool = False,
        name: str = "",
    ) -> None:
        """Download a torrent. Raises Refused once it is known that it will not be had; returns when it may be.

        The only call that waits for the provider, for a bounded time. A torrent that is known already is taken for
        added, whatever its category; one whose names are all gone gets new ones.
        """
        new = Download(
            hash=source.hash,
            kind=TORRENT,
            stage=Stage.ADDING,
            name=name or source.name,
            source=source.magnet,
            v2=source.v2,
            category=category,
            tags=tuple(tags),
            paused=paused,
            folder=folder,
        )
        self._add(new, source.metainfo)

    def add_link(self, link: str, *, category: str = "") -> str:
        """Download what a link of a hoster leads to; how the download is known. Raises Refused."""
        digest = hashlib.sha256(link.encode()).hexdigest()
        self._add(Download(digest, LINK, Stage.ADDING, link.rpartition("/")[2] or link, link, category=category), b"")
        return digest

    def _add(self, new: Download, metainfo: bytes) -> None:
        verdict = self._log.verdict(new.hash)
        if verdict and verdicts.holds(verdict, self._clock(), self._wanted(new.category).uncached):
            raise Refused(verdict.reason)
        with self._changed:
            known = self._settled(new.hash)
        if known is not None and known.stage is Stage.FAILED and (known.path or known.torrent):
            raise Refused(known.problem)  # what the last try left behind is not cleared away yet
        if known is not None and known.stage is not Stage.FAILED and not self._emptied(known):
            return
        if known is not None and known.path:
            self._tree.withdraw(known.path, known.content)  # empty folders, which would hold its name
        with self._changed:
            now = self._clock()
            self._record(replace(new, added_at=now, changed_at=now))
            if metainfo:
                self._log.set_metainfo(new.hash, metainfo)
            self._changed.notify_all()
            self._await_verdict(new.hash)

    def _settled(self, info_hash: str) -> Download | None:
        """The download as it is once its removal, if one is under way, is done."""
        gone = self._changed.wait_for(lambda: not self._is_leaving(info_hash), self._verdict_seconds)
        if not gone:
            raise Refused("it is being removed; try again later")
        return self._all.get(info_hash)

    def _is_leaving(self, info_hash: str) -> bool:
        found = self._all.get(info_hash)
        return bool(self._threads) and found is not None and found.stage is Stage.DELETING

    def _emptied(self, known: Download) -> bool:
        return known.complete and not self._tree.contents(known.path, known.content)

    def _await_verdict(self, info_hash: str) -> None:
        if len(self._awaited) >= _MOST_WAITING or not self._threads:
            return
        self._awaited[info_hash] = ""
        try:
            self._changed.wait_for(lambda: self._is_decided(info_hash), self._verdict_seconds)
        finally:
            refusal = self._awaited.pop(info_hash, "")
        if refusal:
            raise Refused(refusal)

    def _is_decided(self, info_hash: str) -> bool:
        found = self._all.get(info_hash)
        if self._awaited.get(info_hash) or self._interrupt.is_set or found is None:
            return True
        if found.stage not in _OPEN or found.paused or found.problem:
            return True
        if found.stage is Stage.FETCHING:
            return self._wanted(found.category).uncached != "refuse"
        # No slot is free, for one: it waits here, and longer than anybody waits for an answer.
        return found.retry_at > self._clock() + _LONG

    def _refused(self, result: Download) -> Download:
        """Whoever waits for the verdict asks elsewhere then, so nothing of it is shown."""
        if result.stage is not Stage.FAILED or result.hash not in self._awaited:
            return result
        self._awaited[result.hash] = result.problem
        return replace(result, stage=Stage.DELETING)

    # -- what clients change

    def delete(self, hashes: Iterable[str], with_files: bool) -> None:
        """Forget these, and take what was not imported out of the tree; one that is not complete goes altogether."""
        with self._changed:
            for found in self._those(hashes):
                if found.complete and not with_files:
                    self._drop(found.hash)
                else:
                    self._record(replace(found, stage=Stage.DELETING, retry_at=0.0, tries=0))
            self._changed.notify_all()

    def pause(self, hashes: Iterable[str], paused: bool) -> None:
        """What is not complete goes no further, or goes on."""
        self._change(hashes, lambda found: replace(found, paused=paused, retry_at=0.0))

    def set_category(self, hashes: Iterable[str], category: str) -> None:
        """From now on; what is complete stays where it is."""
        self._change(hashes, lambda found: replace(found, category=category))

    def set_tags(self, hashes: Iterable[str], change: Callable[[tuple[str, ...]], tuple[str, ...]]) -> None:
        """Change the tags of these."""
        self._change(hashes, lambda found: replace(found, tags=change(found.tags)))

    def note_copied(self, content: str, text: str) -> None:
        """Somebody copied a file of this content instead of linking it."""
        self._change(
            (each.hash for each in self.all() if each.content == content), lambda found: replace(found, copied=text)
        )

    def _change(self, hashes: Iterable[str], change: Callable[[Download], Download]) -> None:
        with self._changed:
            for found in self._those(hashes):
                self._record(change(found))
            self._changed.notify_all()

    def _those(self, hashes: Iterable[str]) -> list[Download]:
        return [found for each in hashes if (found := self.get(each)) is not None]

    # -- going on

    def _run(self) -> None:
        while not self._interrupt.is_set:
            found = self._next()
            if found is None:
                continue
            result: Download | None = found
            try:
                result = self._life.step(found, Budget.of(_STEP_SECONDS, interrupt=self._interrupt))
            except errors.Interrupted:
                pass
            except Exception as problem:  # the thread must outlive a full disk, and a bug
                log.error("download %s: %s", found.name, problem, exc_info=not isinstance(problem, errors.StoreError))
                # Clients see this: where our files lie is for the log.
                result = replace(found, problem="it cannot go on; see the log", retry_at=self._clock() + _TROUBLE)
            self._came_back(found, result)

    def _next(self) -> Download | None:
        """What to go on with now; None after a sleep."""
        with self._changed:
            now = self._clock()
            free = [each for each in self._all.values() if each.hash not in self._busy]
            first = min(free, key=lambda each: each.retry_at, default=None)
            if first is not None and first.retry_at <= now:
                self._busy.add(first.hash)
                return first
            left = _LONGEST_SLEEP if first is None else first.retry_at - now
            if not self._interrupt.is_set:
                self._changed.wait(min(left, _LONGEST_SLEEP))
        return None

    def _came_back(self, before: Download, result: Download | None) -> None:
        with self._changed:
            self._busy.discard(before.hash)
            current = self._all.get(before.hash)
            try:
                if result is None:
                    self._drop(before.hash)
                elif current is not None:
                    self._record(_merged(before, current, self._refused(result)))
            except errors.StoreError as error:
                log.error("download %s cannot be recorded: %s", before.name, error)
                self._all[before.hash] = replace(before, retry_at=self._clock() + _TROUBLE)
            self._changed.notify_all()

    def _put(self, download: Download) -> None:
        """A step records what it is about to do."""
        with self._changed:
            current = self._all.get(download.hash)
            self._record(download if current is None else _merged(current, current, download))

    def _record(self, download: Download) -> None:
        """Locked. On disk first, unless nothing but times changed."""
        known = self._all.get(download.hash)
        if known is None or replace(known, retry_at=0.0, tries=0) != replace(download, retry_at=0.0, tries=0):
            self._log.put(download)
        self._all[download.hash] = download

    def _drop(self, info_hash: str) -> None:
        """Locked."""
        self._log.remove(info_hash)
        self._all.pop(info_hash, None)


def _merged(before: Download, current: Download, result: Download) -> Download:
    """What a step made of a download, with what clients changed meanwhile; `before`: as it was when it began."""
    merged = replace(
        result,
        category=current.category,
        tags=current.tags,
        copied=current.copied,
        paused=current.paused,
        retry_at=0.0 if current.paused != before.paused else result.retry_at,
    )
    return replace(merged, stage=Stage.DELETING, retry_at=0.0) if current.stage is Stage.DELETING else merged
