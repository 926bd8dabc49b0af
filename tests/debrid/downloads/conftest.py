"""A world for downloads."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from downloading import World

from debrid.client import Client
from debrid.simulator import Simulator


@pytest.fixture
def world(tmp_path: Path, sim: Simulator, client: Client) -> Iterator[World]:
    """Nothing runs yet: `world.downloads.start()`."""
    made = World(tmp_path, sim, client)
    yield made
    made.close()


@pytest.fixture
def running(world: World) -> World:
    """Its downloads go on by themselves."""
    world.downloads.start()
    return world
