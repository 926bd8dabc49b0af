"""What the catalog knows of content as media, by hash for local files and by content key for remote ones.

Content is looked at once, whatever it is called and however many names it has; also what it was looked at in vain for
is kept, with the reason.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from indexer.contentsdb import Database

# Provider, kind, id and part: which content a remote file is.
RemoteKey = tuple[str, str, str, str]

_KEY = "provider = ? AND kind = ? AND id = ? AND part = ?"


class Media(NamedTuple):
    """What is known of local content: when it was taken (local time, ISO 8601) and who says so; `facts` as JSON.

    `problem`: why there are no facts, if it was looked at. All are None where nothing is known.
    """

    taken: str | None = None
    source: str | None = None
    facts: str | None = None
    problem: str | None = None


class Probed(NamedTuple):
    """What a look at content brought: facts as JSON, or why there are none."""

    facts: str | None
    problem: str | None


class RemoteContent(NamedTuple):
    """All that is known of a remote file: its key, size in bytes, OSDB hash, facts or problem."""

    key: RemoteKey
    size: int
    osdb: bytes | None
    facts: str | None
    problem: str | None


class MediaTotals(NamedTuple):
    """Contents with facts, looked at in vain, and to be looked at; and remote files with facts and in vain."""

    known: int
    failed: int
    to_do: int
    remote_known: int
    remote_failed: int


class MediaTable:
    """The tables `media` and `remote` of an open catalog. Raises ContentsError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # Local content.

    def of(self, digest: bytes) -> Media:
        """What is known of the content with this hash."""
        with self._database.explained():
            row = self._database.db.execute(
                "SELECT taken, source, facts, problem FROM media WHERE hash = ?", (digest,)
            ).fetchone()
        return Media(*row) if row else Media()

    def tell_taken(self, digest: bytes, taken: str, source: str) -> None:
        """Record when the content with this hash was taken and who says so."""
        with self._database.writing():
            self._database.db.execute(
                "INSERT INTO media (hash, taken, source) VALUES (?,?,?) "
                "ON CONFLICT DO UPDATE SET taken = excluded.taken, source = excluded.source",
                (digest, taken, source),
            )

    def want(self, digests: Iterable[bytes]) -> None:
        """These are to be looked at, unless they were; inside a transaction of the caller."""
        self._database.db.executemany(
            "INSERT INTO media (hash, wanted) VALUES (?, 1) "
            "ON CONFLICT DO UPDATE SET wanted = 1 WHERE facts IS NULL AND problem IS NULL",
            [(digest,) for digest in digests],
        )

    def wants_any(self) -> bool:
        """Whether anything is to be looked at; costs next to nothing."""
        with self._database.explained():
            return self._database.db.execute("SELECT 1 FROM media WHERE wanted LIMIT 1").fetchone() is not None

    def tell(self, found: Iterable[tuple[bytes, Probed]]) -> None:
        """These contents, by their hashes, were looked at."""
        rows = [(digest, *probed) for digest, probed in found]
        with self._database.writing():
            self._database.db.executemany(
                "INSERT INTO media (hash, facts, problem) VALUES (?,?,?) "
                "ON CONFLICT DO UPDATE SET facts = excluded.facts, problem = excluded.problem, wanted = 0",
                rows,
            )

    # Remote content.

    def of_remote(self, key: RemoteKey) -> Probed | None:
        """What a look at this remote file brought; None if nobody looked."""
        with self._database.explained():
            row = self._database.db.execute(f"SELECT facts, problem FROM remote WHERE {_KEY}", key).fetchone()
        return None if row is None or row == (None, None) else Probed(*row)

    def tell_remote(self, key: RemoteKey, size: int, probed: Probed) -> None:
        """This remote file of `size` bytes was looked at; what it holds never changes."""
        with self._database.writing():
            self._database.db.execute(
                "INSERT INTO remote (provider, kind, id, part, size, facts, problem) VALUES (?,?,?,?,?,?,?) "
                "ON CONFLICT DO UPDATE SET size = excluded.size, facts = excluded.facts, problem = excluded.problem",
                (*key, size, *probed),
            )

    def remotes(self) -> Iterator[RemoteContent]:
        """Every known remote file, in the order of the keys."""
        with self._database.explained():
            rows = self._database.db.execute(
                "SELECT provider, kind, id, part, size, osdb, facts, problem FROM remote ORDER BY 1, 2, 3, 4"
            )
            for row in rows:
                yield RemoteContent((row[0], row[1], row[2], row[3]), *row[4:])

    def totals(self) -> MediaTotals:
        """How much is known; contents that no known file holds count too, but are not to be looked at."""
        with self._database.explained():
            local = self._database.db.execute(
                "SELECT count(facts), count(problem), count(*) FILTER "
                "(WHERE wanted AND EXISTS (SELECT 1 FROM file WHERE file.hash = media.hash)) FROM media"
            ).fetchone()
            remote = self._database.db.execute("SELECT count(facts), count(problem) FROM remote").fetchone()
        return MediaTotals(*local, *remote)
