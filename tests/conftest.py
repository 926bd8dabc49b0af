"""Fixtures that many tests share: mounts that are gone when the test is."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mounting import Mounted

MakeMount = Callable[..., Mounted]


@pytest.fixture
def make_mount(tmp_path: Path) -> Iterator[MakeMount]:
    """Make mounts below this test's folder; all are gone afterwards."""
    made: list[Mounted] = []

    def make(name: str = "pool", **options: object) -> Mounted:
        base = tmp_path / name
        base.mkdir()
        made.append(Mounted(base, **options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for mounted in made:
        if mounted.process is not None and mounted.process.poll() is None:
            mounted.stop()
        with contextlib.suppress(OSError):
            mounted.path.chmod(0o755)
