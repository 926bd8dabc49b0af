"""When the provider is down, refuses, lies or stalls: nothing vanishes, and nothing local waits."""

import contextlib
import errno
import json
import os
import random
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import MakeMount
from mounting import Mounted, wait_for

from debrid.simulator import ALWAYS, Simulator

pytestmark = pytest.mark.mount

SEEN, OTHER = (random.Random(seed).randbytes(700_001) for seed in (1, 2))
COMPLETE = "torrents/complete"
MIB = 1 << 20
MOST_WAITING = 192
APART = 3 * MIB  # so far from each other readers share no response


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator() as simulator:
        for number in range(6):
            simulator.add_torrent(f"Film {number}", {"/seen.mkv": SEEN, "/other.mkv": OTHER}, rar=False)
        yield simulator


def mount(make_mount: MakeMount, simulator: Simulator, read_deadline: int) -> Mounted:
    tree = make_mount()
    tree.write_config(
        debrid=f'token = "{simulator.token}"\napi_url = "{simulator.api_url}"\npoll_seconds = 1\n'
        f"read_deadline = {read_deadline}"
    )
    tree.start()
    wait_for(lambda: len(published(tree)) == len(simulator.torrents), "the torrents")
    return tree


def published(tree: Mounted) -> list[str]:
    folder = tree.path / COMPLETE
    return sorted(os.listdir(folder)) if folder.exists() else []


def status(tree: Mounted) -> dict:
    return json.loads(tree.command("status", "--json").stdout)


def picture(tree: Mounted) -> dict[str, tuple[int, ...]]:
    """Every path with all attributes but the access time, which reading moves."""
    return {str(path): (st := tuple(path.lstat()))[:7] + st[8:] for path in (tree.path / COMPLETE).rglob("*")}


# What goes wrong, and whether bytes can be had meanwhile: links are good for more than the list they came from.
TROUBLES: dict[str, tuple[dict[str, object], bool]] = {
    "down": ({"api_outage": "refused", "cdn_outage": "refused"}, False),
    "connections cut": ({"api_outage": "closed", "cdn_outage": "closed"}, False),
    "maintenance": ({"api_outage": "maintenance", "cdn_outage": "html"}, False),
    "unauthorised": ({"account": "bad_token"}, False),
    "too many requests": ({"api_status": 429}, False),
    "empty object": ({"list_fault": "object"}, True),
    "no content": ({"list_fault": "no_content"}, True),
    "empty list": ({"list_fault": "empty_array"}, True),
    "half the list": ({"list_fault": "half"}, True),
}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_nothing_vanishes_and_what_was_read_is_read_again(
    make_mount: MakeMount, simulator: Simulator, trouble: str
) -> None:
    faults, readable = TROUBLES[trouble]
    tree = mount(make_mount, simulator, read_deadline=3)
    seen, other = (tree.path / COMPLETE / "Film 0" / name for name in ("seen.mkv", "other.mkv"))
    assert seen.read_bytes() == SEEN
    (seen.parent / "beside.srt").write_text("local")
    before = picture(tree).items()
    with simulator.faults.set(**faults):
        listed = simulator.count(path_prefix="/torrents")
        # A changed account makes the poller ask for the whole list.
        simulator.add_torrent("One more", {"/film.mkv": OTHER})
        if readable:
            wait_for(lambda: simulator.count(path_prefix="/torrents") >= listed + 2, "two polls")
        else:
            wait_for(lambda: status(tree)["remote"]["account"]["error"], "a poll that fails")
        assert picture(tree).items() >= before
        assert past_the_page_cache(seen) == SEEN
        if readable:
            assert other.read_bytes() == OTHER
        else:
            with pytest.raises(OSError) as refused:
                other.read_bytes()
            assert refused.value.errno == errno.EIO
        beside = seen.with_suffix(".srt")
        beside.write_text("written meanwhile")
        assert beside.read_text() == "written meanwhile"
        beside.unlink()
    if trouble in ("unauthorised", "too many requests"):
        # What was refused so is asked again only after a minute or two; a new start asks at once.
        tree.stop()
        tree.start()
    wait_for(lambda: "One more" in published(tree), "recovery", 60)
    assert other.read_bytes() == OTHER
    assert picture(tree).keys() >= dict(before).keys()


def past_the_page_cache(path: Path) -> bytes:
    """What mediapool answers, not the kernel."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        return os.pread(fd, path.stat().st_size, 0)
    finally:
        os.close(fd)


# Reads that wait.


class Blocked:
    """Threads that read one large remote file, each at a place of its own, and get nothing."""

    def __init__(self, path: Path, readers: int, read: Callable[[int], object]) -> None:
        self.ends: list[int | None] = []
        self._threads = [threading.Thread(target=self._run, args=(path, number, read)) for number in range(readers)]
        for thread in self._threads:
            thread.start()

    def _run(self, path: Path, number: int, read: Callable[[int], object]) -> None:
        fd = os.open(path, os.O_RDONLY)
        try:
            os.lseek(fd, number * APART, os.SEEK_SET)
            read(fd)
            self.ends.append(None)
        except OSError as cause:
            self.ends.append(cause.errno)
        finally:
            # Where the mount is gone, so is what it knew.
            with contextlib.suppress(OSError):
                os.close(fd)

    def join(self) -> None:
        for thread in self._threads:
            thread.join(90)
            assert not thread.is_alive()


def one_page(fd: int) -> None:
    """A read that the kernel asks for as it is."""
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
    os.read(fd, 4096)


def in_order(fd: int) -> None:
    """A player: the kernel reads ahead of it, and so does mediapool."""
    for _ in range(40):
        os.read(fd, 65_536)


@pytest.fixture
def large(make_mount: MakeMount, tmp_path: Path) -> Iterator[tuple[Mounted, Simulator]]:
    """A mount with one film of 1 GiB of holes, whose responses stall."""
    film = tmp_path / "large.mkv"
    film.touch()
    os.truncate(film, 1 << 30)
    with Simulator() as simulator:
        simulator.add_torrent("Large", {"/film.mkv": film}, rar=False)
        simulator.faults.cdn_connection_limit = 1000
        yield mount(make_mount, simulator, read_deadline=20), simulator


def local_work(tree: Mounted) -> None:
    """All that shall go on while remote reads wait, the folder of the film renamed and the film unlinked."""
    folder, renamed = tree.path / COMPLETE / "Large", tree.path / "renamed"
    for number in range(10):
        assert subprocess.check_output(["ls", "-l", folder]).count(b"film.mkv") == 1
        assert (folder / "film.mkv").stat().st_size == 1 << 30
        (tree.path / f"new {number}").write_text("written")
        os.rename(tree.path / f"new {number}", folder / f"beside {number}")
        assert (folder / f"beside {number}").read_text() == "written"
    os.rename(folder, renamed)
    os.close(os.open(renamed / "film.mkv", os.O_RDONLY))
    os.link(renamed / "film.mkv", tree.path / "second")
    os.unlink(renamed / "film.mkv")
    assert sorted(os.listdir(renamed)) == sorted(f"beside {number}" for number in range(10))
    subprocess.run(["rm", "-rf", renamed], check=True)


@pytest.mark.parametrize("read", [one_page, in_order], ids=lambda read: read.__name__)
@pytest.mark.parametrize("readers", [64, 300])
def test_blocked_reads_hold_up_nothing_else(
    large: tuple[Mounted, Simulator], readers: int, read: Callable[[int], object]
) -> None:
    tree, simulator = large
    # In order, some bytes come first, so that both read-aheads have begun when they stop.
    simulator.faults.put({"cdn_stall_after": 400_000 if read is in_order else 0, "cdn_stall_times": ALWAYS})
    blocked = Blocked(tree.path / COMPLETE / "Large/film.mkv", readers, read)
    waiting = min(readers, MOST_WAITING)
    wait_for(lambda: status(tree)["reader"]["waiting"] >= waiting, "reads that wait")
    wait_for(lambda: len(blocked.ends) >= readers - MOST_WAITING, "those too many, which get their error at once")
    at_first = len(blocked.ends)
    local_work(tree)
    # Had any of it waited for a read, that read would have ended, and with it all the others.
    assert len(blocked.ends) < readers and status(tree)["reader"]["waiting"] > 0
    if read is one_page:
        assert len(blocked.ends) == at_first == readers - waiting
    simulator.faults.cdn_stall_after = None
    blocked.join()
    # Some are served after all, by a second response within their deadline.
    assert len(blocked.ends) == readers and set(blocked.ends) <= {errno.EIO, None}
    fd = os.open(tree.path / "second", os.O_RDONLY)
    assert os.pread(fd, 100_000, 1 << 29) == bytes(100_000)
    os.close(fd)


def test_reads_that_wait_for_the_api_hold_up_nothing_else(large: tuple[Mounted, Simulator]) -> None:
    tree, simulator = large
    with simulator.faults.set(api_latency_by_prefix={"/unrestrict": 22.0}):
        blocked = Blocked(tree.path / COMPLETE / "Large/film.mkv", 64, one_page)
        wait_for(lambda: status(tree)["reader"]["waiting"] == 64, "reads that wait")
        local_work(tree)
        assert status(tree)["reader"]["waiting"] == 64 and not blocked.ends
        blocked.join()
    assert blocked.ends == [errno.EIO] * 64


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_mount_whose_reads_wait_can_be_ended(large: tuple[Mounted, Simulator], end: str) -> None:
    """Also after its film was linked and unlinked: what tells the kernel of it must not wait for those reads."""
    tree, simulator = large
    tree.stop()
    tree.config.write_text(tree.config.read_text().replace("read_deadline = 20", "read_deadline = 8"))
    tree.start()
    film, second = tree.path / COMPLETE / "Large/film.mkv", tree.path / "second"
    simulator.faults.put({"cdn_stall_after": 0, "cdn_stall_times": ALWAYS})
    blocked = Blocked(film, 8, in_order)
    wait_for(lambda: status(tree)["reader"]["waiting"] >= 8, "reads that wait")
    for _ in range(3):
        os.link(film, second)
        assert (film.stat().st_ino, film.stat().st_size) == (second.stat().st_ino, second.stat().st_size)
        os.unlink(second)
    assert not blocked.ends
    tree.stop() if end == "stop" else tree.kill()
    blocked.join()
    assert len(blocked.ends) == 8 and None not in blocked.ends
