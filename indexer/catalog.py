"""The catalog: the indexer's database of what lies on the drives. This file is the reference of its format.

SQLAlchemy Core over one SQLite file (WAL), or over PostgreSQL where a URL is given. It is a cache: everything in it
can be read from the drives again, so a damaged file is moved away and refilled. Further tables (hashes, media facts,
remote files) join `metadata` in modules of their own and use the same transactions; the best key for what belongs to
the content of a file is (drive, filesystem, ino, size, mtime_ns, ctime_ns), which outlives a rename of its folder.

One process writes at a time: the one that holds the state folder. In it `writing` lets one thread in, readers never
wait. A commit is on stable storage when `writing` returns, because `indexer.marks` forgets its doubts then.

Lock order: `Catalog._lock` (one writer) before nothing else; reading takes no lock.
"""

import contextlib
import sqlite3
import stat
import threading
from collections.abc import Iterator
from typing import Any, NamedTuple, Self

from sqlalchemy import (
    URL,
    BigInteger,
    Column,
    Connection,
    Engine,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    create_engine,
    event,
    insert,
    inspect,
    make_url,
    select,
)
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from placement import system as os

SCHEMA_VERSION = 1
# The `parent` of a drive's root, which is in no directory; ids begin at 1.
NO_PARENT = 0

# SQLite numbers rows itself only in a column of exactly this type.
_ID = BigInteger().with_variant(Integer, "sqlite")
_WRITES = "mediapool_writes"
# Seconds to wait for another process, such as a backup of the file.
_BUSY = 30.0

metadata = MetaData()


def _attributes() -> list[Column[Any]]:
    """What lstat says of one name. Integers are signed 64-bit; times are ns since 1970."""
    return [
        Column("ino", BigInteger, nullable=False, comment="st_ino, a number over 2^63 - 1 less 2^64"),
        Column("mode", BigInteger, nullable=False, comment="st_mode with the type bits"),
        Column("nlink", BigInteger, nullable=False, comment="st_nlink, also counting names outside of the drive"),
        Column("uid", BigInteger, nullable=False, comment="owner"),
        Column("gid", BigInteger, nullable=False, comment="group"),
        Column("rdev", BigInteger, nullable=False, comment="device number of a device node, else 0"),
        Column("size", BigInteger, nullable=False, comment="bytes"),
        Column("blocks", BigInteger, nullable=False, comment="allocated, in units of 512 bytes"),
        Column("atime_ns", BigInteger, nullable=False, comment="last access as of the last look; reading is not noted"),
        Column("mtime_ns", BigInteger, nullable=False, comment="last change of the content"),
        Column("ctime_ns", BigInteger, nullable=False, comment="last change of content or attributes"),
        Column("birth_ns", BigInteger, comment="when it was made; NULL where unknown or not asked for"),
    ]


schema = Table(
    "schema",
    metadata,
    Column("version", Integer, primary_key=True, comment="SCHEMA_VERSION of the program that made the tables"),
    comment="One row: the format of this database",
)

drive = Table(
    "drive",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False, comment="1..32767, from its identity file"),
    Column("identity", Text, nullable=False, comment="UUID from its identity file; another one means another drive"),
    Column("walk", Integer, nullable=False, default=0, comment="number of the last whole walk that was begun, from 1"),
    Column("walk_ns", BigInteger, comment="begin of that walk while it is not finished, else NULL"),
    Column("walked_ns", BigInteger, comment="begin of the last finished walk: no record is older; NULL before it"),
    Column("entries", BigInteger, comment="names that the last finished walk left in the catalog, for 'time left'"),
    comment="The drives whose trees are recorded",
)

directory = Table(
    "directory",
    metadata,
    Column("id", _ID, primary_key=True, comment="never used twice"),
    Column("drive", Integer, nullable=False, comment="drive.number"),
    Column("parent", BigInteger, nullable=False, comment="directory.id; 0 for the root of the drive"),
    Column("name", LargeBinary, nullable=False, comment="last name, raw bytes (os.fsencode); empty for the root"),
    Column(
        "filesystem",
        BigInteger,
        nullable=False,
        comment="directory.id of the top of the filesystem it lies on: the root, or a mount point inside. "
        "An ino means one file only within it; st_dev would change from boot to boot",
    ),
    Column(
        "complete_ns",
        BigInteger,
        comment="begin of the last look that recorded every name in it; NULL: never, it may hold more than is here",
    ),
    Column(
        "walk",
        Integer,
        nullable=False,
        default=0,
        comment="drive.walk at that look: a walk that is taken up again looks at no directory twice. "
        "A number, because clocks are set back",
    ),
    *_attributes(),
    UniqueConstraint("drive", "parent", "name", name="directory_name"),
    comment="Directories of all drives; their own attributes are here and not in `entry`",
    sqlite_autoincrement=True,
)

entry = Table(
    "entry",
    metadata,
    Column("directory", BigInteger, primary_key=True, autoincrement=False, comment="directory.id"),
    Column("name", LargeBinary, primary_key=True, comment="last name, raw bytes (os.fsencode)"),
    *_attributes(),
    comment="Every name that is no directory: files, links, pipes, sockets, devices",
    sqlite_with_rowid=False,
)
# Finds the other names of a file; most files have one, and need no row here. In PostgreSQL it has them all: to name
# that option would import everything about PostgreSQL, which few have, into each mount.
Index("entry_linked", entry.c.ino, sqlite_where=entry.c.nlink > 1)


class CatalogError(Exception):
    """The catalog cannot be used; the message names the file or server, the cause and the remedy."""


class CatalogDamaged(CatalogError):
    """What stands there is no catalog that this version can read; a file may be moved aside, as it is only a cache."""


class Known(NamedTuple):
    """What is known of one name, as lstat said it: `ino` is the drive's own st_ino, times are ns, sizes bytes.

    `exact` is False where the name, its type and its `ino` still hold, but something that happened elsewhere may have
    changed the rest: the entries of a directory, or another name of the same file. `atime_ns` is never promised.
    """

    ino: int
    mode: int
    nlink: int
    uid: int
    gid: int
    rdev: int
    size: int
    blocks: int
    atime_ns: int
    mtime_ns: int
    ctime_ns: int
    birth_ns: int | None = None
    exact: bool = True

    @property
    def is_dir(self) -> bool:
        return stat.S_ISDIR(self.mode)

    @classmethod
    def of(cls, st: os.stat_result, birth_ns: int | None = None) -> Self:
        """As `st` says it."""
        return cls(
            st.st_ino,
            st.st_mode,
            st.st_nlink,
            st.st_uid,
            st.st_gid,
            st.st_rdev,
            st.st_size,
            st.st_blocks,
            st.st_atime_ns,
            st.st_mtime_ns,
            st.st_ctime_ns,
            birth_ns,
        )


class Catalog:
    """The open database. Thread-safe."""

    def __init__(self, place: str | os.PathLike[str]) -> None:
        """Open or make the catalog: a file (mode 0600 when made here), or a URL such as postgresql+psycopg://...

        Raises CatalogDamaged if it is damaged, not a catalog, or of another version; CatalogError if out of reach.
        """
        self._lock = threading.Lock()
        self._engine: Engine | None = None
        self._file: str | None = None
        self._place = text = os.fspath(place)
        with self._explained():
            url = make_url(text) if "://" in text else URL.create("sqlite", database=os.path.abspath(text))
            self._place = url.render_as_string(hide_password=True)
            if url.get_backend_name() == "sqlite" and url.database:
                self._place = self._file = url.database
            self._engine = self._open_file(url) if self._file else create_engine(url, isolation_level="REPEATABLE READ")
            try:
                self._prepare()
            except BaseException:
                self._engine.dispose()
                raise

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that sees one state of the catalog, whatever is written meanwhile. CatalogError."""
        with self._explained(), self._open.connect() as connection, connection.begin():
            yield connection

    @contextlib.contextmanager
    def writing(self) -> Iterator[Connection]:
        """The one transaction that writes, committed durably at the end of the block, or undone. CatalogError."""
        with self._explained(), self._lock, self._open.connect() as connection:
            connection.execution_options(**{_WRITES: True})
            with connection.begin():
                yield connection

    def close(self) -> None:
        """Close all connections; the catalog cannot be used after that. Harmless when repeated."""
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def _open(self) -> Engine:
        if self._engine is None:
            raise CatalogError(f"the catalog {self._place} is closed")
        return self._engine

    def _open_file(self, url: URL) -> Engine:
        # Made here, because SQLite would make it readable for everybody; its -wal and -shm take the same mode.
        try:
            os.close(os.open(self._place, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        except OSError as error:
            cause = f"the catalog {self._place} cannot be opened: {error.strerror}. Check its folder."
            raise CatalogError(cause) from error
        engine = create_engine(url, connect_args={"timeout": _BUSY})
        event.listen(engine, "connect", _connected)
        event.listen(engine, "begin", _began)
        return engine

    def _prepare(self) -> None:
        with self._open.begin() as connection:
            if self._file and (answer := connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()) != "ok":
                raise sqlite3.DatabaseError(answer)
            if not (tables := inspect(connection).get_table_names()):
                return self._make_tables(connection)
            if schema.name not in tables:
                raise CatalogDamaged(f"{self._place} holds other tables: give the catalog a database of its own.")
            version = connection.execute(select(schema.c.version)).scalar()
        if version != SCHEMA_VERSION:
            raise CatalogDamaged(
                f"{self._place} was written by another version (format {version}, this one reads {SCHEMA_VERSION}). "
                f"{self._remedy}"
            )

    def _make_tables(self, connection: Connection) -> None:
        metadata.create_all(connection)
        connection.execute(insert(schema).values(version=SCHEMA_VERSION))

    @property
    def _remedy(self) -> str:
        if self._file is None:
            return "It is only a cache: give it an empty database, it is filled anew from the drives."
        return (
            "It is only a cache: move it (and its -wal and -shm files) aside and start again, it is filled anew "
            "from the drives."
        )

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (SQLAlchemyError, sqlite3.Error, ImportError) as error:
            damaged = type(_driver_error(error)) is sqlite3.DatabaseError
            raise (CatalogDamaged if damaged else CatalogError)(
                f"the catalog {self._place} cannot be used: {self._cause(error)}"
            ) from error

    def _cause(self, error: Exception) -> str:
        if isinstance(error, ImportError):
            return f"{error}. Install the driver that the URL asks for."
        if isinstance(error, NoSuchModuleError | ArgumentError):
            return f"{error}. Check the URL."
        cause = _driver_error(error)
        said = " ".join(str(cause).split())
        # That is about the file itself; a full disk or a lock is an OperationalError.
        return f"{said}. {self._remedy}" if type(cause) is sqlite3.DatabaseError else f"{said}."


def _driver_error(error: Exception) -> BaseException:
    """What the database's driver raised, without what SQLAlchemy wraps around it."""
    return error.orig if isinstance(error, DBAPIError) and error.orig is not None else error


def _connected(connection: sqlite3.Connection, _record: object) -> None:
    # Transactions are begun below: the driver of its own accord would begin none for a SELECT.
    connection.isolation_level = None
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA temp_store = MEMORY")


def _began(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
