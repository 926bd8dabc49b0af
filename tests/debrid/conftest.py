"""A simulated Real-Debrid, and a client whose pace does not slow the tests down."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from debrid.client import Client
from debrid.holds import ANY, UNRESTRICT, Holds
from debrid.limits import Limits, Pauses, Rate
from debrid.simulator import Simulator
from debrid.store import Store
from debrid.transport import Budget

TOKEN = "SECRETTOKEN0123456789"


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries follow each other ten times faster."""
    whole = Budget.sleep
    monkeypatch.setattr(Budget, "sleep", lambda budget, seconds: whole(budget, seconds / 10))


def quick_limits() -> Limits:
    """The real limiter, a thousand times faster."""
    rates = {kind: Rate(1000, 100) for kind in (ANY, "list", "info", "change", UNRESTRICT)}
    return Limits(rates, Pauses(first=0.02, breaker=0.3, forget_after=1.0), holds=Holds(refused_token=0.2))


@pytest.fixture
def sim() -> Iterator[Simulator]:
    """A healthy account without torrents."""
    with Simulator(None, token=TOKEN) as simulator:
        yield simulator


@pytest.fixture
def make_client(sim: Simulator) -> Iterator[Callable[..., Client]]:
    """Clients of the simulator, closed afterwards; keywords as for Client."""
    clients: list[Client] = []

    def make(**options: object) -> Client:
        settings: dict[str, object] = {"limits": quick_limits(), "timeout": (2, 5)}
        clients.append(Client(TOKEN, sim.api_url, **(settings | options)))  # type: ignore[arg-type]
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def client(make_client: Callable[..., Client]) -> Client:
    """A client of the simulator."""
    return make_client()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty debrid.db."""
    with Store(tmp_path / "debrid.db") as opened:
        yield opened


@pytest.fixture
def no_threads_left() -> Iterator[None]:
    """Every test ends with the threads it began with."""
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(timeout=5)
    left = [thread.name for thread in set(threading.enumerate()) - before]
    assert not left
