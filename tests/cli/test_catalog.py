"""The catalog of a mount: opened or begun anew, and never in the way of the mount."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.catalog import DriveKnowledge, open_catalog
from cli.state import StateFolder
from indexer.catalog import Catalog, CatalogDamaged, CatalogError
from indexer.look import wide
from placement.drive import Drive, DriveConfig
from placement.identity import initialise


@pytest.fixture
def drive(tmp_path: Path) -> Iterator[Drive]:
    path = tmp_path / "drive"
    path.mkdir()
    initialise(path, "drive", 1)
    drive = Drive.open(DriveConfig("drive", str(path)))
    yield drive
    drive.close()


def test_a_damaged_file_is_moved_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "catalog.db"
    for _ in "ab":
        path.write_bytes(b"rubbish" * 1000)
        open_catalog(path).close()
        assert (tmp_path / "catalog.db.damaged").read_bytes() == b"rubbish" * 1000
        assert "moved to" in caplog.text
        with Catalog(path):
            pass


def test_a_file_of_another_version_is_moved_aside(tmp_path: Path) -> None:
    path = tmp_path / "catalog.db"
    with Catalog(path) as catalog, catalog.writing() as connection:
        connection.exec_driver_sql("UPDATE schema SET version = 99")
    with pytest.raises(CatalogDamaged):
        Catalog(path)
    open_catalog(path).close()
    assert (tmp_path / "catalog.db.damaged").exists()


def test_what_is_not_damaged_stays_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "catalog.db").mkdir()
    with pytest.raises(CatalogError, match="cannot be opened"):
        open_catalog(tmp_path / "catalog.db")
    assert os.listdir(tmp_path) == ["catalog.db"]


def test_without_a_catalog_nothing_is_known(tmp_path: Path, drive: Drive, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "catalog.db").mkdir()
    knowledge = DriveKnowledge(StateFolder(tmp_path), [drive], wide)
    knowledge.start()
    assert knowledge.files is None and knowledge.uncertain(1) is None and not knowledge.walking()
    assert "Until then a missing drive shows nothing" in caplog.text
    knowledge.stop()


def test_another_drive_with_the_number_is_not_taken_for_the_old_one(tmp_path: Path, drive: Drive) -> None:
    state = StateFolder(tmp_path)
    knowledge = DriveKnowledge(state, [drive], wide)
    knowledge.start()
    assert knowledge.walking()
    while knowledge.walking():
        pass
    assert knowledge.uncertain(1) == 0
    knowledge.stop()
    drive.id = "00000000-0000-0000-0000-000000000000"
    knowledge = DriveKnowledge(state, [drive], wide)
    assert knowledge.uncertain(1) is None
    knowledge.stop()


def test_a_mount_that_ends_while_it_begins(tmp_path: Path, drive: Drive) -> None:
    knowledge = DriveKnowledge(StateFolder(tmp_path), [drive], wide)
    knowledge.stop()
    before = threading.active_count()
    knowledge.start()
    assert threading.active_count() == before
