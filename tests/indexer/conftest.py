"""Fixtures of the indexer tests: a drive in a temporary folder, its catalog, and what is known of it."""

import gc
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from indexer.catalog import Catalog
from indexer.known import KnownFiles
from placement.drive import Drive, DriveConfig
from placement.identity import initialise


def _open_descriptors() -> set[str]:
    found = set()
    for fd in os.listdir("/proc/self/fd"):
        try:
            found.add(f"{fd} {os.readlink(f'/proc/self/fd/{fd}')}")
        except FileNotFoundError:  # the descriptor of the listing itself
            continue
    return found


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """No descriptor, connection or thread outlives a test."""
    descriptors, threads = _open_descriptors(), set(threading.enumerate())
    yield
    if left := _open_descriptors() - descriptors:
        gc.collect()
        left = _open_descriptors() - descriptors
    assert not left
    assert set(threading.enumerate()) <= threads


@pytest.fixture
def make_drive(tmp_path: Path) -> Iterator[Callable[[int], Drive]]:
    """make_drive(7) -> a present drive with that number, in a folder of its own."""
    made: list[Drive] = []

    def make(number: int) -> Drive:
        path = tmp_path / f"drive{number}"
        path.mkdir()
        initialise(path, path.name, number)
        made.append(Drive.open(DriveConfig(path.name, str(path))))
        return made[-1]

    yield make
    for drive in made:
        drive.close()


@pytest.fixture
def drive(make_drive: Callable[[int], Drive]) -> Drive:
    """Drive 3."""
    return make_drive(3)


@pytest.fixture
def root(drive: Drive) -> Path:
    """The folder of drive 3."""
    return Path(drive.path)


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with Catalog(tmp_path / "catalog.db") as catalog:
        yield catalog


@pytest.fixture
def known(catalog: Catalog, tmp_path: Path) -> Iterator[KnownFiles]:
    """Marks become due at once."""
    known = KnownFiles(catalog, tmp_path / "marks", quiet=0.0)
    yield known
    known.close()
