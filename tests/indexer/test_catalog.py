"""The catalog as a database: kept, guarded, explained when it cannot be used."""

import os
import sqlite3
import stat
from pathlib import Path

import pytest
from sqlalchemy import func, insert, select, update
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable

from indexer.catalog import Catalog, CatalogDamaged, CatalogError, Known, directory, drive, entry, metadata, schema


def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with Catalog(tmp_path / "catalog.db") as catalog, catalog.writing() as connection:
            connection.execute(insert(drive).values(number=1, identity="one"))
            modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
    finally:
        os.umask(before)
    assert modes == {"catalog.db": 0o600, "catalog.db-wal": 0o600, "catalog.db-shm": 0o600}


def test_it_keeps_what_was_written_and_undoes_what_failed(tmp_path: Path) -> None:
    with Catalog(tmp_path / "catalog.db") as catalog:
        with catalog.writing() as connection:
            connection.execute(insert(drive).values(number=1, identity="one"))
        with pytest.raises(ZeroDivisionError), catalog.writing() as connection:
            connection.execute(insert(drive).values(number=2, identity="two"))
            raise ZeroDivisionError
    with Catalog(str(tmp_path / "catalog.db")) as catalog, catalog.reading() as connection:
        assert connection.execute(select(drive.c.number)).scalars().all() == [1]


def test_a_reader_sees_one_state_and_does_not_wait(catalog: Catalog) -> None:
    count = select(func.count()).select_from(drive)
    with catalog.reading() as reader:
        assert reader.execute(count).scalar() == 0
        with catalog.writing() as connection:
            connection.execute(insert(drive).values(number=1, identity="one"))
        assert reader.execute(count).scalar() == 0
    with catalog.reading() as reader:
        assert reader.execute(count).scalar() == 1


def test_a_commit_is_on_stable_storage(catalog: Catalog) -> None:
    with catalog.writing() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


@pytest.mark.parametrize("content", [b"no database at all" * 100, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_damaged_file_is_named_with_the_remedy(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "catalog.db"
    path.write_bytes(content)
    with pytest.raises(CatalogDamaged, match=rf"{path}.*only a cache: move it .*aside"):
        Catalog(path)
    assert path.read_bytes() == content


def test_a_damaged_page_is_noticed_when_it_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "catalog.db"
    with Catalog(path) as catalog, catalog.writing() as connection:
        rows = [{"directory": 1, "name": b"%05d" % number, **dict.fromkeys(ATTRIBUTES, 1)} for number in range(3000)]
        connection.execute(insert(entry), rows)
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2 // 4096 * 4096)
        file.write(b"\xff" * 4096)
    with pytest.raises(CatalogDamaged, match="cannot be used: .*only a cache"):
        Catalog(path)


ATTRIBUTES = [column.name for column in entry.c if column.name not in ("directory", "name")]


def test_another_version_and_another_database_are_refused(tmp_path: Path) -> None:
    with Catalog(tmp_path / "catalog.db") as catalog, catalog.writing() as connection:
        connection.execute(update(schema).values(version=99))
    with pytest.raises(CatalogDamaged, match="another version .*99"):
        Catalog(tmp_path / "catalog.db")
    other = sqlite3.connect(tmp_path / "other.db")
    other.execute("CREATE TABLE precious (x)")
    other.close()
    with pytest.raises(CatalogDamaged, match=r"other\.db holds other tables"):
        Catalog(tmp_path / "other.db")


def test_what_cannot_be_opened_says_why(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=r"nowhere/catalog\.db cannot be opened: No such file"):
        Catalog(tmp_path / "nowhere" / "catalog.db")
    with pytest.raises(CatalogError, match="Check the URL"):
        Catalog("nonsense://user:secret@host/base")
    with pytest.raises(CatalogError, match="oracledb.*Install the driver") as refused:
        Catalog("oracle+oracledb://user:secret@host/base")
    assert "secret" not in str(refused.value)


def test_a_url_of_a_file_is_that_file(tmp_path: Path) -> None:
    Catalog(f"sqlite:///{tmp_path}/catalog.db").close()
    assert stat.S_IMODE((tmp_path / "catalog.db").stat().st_mode) == 0o600


def test_a_closed_one_says_so(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path / "catalog.db")
    catalog.close()
    catalog.close()
    with pytest.raises(CatalogError, match="is closed"), catalog.reading():
        pass


def test_every_table_and_column_is_explained() -> None:
    assert [table.name for table in metadata.tables.values() if not table.comment] == []
    assert [str(column) for table in metadata.tables.values() for column in table.c if not column.comment] == []


def test_the_tables_are_the_same_in_postgresql() -> None:
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    made = str(CreateTable(directory).compile(dialect=dialect))
    assert "id BIGSERIAL" in made and "name BYTEA NOT NULL" in made
    (index,) = entry.indexes
    assert "ON entry (ino)" in str(CreateIndex(index).compile(dialect=dialect))


def test_known_is_what_lstat_says(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    st = (tmp_path / "link").lstat()
    known = Known.of(st, 5)
    assert known[:3] == (st.st_ino, st.st_mode, st.st_nlink) and known[-5:-2] == (
        st.st_atime_ns,
        st.st_mtime_ns,
        st.st_ctime_ns,
    )
    assert (known.birth_ns, known.exact, known.is_dir) == (5, True, False)
    assert Known.of(tmp_path.stat()).is_dir
