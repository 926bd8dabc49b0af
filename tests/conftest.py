"""Fixtures that many tests share: mounts that are gone when the test is."""

import contextlib
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mounting import Mounted


def pytest_configure() -> None:
    # A runner in the background ignores these two, and what is ignored stays so in every program it starts: the
    # mounts under test would not hear them.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


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
