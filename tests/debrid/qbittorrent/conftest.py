"""A world for the API to serve."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from downloading import World

from debrid.client import Client
from debrid.simulator import Simulator


@pytest.fixture
def world(tmp_path: Path, sim: Simulator, client: Client) -> Iterator[World]:
    """Its downloads go on by themselves."""
    made = World(tmp_path, sim, client)
    made.downloads.start()
    yield made
    made.close()
