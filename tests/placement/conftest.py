"""Fixtures of the placement tests: drives in temporary folders, and a watch on leaked descriptors."""

import gc
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from placement.drive import Drive, DriveConfig
from placement.identity import Identity, initialise


def _open_descriptors() -> set[str]:
    found = set()
    for fd in os.listdir("/proc/self/fd"):
        try:
            found.add(f"{fd} {os.readlink(f'/proc/self/fd/{fd}')}")
        except FileNotFoundError:  # the descriptor of the listing itself
            continue
    return found


@pytest.fixture(autouse=True)
def no_leaked_descriptors() -> Iterator[None]:
    before = _open_descriptors()
    yield
    left = _open_descriptors() - before
    if left:  # a root in a reference cycle is closed by the collector, not at once
        gc.collect()
        left = _open_descriptors() - before
    assert not left


@pytest.fixture
def make_drive(tmp_path: Path) -> Iterator[Callable[..., Drive]]:
    """make_drive("d1", mode="nc", capacity=...) -> a present drive in its own folder."""
    made: list[Drive] = []

    def make(name: str, *, known: Identity | None = None, **config: Any) -> Drive:
        path = tmp_path / name
        path.mkdir(exist_ok=True)
        initialise(path, name, len(made) + 1)
        made.append(Drive.open(DriveConfig(name, str(path), **config), known=known))
        return made[-1]

    yield make
    for drive in made:
        drive.close()
