"""What `debrid list` tells of each torrent, from the store alone, so that it needs neither network nor mount."""

from dataclasses import dataclass

from debrid.repairlog import State
from debrid.store import Store, StoredTorrent

MISSING = "missing"  # beside the provider's own words for a status


@dataclass(frozen=True, slots=True)
class ListedTorrent:
    """A line of `debrid list`.

    `bytes` of the selected files, `progress` in percent, `path` '' if not published or not known. `since`:
    when it was found missing; `released_at`: when its content lost its last name, so that it will leave the
    account; both seconds since 1970, None: it is not so. `repair`: how far its repair is, '' if there is none,
    and `repair_at` (seconds since 1970) when it is gone on with.
    """

    id: str
    name: str
    hash: str
    status: str
    bytes: int
    progress: float
    problem: str
    path: str
    since: float | None
    released_at: float | None
    repair: str = ""
    repair_at: float | None = None


def listed(store: Store) -> list[ListedTorrent]:
    """Every addition ever seen, newest first, with what is wrong with it. Raises StoreError."""
    failing: dict[str, str] = {}
    for file in store.failing_files():
        failing.setdefault(file.hash, f"{file.path}: {file.problem}")
    repairs = {each.hash: each for each in store.repairs.all()}
    leaving = {each.id: each for each in store.released()}

    def line(torrent: StoredTorrent) -> ListedTorrent:
        released = leaving.get(torrent.id)
        problems = (torrent.problem, failing.get(torrent.hash, ""), released.problem if released else "")
        repair = repairs.get(torrent.hash)
        resting = repair is None or repair.state is State.DONE
        return ListedTorrent(
            id=torrent.id,
            name=torrent.name,
            hash=torrent.hash,
            status=MISSING if torrent.missing else torrent.status,
            bytes=torrent.bytes,
            progress=torrent.progress,
            problem=next(filter(None, problems), ""),
            path=torrent.path or "",
            since=torrent.missing_at,
            released_at=released.released_at if released else None,
            repair="" if repair is None or resting else f"{repair.state}: {repair.problem}".removesuffix(": "),
            repair_at=None if repair is None or resting or repair.state is State.GIVEN_UP else repair.retry_at,
        )

    return [line(each) for each in store.torrents()]
