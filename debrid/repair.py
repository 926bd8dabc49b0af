"""One repair: a torrent whose content died is added again and takes the old one's place under the same names.

    DUE ──the links it has are tried once more──> DONE
     │ addMagnet, with the ids known before noted first
    ADDING ──> FETCHING ──same files? select the same, wait, prove──> CLEARING ──the old one leaves──> DONE
     ^              │ not the same, failed, dead again, not there after a day
     └──pause── DISCARDING ──too many tries──> GIVEN_UP

Names are keyed by info hash and file id, so nothing in the tree changes. The new addition is noted in the tree as
standing in for the old one before it can be finished, so it is never published itself; it inherits whose the old one
is, so what people added stays theirs. The old one stays in the account until every file it gave is proven to be there.
Each state is in debrid.db before the call it is about, so that an end at any moment leaves nothing behind.

What the account lacks at the moment (quota, pace, slots, outage) costs no try. An addition that left the account by
somebody else's hand is added again only if a person asks for it.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from debrid import errors
from debrid.archives import Archives
from debrid.budget import Allowance
from debrid.client import Client
from debrid.errors import DebridError, Reaction
from debrid.linking import Links, links_of, prove_link
from debrid.models import UNFINISHED, TorrentInfo
from debrid.repairlog import Repair, State
from debrid.store import PACK, Store, StoredFile, StoredTorrent
from debrid.transport import Budget
from debrid.urls import GONE, URL_SECONDS, Urls

log = logging.getLogger(__name__)

PAUSES = (600.0, 3600.0, 6 * 3600.0, 24 * 3600.0)  # seconds after each try; then it is given up
_NOT_NOW = 300.0  # the account cannot be asked
_LOOK_AGAIN = 60.0  # while the provider downloads the content
_LONGEST_FETCH = 24 * 3600.0
_LATE_LINKS = 60.0
_RESTS = (0.3, 1.0, 2.0, 2.0, 2.0, 2.0)  # between looks at a torrent that was just added
_PROOFS = 3
_VERDICTS = frozenset({Reaction.REPAIR, Reaction.RESYNC, Reaction.REFUSED, Reaction.FAIL, Reaction.RENEW})


class RepairedTree(Protocol):
    """The tree as a repair sees it. Both methods may raise OSError."""

    def named(self, info_hash: str) -> bool:
        """Has any file of this torrent a name in the tree, or an open handle?"""
        ...

    def stand_in(self, addition: str, other: str) -> None:
        """`addition` stands in for `other`: if that was published, this one is too, without names of its own."""
        ...


def is_verdict(error: DebridError) -> bool:
    """It is about this link or torrent, not about the account, the way there or an outage."""
    return error.reaction in _VERDICTS and not (error.reaction is Reaction.RENEW and error.status == 503)


class Failed(Exception):
    """This try leads nowhere; the text says why."""


class Mender:
    """Goes on with repairs; thread-safe as long as no two threads go on with the same one."""

    def __init__(
        self,
        client: Client,
        store: Store,
        tree: RepairedTree,
        allowance: Allowance,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._client, self._store, self._tree, self._allowance, self._clock = client, store, tree, allowance, clock
        self._archives = Archives(client, store, Urls(client, store, URL_SECONDS, None, clock).get_fresh)

    def go_on(self, repair: Repair, budget: Budget) -> Repair:
        """As far as it goes now. What stands in the way is the result's `problem`.

        Raises Interrupted and StoreError; the next call goes on where this one was.
        """
        while True:
            try:
                repair = self._step(repair, budget)
            except (errors.Interrupted, errors.StoreError):
                raise
            except Failed as failure:
                repair = self._failed(self._latest(repair), str(failure))
            except (DebridError, OSError) as error:
                repair = self._hindered(self._latest(repair), error)
            self._store.repairs.put(repair)
            if repair.state in (State.DONE, State.GIVEN_UP) or repair.retry_at > self._clock():
                return repair

    def _latest(self, repair: Repair) -> Repair:
        return self._store.repairs.get(repair.hash) or repair

    def _step(self, repair: Repair, budget: Budget) -> Repair:
        match repair.state:
            case State.ADDING:
                return self._find(repair, budget)
            case State.FETCHING:
                return self._fetch(repair, budget)
            case State.CLEARING:
                return self._clear(repair, budget)
            case State.DISCARDING:
                return self._discard(repair, budget)
            case _:
                return self._begin(repair, budget)

    # -- when it does not go on

    def _hindered(self, repair: Repair, error: DebridError | OSError) -> Repair:
        reaction, told = Reaction.LATER, None
        if isinstance(error, DebridError):
            reaction, told = error.reaction, error.retry_after
            if is_verdict(error) and repair.state is not State.CLEARING:
                if reaction is Reaction.REFUSED:
                    repair = replace(repair, tries=len(PAUSES))
                return self._failed(repair, str(error))
        # Only of a lost answer it is not known whether the torrent was added.
        state = State.DUE if repair.state is State.ADDING and reaction is not Reaction.REPEAT else repair.state
        pause = max(told or 0.0, _NOT_NOW)
        log.info("the repair of torrent %s waits %.0f s: %s", repair.hash, pause, error)
        return replace(repair, state=state, problem=str(error), retry_at=self._clock() + pause)

    def _failed(self, repair: Repair, problem: str) -> Repair:
        """One try more that was in vain; what was added for it has to go first."""
        repair = replace(repair, problem=problem, tries=repair.tries + 1)
        log.warning("try %d of repairing torrent %s failed: %s", repair.tries, repair.hash, problem)
        if repair.new and repair.state is not State.DISCARDING:
            return replace(repair, state=State.DISCARDING, retry_at=0.0)
        return self._rest(replace(repair, new=""))

    def _rest(self, repair: Repair) -> Repair:
        if repair.tries > len(PAUSES):
            return replace(repair, state=State.GIVEN_UP, asked=False)
        pause = PAUSES[max(repair.tries, 1) - 1]
        return replace(repair, state=State.DUE, retry_at=self._clock() + pause)

    def _discard(self, repair: Repair, budget: Budget) -> Repair:
        self._store.repairs.shelve(repair.new)
        self._client.delete_torrent(repair.new, budget)
        return self._rest(replace(repair, new=""))

    def _done(self, repair: Repair, problem: str = "") -> Repair:
        """It counts as a try, so that content that dies again at once is not added again and again."""
        tries = repair.tries + 1
        pause = PAUSES[min(tries, len(PAUSES)) - 1]
        return Repair(repair.hash, State.DONE, tries=tries, problem=problem, retry_at=self._clock() + pause)

    # -- its steps

    def _begin(self, repair: Repair, budget: Budget) -> Repair:
        if not self._tree.named(repair.hash):
            return self._done(repair, "it has no name any more")
        self._learn_selections(repair.hash, budget)
        if self._revive(repair.hash, budget):
            log.info("the links of torrent %s work again", repair.hash)
            return self._done(repair)
        old = self._chosen(repair.hash)
        if old is None:
            raise Failed("none of its additions has files that are known")
        if old.missing and not repair.asked:
            return replace(repair, state=State.GIVEN_UP, problem=f"{GONE}; it is added again only if asked for")
        known = ",".join(each.id for each in self._store.additions_of(repair.hash))
        adding = replace(repair, state=State.ADDING, old=old.id, new="", before=known, begun_at=self._clock())
        self._store.repairs.put(adding)
        return self._added(adding, self._client.add_magnet(f"magnet:?xt=urn:btih:{repair.hash}", budget))

    def _added(self, repair: Repair, new: str) -> Repair:
        self._tree.stand_in(f"realdebrid:{new}", f"realdebrid:{repair.old}")
        log.info("torrent %s was added again as %s, to take the place of %s", repair.hash, new, repair.old)
        return replace(repair, state=State.FETCHING, new=new, retry_at=0.0)

    def _find(self, repair: Repair, budget: Budget) -> Repair:
        """It may have been added before the answer was lost: then that one is taken."""
        listing = self._client.torrents(budget)
        if not listing.complete:
            raise errors.Unavailable("the list of torrents is not complete", reaction=Reaction.REPEAT)
        known = repair.before.split(",")
        ours = [each for each in listing.items if each.hash == repair.hash and each.id not in known]
        waiting = [each for each in ours if each.status in ("waiting_files_selection", "magnet_conversion")]
        return self._added(repair, waiting[0].id) if waiting else replace(repair, state=State.DUE, retry_at=0.0)

    def _fetch(self, repair: Repair, budget: Budget) -> Repair:
        old = self._store.torrent(repair.old)
        if old is None or old.selection is None or not self._tree.named(repair.hash):
            raise Failed("what was to be repaired has left meanwhile")
        info = self._finished(repair, old.selection, budget)
        if info is None:
            if self._clock() > repair.begun_at + _LONGEST_FETCH:
                raise Failed("Real-Debrid could not download it within a day")
            return replace(
                repair,
                problem="Real-Debrid is downloading the content anew",
                retry_at=self._clock() + _LOOK_AGAIN,
            )
        found = links_of(self._client, info, budget)
        wanted = [each for each in self._files(repair.hash, old.selection) if each.link or each.problem]
        if lacking := [each.path for each in wanted if each.id not in found.links]:
            if self._clock() < repair.begun_at + _LATE_LINKS:
                return replace(repair, problem="waiting for the rest of its links", retry_at=self._clock() + 10)
            raise Failed(f"Real-Debrid gives no link for {', '.join(lacking[:3])}")
        urls = self._proven(found, wanted, budget)
        if not self._store.replace(repair.old, info, found.links, self._clock()):
            raise Failed("what was to be repaired has left meanwhile")
        for file_id, url in urls.items():
            self._store.set_url(repair.hash, file_id, url, self._clock() + URL_SECONDS)
        return replace(repair, state=State.CLEARING, retry_at=0.0)

    def _clear(self, repair: Repair, budget: Budget) -> Repair:
        self._client.delete_torrent(repair.old, budget)
        log.info("torrent %s was repaired: %s took the place of %s", repair.hash, repair.new, repair.old)
        return self._done(repair)

    # -- what the steps are made of

    def _files(self, info_hash: str, selection: Sequence[int]) -> list[StoredFile]:
        """The selected files; with the archive they were packed into, if none has a link of its own."""
        files = [each for each in self._store.files(info_hash) if each.id in selection]
        pack = self._store.file(info_hash, PACK)
        return [pack, *files] if pack is not None and not any(each.link for each in files) else files

    def _learn_selections(self, info_hash: str, budget: Budget) -> None:
        for each in self._store.additions_of(info_hash):
            if each.selection is None and not each.missing:
                info = self._asked_for(each, budget)
                if info is not None:
                    self._store.record(info, info.links_by_file or {})

    def _asked_for(self, addition: StoredTorrent, budget: Budget) -> TorrentInfo | None:
        try:
            return self._client.torrent(addition.id, budget)
        except errors.NotFound:
            self._store.set_missing(addition.id, GONE, self._clock())
            return None

    def _failing(self, info_hash: str) -> list[StoredFile]:
        return [each for each in self._store.files(info_hash) if each.problem]

    def _chosen(self, info_hash: str) -> StoredTorrent | None:
        """The addition whose place is taken: one that holds a failing file, rather one that is there."""
        failing = {each.id for each in self._failing(info_hash)}
        known = [each for each in self._store.additions_of(info_hash) if each.selection]
        held = [{each.id for each in self._files(info_hash, one.selection or ())} for one in known]
        return next((one for one, files in zip(known, held, strict=True) if failing & files), None)

    def _revive(self, info_hash: str, budget: Budget) -> bool:
        """Whether the links that the account has now bring every failing file back."""
        for addition in self._store.additions_of(info_hash):
            if addition.missing or not (info := self._asked_for(addition, budget)):
                continue
            found = links_of(self._client, info, budget)
            for file in self._failing(info_hash):
                if file.id in found.links and not self._take_link(file, found.links[file.id], budget):
                    break  # where one is dead, the others of that age are too
        return not self._failing(info_hash)

    def _take_link(self, file: StoredFile, link: str, budget: Budget) -> bool:
        try:
            url = prove_link(self._client, link, file, self._allowance, budget)
        except DebridError as error:
            if not is_verdict(error) or isinstance(error, errors.Interrupted):
                raise
            return False
        self._store.set_link(file.hash, file.id, link)
        self._store.set_url(file.hash, file.id, url, self._clock() + URL_SECONDS)
        return True

    def _finished(self, repair: Repair, selection: Sequence[int], budget: Budget) -> TorrentInfo | None:
        """The new torrent once it is finished, None if that takes longer. Selects the same files as before."""
        for rest in (*_RESTS, None):
            info = self._client.torrent(repair.new, budget)
            if info.is_finished:
                self._check_same(info, selection)
                return info
            if info.status == "waiting_files_selection":
                self._check_same(info, selection)
                self._client.select_files(repair.new, selection, budget)
            elif info.status not in UNFINISHED:
                raise Failed(f"Real-Debrid gave the new one up: {info.status}")
            if rest is not None:
                budget.sleep(rest)
        return None

    def _check_same(self, info: TorrentInfo, selection: Sequence[int]) -> None:
        there = {each.id: (each.path, each.bytes) for each in info.files}
        for file in self._files(info.hash, selection):
            if file.id != PACK and there.get(file.id) != (file.path, file.bytes):
                raise Failed(f"the new one has another file in the place of {file.path}")

    def _proven(self, found: Links, wanted: Sequence[StoredFile], budget: Budget) -> dict[int, str]:
        """URLs of some of the files, the failing ones first, each proven by a byte."""
        first = sorted((each for each in wanted if each.bytes), key=lambda each: not each.problem)[:_PROOFS]
        urls = {
            each.id: prove_link(self._client, found.links[each.id], each, self._allowance, budget) for each in first
        }
        pack = next((each for each in first if each.id == PACK), None)
        if pack is not None:
            inside = [each for each in self._store.files(pack.hash) if each.id != PACK]
            if not self._archives.same_pack(pack, inside, urls[PACK], budget):
                raise Failed(f"{pack.path} is packed in another way than before")
        return urls
