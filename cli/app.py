"""The composition root: the one place that knows every part, makes them, and ties them together."""

import gc
import logging
import threading
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

import vfs.mount
from cli import pool
from cli.announcing import after_reload, announcers, why_incomplete
from cli.answers import Answers
from cli.caching import Caching, cache_gets, cache_posts, open_cache
from cli.catalog import DriveKnowledge
from cli.checking import CHECK, PoolCheck, check_posts
from cli.config import Config
from cli.config_arr import services
from cli.daemon import Daemon, explain_wanted, prune_wanted
from cli.distributed import copies_under_way
from cli.downloading import DOWNLOADS, DownloadClient, PinKeeper
from cli.ending import ending_posts, mount_options
from cli.healing import CHECKUP, Healing
from cli.hooks import Hooks, hooks
from cli.inspecting import Inspector
from cli.keeping import Keeper, open_names
from cli.knowing import PoolKnowledge
from cli.mediafacts import MediaFacts
from cli.members import RELOAD, Members
from cli.moving import job_gets, job_posts
from cli.pinning import PINS, PinJobs, pin_posts
from cli.reports import Reports
from cli.state import StateFolder
from cli.web.wiring import Web
from debrid.budget import Allowance
from debrid.checkup import Checkup
from debrid.client import Client
from debrid.downloads.life import Parts
from debrid.healing import Repairs
from debrid.leaving import Leaving
from debrid.library import Library
from debrid.store import Store
from debrid.torrents import Torrents
from placement.drive import Drive
from placement.jobs import Jobs
from placement.purposes import Pool
from placement.running import MoveJobs
from placement.services.reporter import Reporter
from placement.telling import Teller
from vfs.about import About
from vfs.becoming import KIND as DOWNLOAD
from vfs.becoming import Becoming
from vfs.budget import DailyBudget, Metered, program_of
from vfs.copied import CopiedFile
from vfs.filesystem import FileSystem
from vfs.inodes import Inodes
from vfs.journal import Journal
from vfs.library import Key, RemoteLibrary
from vfs.local import LocalBranch
from vfs.namesdb import NamesDb
from vfs.offering import Offering
from vfs.pinmoving import PinMoving
from vfs.pinning import Pinning
from vfs.pins import Pins
from vfs.planting import Owner
from vfs.publish import Publisher
from vfs.reader import Reader
from vfs.relocating import Relocating
from vfs.remote import NoLibrary, RemoteBranch
from vfs.union import Union
from vfs.warming import Warmer

log = logging.getLogger(__name__)


class App:
    """A mediapool that is about to mount, or mounted; a context manager that closes all its parts."""

    def __init__(self, config: Config) -> None:
        """Open drives, databases, cache and account. Raises StateInUse, DriveError, NamesDamaged, StoreError,
        CacheInUse or OSError; whatever was open is closed again."""
        self.config = config
        self._ending = threading.Event()
        self._closing = ExitStack()
        with self._closing as until_done:
            self._open()
            self._closing = until_done.pop_all()

    def _open(self) -> None:
        config, closing = self.config, self._closing
        self.answers = Answers(self)
        self.web = closing.enter_context(Web(self))
        self.state = StateFolder(config.state.path)
        self.state.acquire()
        closing.callback(self.state.release)
        db, self.names = open_names(config, self.state)
        closing.callback(self.names.close)
        self.drives = pool.open_drives(config, db)
        closing.callback(pool.close, self.drives)
        self._keeper = Keeper(db, self.names, self.drives, self.state)
        self.cache = open_cache(config.cache)
        closing.callback(self.cache.close)
        self.library: Library | None = None
        self.torrents: Torrents | None = None
        self.client: DownloadClient | None = None
        self.budget = DailyBudget(self.state.budget, config.debrid.program_limits, config.debrid.background_budget)
        closing.callback(self.budget.close)
        library = self._open_account() if config.debrid.token else NoLibrary()
        inodes = Inodes(db)
        self.knowledge = DriveKnowledge(self.state, self.drives, inodes.wants_birth)
        closing.callback(self.knowledge.stop)
        # Unmounting waits for a call under way.
        self.reporter = Reporter(services(config.arr, seconds=10), self.state.failed)
        closing.callback(self.reporter.close)
        self._open_tree(library, inodes, db)
        self.healing = self._open_healing()
        closing.callback(self.announcers.close)
        self.daemon = self._open_daemon()
        closing.callback(self.daemon.close)
        closing.callback(self.check.close)
        closing.callback(self.healing.close)

    def _open_daemon(self) -> Daemon:
        config = self.config
        caching = Caching(self.cache, self.reader, self.warmer, self.names)
        return Daemon(
            config.http.address,
            {
                "/api/status": self.answers.status,
                "/api/debrid/torrents": self.answers.listing,
                DOWNLOADS: lambda: [] if self.client is None else self.client.listing(),
                CHECK: self.check.state,
                CHECKUP: self.healing.state,
                PINS: self.pinning.state,
                **cache_gets(caching),
                **job_gets(self.moves),
            },
            {
                "/api/debrid/prune": lambda body: self.answers.prune(*prune_wanted(body)),
                "/api/explain": lambda body: self.answers.explain(*explain_wanted(body)),
                **check_posts(self.check),
                **self.healing.posts(),
                **pin_posts(self.pinning),
                **cache_posts(caching),
                **({} if self.client is None else self.client.posts()),
                **job_posts(self.moves),
                **ending_posts(self._ending),
                RELOAD: after_reload(self.announcers, lambda: self.members.reload(config.file)),
            },
            [
                hooks(config.http, lambda given: self.daemon.is_own(given), Hooks(config.mount.path, caching)),
                *([] if self.client is None else [self.client.blueprint()]),
                *self.web.blueprints(),
            ],
        )

    def _open_account(self) -> RemoteLibrary:
        debrid = self.config.debrid
        assert debrid.token is not None
        client = Client(debrid.token.get_secret_value(), debrid.api_url)
        self._closing.callback(client.close)
        self.store = Store(self.state.debrid)
        self._closing.callback(self.store.close)
        self.account = client
        # It asks this App for names, as the tree does not exist yet.
        self._leaving = Leaving(client, self.store, self, delete_after=debrid.delete_after)
        self.repairs = Repairs(client, self.store, self, Allowance(self.budget, "repair"))
        self.library = Library(
            client, self.store, deadline=debrid.read_deadline, leaving=self._leaving, healer=self.repairs
        )
        return self.library

    def _open_tree(self, library: RemoteLibrary, inodes: Inodes, db: NamesDb) -> None:
        config = self.config
        metered = Metered(library, self.budget)
        self.reader = Reader(metered, self.cache, deadline=config.debrid.read_deadline, memory=config.cache.memory)
        self._closing.callback(self.reader.close)
        self.warmer = Warmer(self.reader, self.budget)
        self._closing.callback(self.warmer.close)
        files = self.knowledge.files
        make_branch = partial(LocalBranch, inodes=inodes, min_free=config.placement.min_free, known=files)
        branches = [make_branch(drive) for drive in self.drives]
        remote = self._remote = RemoteBranch(self.names, self.reader, self._released)
        self.budget.busy = lambda: self.reader.stats().waiting > 0
        self.placement = pool.placing(config, self.drives, PoolKnowledge(self.drives, self.names))
        union = Union(branches, remote, self.placement, Journal(self.names, "union"))
        teller = Teller(lambda path: self.placement.rule_for(path).match)
        union.place_file, union.tell = self.placement.place_file, teller.tell
        self.relocating = Relocating(
            *(union, branches, self.placement, Journal(self.names, "move"), config.placement.min_free),
            copies_under_way(self.state),
        )
        if files is not None:
            self.relocating.known_names = files.names_of
        self.relocating.recover()
        union.intents.recover()
        pins = remote.copies = Pins(db, self.names, branches)
        becoming = Becoming(union, remote, pins, Journal(self.names, DOWNLOAD))
        becoming.recover()
        pinning = Pinning(pins, remote, library, self.placement, branches, self.budget)
        self.pinning = PinJobs(union, self.names, pins, pinning, becoming)
        self._closing.callback(self.pinning.close)
        self.check = PoolCheck(union, branches, self.names, pins, self.relocating, str(config.mount.path))
        self._open_moves(union, branches, make_branch, pins, db)
        catalog, mount = self.state.contents, config.mount.path
        self.media = MediaFacts(catalog, remote, pins, self.warmer, self.reader, self.budget, mount)
        self.about = About(union.lookup, self._placing)
        self.about.media = self.media
        self.filesystem = FileSystem(union, self.about, config.mount.cache_seconds, config.mount.passthrough_room)
        self.budget.pid = lambda: self.filesystem.pid_of_caller()
        self.filesystem.copied.program = lambda: program_of(self.filesystem.pid_of_caller())
        self.filesystem.copied.tell = self._copied
        owner = Owner(config.mount.uid, config.mount.gid, config.mount.umask)
        self.publisher = Publisher(union, remote, owner)
        changing = (self.filesystem, self.publisher, self.check)
        lacking = partial(why_incomplete, self.drives, lambda: self.torrents)
        self.announcers = announcers(config, self.state.untold, union, changing, lacking)
        if self.library is not None:
            self._open_downloads(union, remote, owner)

    def _open_moves(
        self,
        union: Union,
        branches: list[LocalBranch],
        make_branch: Callable[[Drive], LocalBranch],
        pins: Pins,
        db: NamesDb,
    ) -> None:
        self.moves = MoveJobs(
            Jobs(self.state.jobs),
            Pool(lambda: self.drives, self.placement),
            self.relocating,
            regular=[mover.as_regular() for mover in self.config.placement.mover],
        )
        self._closing.callback(self.moves.close)
        self.moves.empty = PinMoving(pins, branches, self.placement.place).empty
        self.members = Members(
            self.drives, branches, db, make_branch, union, self.relocating, self.knowledge, self.moves
        )

    def _open_downloads(self, union: Union, remote: RemoteBranch, owner: Owner) -> None:
        self.torrents = Torrents(
            self.account,
            self.store,
            self.publisher,
            poll_seconds=self.config.debrid.poll_seconds,
            leaving=self._leaving,
            published=lambda files: self.warmer.add((file.key, file.size) for file in files),
        )
        self._inspector = Inspector(union, self.budget, self.config.mount.path, self.media)
        parts = Parts(
            self.account,
            self.store,
            Offering(union, remote, self.filesystem, owner),
            self._inspector,
            self.config.wanted,
            keeper=PinKeeper(self.pinning),
            reporter=Reports(self.reporter) if self.config.arr else None,
        )
        self.client = DownloadClient(self.config, parts, self._free_space)

    def _open_healing(self) -> Healing:
        if self.library is None:
            return Healing(None, None, self.publisher)
        checkup = Checkup(self.library, self.repairs, self.publisher, Allowance(self.budget, "check"))
        return Healing(checkup, self.store, self.publisher)

    def run(self, mounted: Callable[[], None]) -> None:
        """Mount and serve until unmounted or told to stop; `mounted` is called once the tree answers.

        Raises MountError. Must run in the main thread.
        """
        path = self.config.mount.path
        vfs.mount.prepare(path)
        # The names of a large account are a million objects that stay: nobody shall wait while they are searched for
        # garbage.
        gc.freeze()
        self.daemon.start()
        self.state.announce(self.daemon.contact(path))
        options = mount_options(self.config.mount, self._ending)
        vfs.mount.run(self.filesystem, path, options, lambda: self._mounted(mounted))

    def _mounted(self, mounted: Callable[[], None]) -> None:
        self.knowledge.start()
        # A start that failed changed no names, so it saves none either.
        self._keeper.start()
        self._closing.callback(self._keeper.close)
        # Only now: what is published before the tree answers would be looked at by nobody.
        if self.torrents is not None:
            self.torrents.start()
            self._closing.callback(self.torrents.stop)
            self.repairs.start()
            self._closing.callback(self.repairs.stop)
        self.pinning.start()
        self.media.start()
        self._closing.callback(self.media.close)
        if self.client is not None:
            self.client.start()
            self._closing.callback(self.client.downloads.stop)
            self._closing.callback(self._inspector.close)
        self.reporter.start()
        self.announcers.start()
        self.moves.start()
        self.web.start()
        mounted()

    def __enter__(self) -> "App":
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    def named(self, info_hash: str) -> bool:
        """Whether any file of this torrent has a name in the tree, or an open handle."""
        return self.publisher.named(info_hash) or self._remote.is_open(info_hash)

    def stand_in(self, addition: str, other: str) -> None:
        """As `Publisher.stand_in`."""
        self.publisher.stand_in(addition, other)

    def _released(self, key: Key) -> None:
        if self.library is not None:
            self.library.release(key)

    def _copied(self, found: CopiedFile) -> None:
        log.warning("%s", found)
        if self.client is not None:
            self.client.downloads.note_copied(found.content[1], f"copied instead of linked: {found}")

    def _free_space(self) -> int:
        return self.filesystem.space().available

    def _placing(self, path: str) -> str:
        """Where a new file at `path` would go, in words."""
        verdicts = sorted((one for one in self.placement.explain(path) if one.rank), key=lambda one: one.rank or 0)
        order = ", ".join(one.drive.name for one in verdicts) or "no drive"
        return f"a new file here would go to {order} ({self.placement.describe(path)})"
