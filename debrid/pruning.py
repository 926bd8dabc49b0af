"""`debrid prune`: on request, the names of torrents that are gone for good leave the tree.

Gone for good means that the provider said so of every addition of the content: it does not know the torrent
any more, or gives it a final status of failure. What merely cannot be reached or read at the moment is never
pruned, whoever asks for it.
"""

import logging
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from debrid.models import FAILED
from debrid.store import Store, StoredTorrent

log = logging.getLogger(__name__)


class PrunedTree(Protocol):
    """The tree as pruning sees it. Both methods may raise OSError."""

    def names(self, info_hash: str) -> list[str]:
        """The paths of all names of all files of this torrent."""
        ...

    def withdraw(self, info_hash: str) -> list[str]:
        """Remove all these names at once, and return the paths they had."""
        ...


@dataclass(frozen=True, slots=True)
class Pruned:
    """A torrent that is gone for good, and its names, removed or to be removed.

    `reason`: what the provider said; `since`: seconds since 1970, None if it is not known; `problem`: why
    there are more names, which should have been removed and are not.
    """

    hash: str
    name: str
    reason: str
    since: float | None
    paths: tuple[str, ...]
    problem: str = ""


def prune(store: Store, tree: PrunedTree, hashes: Collection[str] | None, *, dry_run: bool) -> list[Pruned]:
    """Remove the names of what is gone for good, of these hashes or (None) of all; how it went with each.

    With `dry_run` it only tells. Torrents without a name are left out. Raises StoreError, and OSError when the
    tree cannot be asked.
    """
    done: list[Pruned] = []
    for info_hash, additions in _gone(store).items():
        if hashes is not None and info_hash not in hashes:
            continue
        if names := tree.names(info_hash):
            found = _described(additions, names)
            done.append(found if dry_run else _withdraw(tree, found))
        if not dry_run and not tree.names(info_hash):
            _forget(store, additions)
    return done


def _gone(store: Store) -> dict[str, list[StoredTorrent]]:
    """The additions of each hash of which none is of any use any more."""
    by_hash: defaultdict[str, list[StoredTorrent]] = defaultdict(list)
    for torrent in store.torrents():
        by_hash[torrent.hash].append(torrent)
    return {key: each for key, each in by_hash.items() if all(one.missing or one.status in FAILED for one in each)}


def _described(additions: Sequence[StoredTorrent], names: Sequence[str]) -> Pruned:
    last = max(additions, key=lambda each: each.missing_at or 0.0)
    failed = next((each.status for each in additions if not each.missing), None)
    reason = last.problem if failed is None else f"Real-Debrid gave it up: {failed}"
    since = last.missing_at if failed is None else None
    return Pruned(last.hash, last.name, reason, since, tuple(names))


def _withdraw(tree: PrunedTree, found: Pruned) -> Pruned:
    try:
        paths = tuple(tree.withdraw(found.hash))
        problem = ""
    except OSError as error:
        left = set(tree.names(found.hash))
        paths, problem = tuple(path for path in found.paths if path not in left), str(error)
        log.warning("not all names of %s could be removed: %s", found.name, error)
    log.info("pruned %s (%s): removed %s", found.name, found.reason, ", ".join(paths) or "nothing")
    return replace(found, paths=paths, problem=problem)


def _forget(store: Store, additions: Sequence[StoredTorrent]) -> None:
    """Without a name there is nothing left to say of what is missing; a failed one is still in the account."""
    for each in additions:
        if each.missing:
            store.forget(each.id)
