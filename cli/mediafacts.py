"""Media facts in a running mount: what the catalog knows is told at once, what it lacks of remote files is looked at.

Local files are looked at by `index crawl`. A remote file is looked at once, when somebody asks for its facts, when its
head and tail were warmed, or by the check of a download. What is looked at of our own accord was warmed first, which
keeps to the daily budget and gives way to readers; then ffprobe reads it through the mount, and is refused whatever
does not lie in the head and tail. So a look costs 1 MiB at most, and a second one nothing.

Lock order: `_changed` comes before the locks of `Warmer` and `Reader`; nothing is read or asked with it held.
"""

import errno
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from cli.mountcontents import MountContents
from indexer.contents import Contents
from indexer.likely import by_name
from indexer.media import glance, probe
from indexer.mediafacts import text_of
from indexer.mediatable import Media, Probed, RemoteKey
from indexer.verdicts import NotMedia, ProbeFailed, ProbeTrouble
from indexer.wholeness import Bytes, refuse_other_kinds
from vfs.about import MediaTold
from vfs.branch import Branch
from vfs.budget import PROBE, DailyBudget
from vfs.library import Key
from vfs.local import LocalBranch
from vfs.lookup import Copy
from vfs.nodes import RemoteFile
from vfs.pins import Pins
from vfs.planting import PROVIDER
from vfs.reader import Reader
from vfs.remote import RemoteBranch
from vfs.warming import QUEUED, YIELD, Warmer, in_edges

log = logging.getLogger(__name__)

NOT_ENOUGH = "its first and last 512 KiB do not say; pin it, then they are known"
_SECONDS = 30.0
# Bytes of packets that ffprobe looks at: a little fewer than the head has, since some formats show late what they hold.
_PACKETS = 500_000
# Seconds until what could not be read is tried again.
_AGAIN = 600.0


class MediaFacts:
    """As `vfs.about.MediaKnowledge`. Thread-safe."""

    def __init__(
        self,
        catalog: Path,
        remote: RemoteBranch,
        pins: Pins,
        warmer: Warmer,
        reader: Reader,
        budget: DailyBudget,
        mount: Path,
    ) -> None:
        self._contents = MountContents(catalog)
        self._remote, self._pins, self._mount = remote, pins, os.fsencode(mount)
        self._warmer, self._reader, self._budget = warmer, reader, budget
        warmer.warmed, remote.reading = self._warmed, self.reading
        self._roots: dict[str, bytes] = {}
        self._changed = threading.Condition()
        self._queue: deque[Key] = deque()
        self._pending: set[Key] = set()
        self._later: dict[Key, float] = {}
        self._alone: set[Key] = set()
        self._looking: RemoteFile | None = None
        self._refused = False
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to look, once the tree is mounted."""
        self._thread = threading.Thread(target=self._work, name="media facts", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End what is under way."""
        self._stop.set()
        with self._changed:
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(5)
        self._contents.close()

    # What is told. Called by the filesystem's threads.

    def tell(self, copy: Copy, path: str) -> MediaTold | None:
        """As `MediaKnowledge.tell`; a remote film that nobody has looked at is looked at soon."""
        if isinstance(copy.branch, LocalBranch):
            return self._of_local(copy.branch, path, copy.attr.size, copy.attr.mtime_ns)
        if isinstance(copy.branch, RemoteBranch):
            node = copy.branch.names.find(path)
            return self._of_remote(node, path) if isinstance(node, RemoteFile) else None
        return None

    def _of_local(self, branch: LocalBranch, path: str, size: int, mtime_ns: int) -> MediaTold | None:
        if not self._contents.is_open():
            self._wake()
        place = os.path.join(self._root(branch), os.fsencode(path))
        media = self._contents.ask(lambda contents: _of_path(contents, place, size, mtime_ns)) or Media()
        if media.facts is not None or media.problem is not None:
            return _told(Probed(media.facts, media.problem))
        return MediaTold("unknown") if by_name(place, size) else None

    def _root(self, branch: LocalBranch) -> bytes:
        """The real path of a drive, as it is in the catalog."""
        path = branch.drive.path
        if path not in self._roots and branch.drive.present:
            self._roots[path] = os.path.realpath(os.fsencode(path))
        return self._roots.get(path, os.fsencode(path))

    def _of_remote(self, node: RemoteFile, path: str) -> MediaTold | None:
        known = self._contents.ask(lambda contents: contents.media.of_remote(_key(node.key)))
        if known is not None and not (known.problem == NOT_ENOUGH and self._is_pinned(node)):
            return _told(known)
        if not by_name(os.fsencode(path), node.size):
            return None
        return MediaTold("waiting" if self._want(node) else "unknown")

    def _is_pinned(self, node: RemoteFile) -> bool:
        pin = self._pins.get(node.ino)
        return pin is not None and pin.digest is not None and pin.goal != "unpin"

    def _want(self, node: RemoteFile) -> bool:
        """Whether somebody will look at it; its head and tail are fetched first, unless all of it is here."""
        with self._changed:
            if node.key in self._pending:
                return True
            if self._stop.is_set() or self._later.get(node.key, 0.0) > time.monotonic():
                return False
            self._pending.add(node.key)
            if self._is_pinned(node):
                self._queue.append(node.key)
                self._changed.notify_all()
                return True
        if self._warmer.add([(node.key, node.size)], first=True):
            return True
        self._given_up(node.key)
        return False

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    # What is asked by others.

    def reading(self, key: Key, offset: int, size: int) -> None:
        """As `DailyBudget.reading`; also refuses (EIO) what ffprobe, looking for us, wants beside head and tail."""
        self._budget.reading(key)
        node = self._looking
        if node is None or node.key != key or in_edges(offset, size, node.size):
            return
        if self._budget.is_ours(self._budget.pid()):
            self._refused = True
            raise OSError(errno.EIO, "only the head and tail of a file are looked at")

    @contextmanager
    def alone_with(self, key: Key | None) -> Iterator[None]:
        """Nobody else looks at this content inside the block: what one is refused another would miss."""
        with self._changed:
            while key in self._alone:
                self._changed.wait()
            if key is not None:
                self._alone.add(key)
        try:
            yield
        finally:
            with self._changed:
                if key is not None:
                    self._alone.discard(key)
                self._changed.notify_all()

    def learned(self, key: Key | None, size: int, probed: Probed) -> None:
        """A look at all of this content of `size` bytes brought this; None: it is local. May wait."""
        if key is not None:
            self._contents.tell(lambda contents: contents.media.tell_remote(_key(key), size, probed))

    # Looking.

    def _warmed(self, key: Key, good: bool) -> None:
        with self._changed:
            if good and len(self._queue) < QUEUED and not self._stop.is_set():
                self._pending.add(key)
                self._queue.append(key)
                self._changed.notify_all()
                return
        self._given_up(key)

    def _given_up(self, key: Key) -> None:
        """Nobody looks at it for now; who asked for it is told so for a while."""
        now = time.monotonic()
        with self._changed:
            if key in self._pending:
                self._pending.discard(key)
                self._later = {other: until for other, until in self._later.items() if until > now}
                self._later[key] = now + _AGAIN

    def _work(self) -> None:
        while not self._stop.is_set():
            self._contents.open()
            with self._changed:
                if not self._queue and not self._stop.is_set():
                    self._changed.wait()
                key = self._queue.popleft() if self._queue and not self._stop.is_set() else None
            if key is None:
                continue
            try:
                self._look(key)
            except Exception:
                log.exception("looking at %s failed", key)
            with self._changed:
                self._pending.discard(key)

    def _look(self, key: Key) -> None:
        node = self._remote.names.file_of(key)
        paths = [] if node is None else [os.fsencode(path) for path in self._remote.names.paths_of([node])]
        path = next((path for path in paths if node is not None and by_name(path, node.size)), None)
        if node is None or path is None:
            return
        pinned = self._is_pinned(node)
        known = self._contents.ask(lambda contents: contents.media.of_remote(_key(key)))
        if known is not None and not (known.problem == NOT_ENOUGH and pinned):
            return
        with self.alone_with(key):
            probed = self._probed(path, node) if pinned else self._glanced(path, node)
        if probed is None:
            self._given_up(key)
        else:
            self.learned(key, node.size, probed)

    def _probed(self, path: bytes, node: RemoteFile) -> Probed | None:
        try:
            facts = probe(
                self._mount + b"/" + path, seconds=_SECONDS, cancel=self._stop, opened=lambda: self._opened(path, node)
            )
            return Probed(text_of(facts), None)
        except (NotMedia, ProbeFailed) as verdict:
            return Probed(None, verdict.reason)
        except ProbeTrouble as trouble:
            log.info("%s is not looked at: %s", os.fsdecode(path), trouble)
            return None

    def _glanced(self, path: bytes, node: RemoteFile) -> Probed | None:
        """What its head and tail say."""
        while self._reader.stats().streams and not self._stop.wait(YIELD):
            pass
        self._looking, self._refused = node, False
        try:
            whole = self._mount + b"/" + path
            return Probed(text_of(glance(whole, most=_PACKETS, seconds=_SECONDS, cancel=self._stop)), None)
        except (NotMedia, ProbeFailed) as verdict:
            return Probed(None, self._why(path, node) if self._refused else verdict.reason)
        except ProbeTrouble as trouble:
            if self._refused:
                return Probed(None, self._why(path, node))
            log.info("%s is not looked at: %s", os.fsdecode(path), trouble)
            return None
        finally:
            self._looking = None

    def _opened(self, path: bytes, node: RemoteFile) -> AbstractContextManager[Bytes]:
        return opened(self._remote, os.fsdecode(path), node.size, self._budget)

    def _why(self, path: bytes, node: RemoteFile) -> str:
        """Why the head and tail of a file did not say what it is."""
        try:
            with self._opened(path, node) as file:
                refuse_other_kinds(file)
        except NotMedia as verdict:
            return verdict.reason
        except OSError as error:
            log.info("%s cannot be read: %s", os.fsdecode(path), error)
        return NOT_ENOUGH


@contextmanager
def opened(branch: Branch, path: str, size: int, budget: DailyBudget) -> Iterator[Bytes]:
    """A file of the tree, read without the kernel: who waits for his own answer when he is killed never ends."""
    handle = branch.open(path, os.O_RDONLY)
    try:
        with budget.as_work(PROBE):
            yield Bytes(size, handle.read)
    finally:
        handle.close()


def _key(key: Key) -> RemoteKey:
    return (PROVIDER, *key)


def _of_path(contents: Contents, path: bytes, size: int, mtime_ns: int) -> Media | None:
    """What is known of the content of a file; None unless it still has the size and time that the catalog knows."""
    entry = contents.entry(path)
    if entry is None or entry.hash is None or (entry.size, entry.mtime_ns) != (size, mtime_ns):
        return None
    return contents.media.of(entry.hash)


def _told(probed: Probed) -> MediaTold:
    return MediaTold("failed" if probed.facts is None else "known", *probed)
