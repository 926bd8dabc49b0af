"""What `debrid list` tells of each torrent, from the store alone, so that it needs neither network nor mount."""

from dataclasses import dataclass

from debrid.store import Store, StoredTorrent

MISSING = "missing"  # beside the provider's own words for a status


@dataclass(frozen=True, slots=True)
class ListedTorrent:
    """A line of `debrid list`.

    `bytes` of the selected files, `progress` in percent, `path` '' if not published or not known. `since`:
    when it was found missing; `released_at`: when its content lost its last name, so that it will leave the
    account; both seconds since 1970, None: it is not so.
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


def listed(store: Store) -> list[ListedTorrent]:
    """Every addition ever seen, newest first, with what is wrong with it. Raises StoreError."""
    failing: dict[str, str] = {}
    for file in store.failing_files():
        failing.setdefault(file.hash, f"{file.path}: {file.problem}")
    leaving = {each.id: each for each in store.released()}

    def line(torrent: StoredTorrent) -> ListedTorrent:
        released = leaving.get(torrent.id)
        problems = (torrent.problem, failing.get(torrent.hash, ""), released.problem if released else "")
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
        )

    return [line(each) for each in store.torrents()]
