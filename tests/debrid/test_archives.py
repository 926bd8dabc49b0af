"""Torrents that come as RARs: what they show, and whose bytes are read."""

import time

import pytest
from faketree import Clock, FakeTree
from rarmaking import file4, rar4

from debrid.budget import Allowance
from debrid.client import Client
from debrid.library import Library
from debrid.repair import Mender
from debrid.repairlog import Repair, State
from debrid.simulator import SimTorrent, Simulator
from debrid.store import Store
from debrid.torrents import Torrents
from debrid.transport import Budget
from vfs.budget import DailyBudget

pytestmark = pytest.mark.usefixtures("short_pauses", "no_threads_left")

FILM = bytes(range(256)) * 700
TEXT = b"a subtitle of some length" * 9


class World:
    def __init__(self, sim: Simulator, client: Client, store: Store) -> None:
        self.sim, self.client, self.store, self.tree, self.clock = sim, client, store, FakeTree(), Clock()
        self.torrents = Torrents(client, store, self.tree, clock=self.clock)
        self.library = Library(client, store, deadline=10)

    def add(self, name: str, files: dict[str, bytes], **options: bool) -> SimTorrent:
        torrent = self.sim.add_torrent(name, dict(files), added=time.time() - 600, **options)  # type: ignore[arg-type]
        self.torrents.poke()
        self.torrents.poll()
        return torrent

    def content(self) -> dict[str, bytes]:
        return {path: self.read(key) for path, key in self.tree.entries.items()}

    def read(self, key: tuple[str, str, str], offset: int = 0) -> bytes:
        sizes = {file.key: file.size for files in self.tree.additions.values() for file in files}
        length = sizes[key] - offset
        stream = self.library.stream(key, offset, length)
        data = bytearray(length + 1)
        got = 0
        while count := stream.readinto(memoryview(data)[got:]):
            got += count
        stream.close()
        return bytes(data[:got])

    @property
    def problem(self) -> str:
        return self.torrents.list()[0].problem


@pytest.fixture
def world(sim: Simulator, client: Client, store: Store) -> World:
    return World(sim, client, store)


def test_what_was_packed_shows_the_files_inside(world: World) -> None:
    torrent = world.add("Film", {"/Film/a: film.mkv": FILM, "/Film/a.srt": TEXT}, rar=True)
    assert len(torrent.links) == 1
    assert world.content() == {
        "torrents/complete/Film/Film/a: film.mkv": FILM,
        "torrents/complete/Film/Film/a.srt": TEXT,
    }
    assert {key[2] for key in world.tree.entries.values()} == {"1", "2"}
    assert world.problem == ""
    assert world.read(("torrent", torrent.hash, "1"), 100_000) == FILM[100_000:]


def test_volumes_show_the_file_that_spans_them(world: World) -> None:
    parts = [FILM[:60_000], FILM[60_000:120_000], FILM[120_000:]]
    volumes = [
        rar4(file4(b"film.mkv", len(FILM), part, flags=(1 if number else 0) | (2 if number < 2 else 0)), main=1)
        for number, part in enumerate(parts)
    ]
    names = ["film.rar", "film.r00", "film.r01"]
    torrent = world.add("Film", {f"/CD1/{name}": data for name, data in zip(names, volumes, strict=True)}, rar=False)
    assert world.content() == {"torrents/complete/Film/CD1/film.mkv": FILM}
    (key,) = world.tree.entries.values()
    assert key == ("torrent", torrent.hash, "1/film.mkv")
    for offset in (59_999, 60_000, 119_000, len(FILM) - 1):
        assert world.read(key, offset) == FILM[offset:]


def test_volumes_inside_a_pack(world: World) -> None:
    first = rar4(file4(b"film.mkv", len(FILM), FILM[:60_000], flags=2), main=1)
    second = rar4(file4(b"film.mkv", len(FILM), FILM[60_000:], flags=1), main=1)
    world.add("Film", {"/x.part1.rar": first, "/x.part2.rar": second, "/x.nfo": TEXT}, rar=True)
    assert world.content() == {"torrents/complete/Film/film.mkv": FILM, "torrents/complete/Film/x.nfo": TEXT}


@pytest.mark.parametrize(
    ("archive", "why"),
    [
        (rar4(file4(b"film.mkv", 9999, b"abc", method=0x33)), "compressed"),
        (rar4(file4(b"film.mkv", 3, b"abc", flags=4)), "encrypted"),
        (rar4(file4(b"film.mkv", 9, b"abc", flags=2)), "missing"),
        (b"no archive at all", "no RAR"),
    ],
)
def test_what_is_not_stored_is_shown_as_it_is_and_told(world: World, archive: bytes, why: str) -> None:
    world.add("Film", {"/film.rar": archive})
    assert world.content() == {"torrents/complete/Film/film.rar": archive}
    assert why in world.problem and "film.rar" in world.problem


def test_a_pack_that_died_is_repaired(world: World) -> None:
    torrent = world.add("Film", {"/film.mkv": FILM, "/a.srt": TEXT}, rar=True)
    before = dict(world.tree.entries)
    world.sim.age_links(torrent.id)
    world.sim.revoke_urls()
    with pytest.raises(OSError, match="dead"):
        world.read(("torrent", torrent.hash, "2"))
    mender = Mender(world.client, world.store, world.tree, Allowance(DailyBudget(), "repair"), world.clock)
    assert mender.go_on(Repair(torrent.hash), Budget.of(30)).state is State.DONE
    assert len(world.sim.torrents) == 1 and world.sim.torrents[0].id != torrent.id
    assert world.content() == {"torrents/complete/Film/film.mkv": FILM, "torrents/complete/Film/a.srt": TEXT}
    world.torrents.poke()
    world.torrents.poll()
    assert world.tree.entries == before


def test_a_pack_that_is_laid_out_in_another_way_is_not_taken(world: World) -> None:
    torrent = world.add("Film", {"/one.mkv": FILM, "/two.mkv": FILM[::-1], "/a.srt": TEXT}, rar=True)
    world.sim.age_links(torrent.id)
    world.sim.revoke_urls()
    with pytest.raises(OSError, match="dead"):
        world.read(("torrent", torrent.hash, "1"))
    segments = {part: world.store.parts(torrent.hash, part) for part in ("1", "2")}
    world.store.set_parts(torrent.hash, {"1": segments["2"], "2": segments["1"]})
    mender = Mender(world.client, world.store, world.tree, Allowance(DailyBudget(), "repair"), world.clock)
    repair = mender.go_on(Repair(torrent.hash), Budget.of(30))
    assert "packed in another way" in repair.problem
    assert [each.id for each in world.sim.torrents] == [torrent.id]


def test_headers_cost_few_requests(world: World) -> None:
    world.add("Film", {"/film.mkv": FILM, "/a.srt": TEXT}, rar=True)
    assert world.sim.cdn_requests <= 4
    assert world.sim.count("POST", "/unrestrict/link") <= 2
