"""Local copies of remote files: pinned while they are read, given back, made ordinary files; also after a crash."""

import errno
import hashlib
import json
import os
import random
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import MakeMount
from mounting import Mounted, wait_for
from pulling import Pulled, missed, status

from debrid.simulator import Simulator
from vfs import becoming, pinning

pytestmark = [pytest.mark.mount, pytest.mark.timeout(300)]

MIB = 1 << 20
FILM = random.Random(1).randbytes(21 * MIB + 12_345)
EXTRA = random.Random(2).randbytes(70_001)
COMPLETE = "torrents/complete"


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator() as simulator:
        simulator.add_torrent("Film", {"/film.mkv": FILM, "/extra.mkv": EXTRA, "/empty.mkv": b""})
        yield simulator


def made(make_mount: MakeMount, simulator: Simulator, name: str = "pool", **options: object) -> Mounted:
    mounted = make_mount(name, **options)
    debrid = f'token = "{simulator.token}"\napi_url = "{simulator.api_url}"\npoll_seconds = 1\nread_deadline = 5\n'
    # Reading the same bytes a second time must not be answered by a cache.
    mounted.write_config(debrid=debrid)
    mounted.config.write_text(mounted.config.read_text().replace('size = "200MiB"', 'size = "1MiB"'))
    return mounted


def shown(mounted: Mounted) -> Mounted:
    wait_for((mounted.path / COMPLETE / "Film/film.mkv").exists, "the torrent")
    return mounted


@pytest.fixture
def tree(make_mount: MakeMount, simulator: Simulator) -> Mounted:
    return shown(made(make_mount, simulator).start())


def film(tree: Mounted) -> Path:
    return tree.path / COMPLETE / "Film/film.mkv"


def run(tree: Mounted, *words: str) -> list[dict]:
    done = tree.command(*words, "--json")
    assert done.returncode == 0, done.stderr + done.stdout + tree.log.read_text()
    return json.loads(done.stdout)


def copies(tree: Mounted) -> list[Path]:
    return [file for drive in tree.drive_paths for file in (drive / ".mediapool/pinned").glob("*")]


def facts(path: Path) -> tuple[int, ...]:
    st = path.stat()
    return st.st_ino, st.st_mode, st.st_nlink, st.st_uid, st.st_gid, st.st_size, st.st_mtime_ns


def sha(data: bytes) -> bytes:
    return hashlib.sha1(data).digest()


class Player:
    """Reads a file over and over by one descriptor, as long as the `with` lasts; fails for any other byte."""

    def __init__(self, path: Path, data: bytes) -> None:
        self.path, self.data = path, data
        self.rounds = 0
        self.problem = ""
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._play)

    def _play(self) -> None:
        fd = os.open(self.path, os.O_RDONLY)
        try:
            while not self._end.is_set():
                for offset in range(0, len(self.data), 300_000):
                    if os.pread(fd, 300_000, offset) != self.data[offset : offset + 300_000]:
                        self.problem = f"other bytes at {offset}"
                self.rounds += 1
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        except OSError as cause:
            self.problem = str(cause)
        finally:
            os.close(fd)

    def __enter__(self) -> "Player":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        before = self.rounds
        wait_for(lambda: self.rounds > before + 1 or self.problem, "two more rounds of the player")
        self._end.set()
        self._thread.join()
        assert not self.problem


def test_a_pinned_file_is_the_same_file_and_asks_nobody(tree: Mounted, simulator: Simulator) -> None:
    other = tree.path / "media/linked.mkv"
    other.parent.mkdir()
    os.link(film(tree), other)
    os.setxattr(film(tree), "user.note", b"mine")
    before = facts(film(tree)), facts(other)
    (answer,) = run(tree, "pin", str(film(tree)))
    assert (answer["state"], answer["done"]) == ("done", len(FILM))
    assert (facts(film(tree)), facts(other)) == before
    assert os.getxattr(other, "user.note") == b"mine"
    fetched = simulator.cdn_bytes
    assert film(tree).read_bytes() == other.read_bytes() == FILM
    assert simulator.cdn_bytes == fetched
    assert [file.stat().st_size for file in copies(tree) if file.suffix != ".sums"] == [len(FILM)]
    assert status(tree)["pinned"] == {"pinned": 1, "bytes": len(FILM)}
    assert tree.command("pool", "check").returncode == 0
    # Still a remote file by its names: no writing.
    with pytest.raises(OSError) as caught:
        film(tree).open("r+b")
    assert caught.value.errno == errno.EROFS
    assert run(tree, "pin", str(film(tree)))[0]["state"] == "pinned"


def test_the_kernel_reads_a_pinned_file_itself_once_it_is_idle(tree: Mounted) -> None:
    if not status(tree)["passthrough"]["on"]:
        pytest.skip("passthrough is off here")
    run(tree, "pin", str(film(tree)))
    reads = status(tree)["requests"]["reads"]
    assert film(tree).read_bytes() == FILM
    assert status(tree)["requests"]["reads"] == reads
    # And again through us once there is no copy.
    run(tree, "unpin", str(film(tree)), "--yes")
    assert film(tree).read_bytes() == FILM


def test_pin_unpin_download_while_a_player_reads(tree: Mounted, simulator: Simulator) -> None:
    other = tree.path / "linked.mkv"
    os.link(film(tree), other)
    before = facts(film(tree))
    with Player(film(tree), FILM):
        run(tree, "pin", str(film(tree)))
    with Player(film(tree), FILM):
        run(tree, "unpin", str(film(tree)), "--yes")
    assert copies(tree) == []
    with Player(film(tree), FILM), Player(other, FILM):
        run(tree, "download", str(film(tree)), "--yes")
        assert facts(film(tree)) == facts(other) == before
    assert copies(tree) == []
    assert facts(film(tree)) == facts(other) == before
    assert is_local(tree, [film(tree), other])
    tree.stop()
    shown(tree.start())
    assert facts(film(tree)) == facts(other) == before
    with other.open("r+b") as file:
        file.write(b"mine now")
    assert film(tree).read_bytes() == b"mine now" + FILM[8:]


def is_local(tree: Mounted, paths: list[Path]) -> bool:
    """Whether these are links of one file of one drive, and nothing remote."""
    if any(os.getxattr(path, "user.mediapool.source") != b"drive" for path in paths):
        return False
    drives = {os.getxattr(path, "user.mediapool.drive") for path in paths}
    inner = [tree.base / os.fsdecode(drive) / path.relative_to(tree.path) for drive in drives for path in paths]
    return len(drives) == 1 and len({path.stat().st_ino for path in inner}) == 1


def test_a_download_keeps_owner_mode_times_and_attributes_and_lets_the_provider_go(
    tree: Mounted, simulator: Simulator
) -> None:
    os.chown(film(tree), 1234, 2345)
    film(tree).chmod(0o640)
    os.utime(film(tree), ns=(10**18, 10**18 + 7))
    os.setxattr(film(tree), "user.note", b"mine")
    folder = film(tree).parent
    before, folder_time = facts(film(tree)), folder.stat().st_mtime_ns
    assert [one["state"] for one in run(tree, "download", str(folder), "--yes")] == ["done"] * 3
    assert facts(film(tree)) == before
    assert folder.stat().st_mtime_ns == folder_time
    assert os.getxattr(film(tree), "user.note") == b"mine"
    assert film(tree).read_bytes() == FILM
    assert (folder / "empty.mkv").read_bytes() == b""
    assert status(tree)["remote"]["files"] == 0
    assert tree.command("pool", "check").returncode == 0
    # What was pinned before becomes the file; nothing is fetched a second time.
    assert sorted(path.name for path in folder.iterdir()) == ["empty.mkv", "extra.mkv", "film.mkv"]


def test_what_is_pinned_becomes_the_file_without_a_second_copy(tree: Mounted, simulator: Simulator) -> None:
    run(tree, "pin", str(film(tree)))
    (copy,) = [file for file in copies(tree) if file.suffix != ".sums"]
    number, fetched = copy.stat().st_ino, simulator.cdn_bytes
    run(tree, "download", str(film(tree)), "--yes")
    assert simulator.cdn_bytes == fetched
    (file,) = [drive / film(tree).relative_to(tree.path) for drive in tree.drive_paths
               if (drive / film(tree).relative_to(tree.path)).exists()]  # fmt: skip
    assert file.stat().st_ino == number


def test_lists_patterns_dry_runs_and_what_is_not_remote(tree: Mounted) -> None:
    (tree.path / "own.txt").write_text("local")
    listed = f"{film(tree)}\n{tree.path}/own.txt\n"
    done = tree.command("pin", "-", "--dry-run", "--json", input=listed)
    assert [(one["path"].rpartition("/")[2], one["state"]) for one in json.loads(done.stdout)] == [
        ("film.mkv", "waiting"),
        ("own.txt", "local"),
    ]
    assert copies(tree) == []
    assert len(run(tree, "pin", f"{tree.path}/{COMPLETE}/*/e*")) == 2
    assert tree.command("pin", str(tree.path / "none")).returncode == 1
    assert tree.command("unpin", str(film(tree).parent)).returncode == 2  # nobody can be asked


def test_a_copy_is_removed_only_if_the_provider_has_the_bytes(tree: Mounted, simulator: Simulator) -> None:
    extra = film(tree).with_name("extra.mkv")
    run(tree, "pin", str(film(tree)), str(extra))
    with simulator.faults.set(cdn_status=503, cdn_status_times=1000):
        refused = tree.command("unpin", str(film(tree)), "--yes")
        assert refused.returncode == 1
        assert film(tree).read_bytes() == FILM
    assert len(copies(tree)) == 4
    run(tree, "unpin", str(extra), "--yes")
    assert len(copies(tree)) == 2


def test_a_copy_goes_with_the_last_name(tree: Mounted) -> None:
    run(tree, "pin", str(film(tree)))
    fd = os.open(film(tree), os.O_RDONLY)
    film(tree).unlink()
    assert os.pread(fd, 1000, MIB) == FILM[MIB : MIB + 1000]
    assert copies(tree)
    os.close(fd)
    wait_for(lambda: not copies(tree), "the copy to be removed")
    assert status(tree)["pinned"]["pinned"] == 0


def test_a_damaged_copy_is_noticed_and_mended(tree: Mounted, simulator: Simulator) -> None:
    run(tree, "pin", str(film(tree)))
    (copy,) = [file for file in copies(tree) if file.suffix != ".sums"]
    with copy.open("r+b") as file:
        file.seek(9 * MIB)
        file.write(b"damage")
    assert film(tree).read_bytes() == FILM  # from the provider
    checked = tree.command("pool", "check", "--json")
    assert [one["kind"] for one in json.loads(checked.stdout)["findings"]] == ["pinned"]
    fetched = simulator.cdn_bytes
    (answer,) = run(tree, "pin", str(film(tree)))
    assert (answer["state"], answer["fetched"]) == ("done", 4 * MIB)
    assert simulator.cdn_bytes - fetched < 6 * MIB
    assert copy.read_bytes() == FILM
    assert tree.command("pool", "check").returncode == 0


def test_a_pulled_drive_leaves_the_provider(tree: Mounted) -> None:
    run(tree, "pin", str(film(tree)))
    (copy,) = [file for file in copies(tree) if file.suffix != ".sums"]
    number = next(index for index, drive in enumerate(tree.drive_paths, 1) if copy.is_relative_to(drive))
    pulled = Pulled(tree.drive_paths[number - 1])
    before = facts(film(tree))
    pulled.pull()
    missed(tree, number)
    assert film(tree).read_bytes() == FILM
    assert facts(film(tree)) == before
    assert tree.command("unpin", str(film(tree)), "--yes").returncode == 1
    pulled.put_back()
    assert film(tree).read_bytes() == FILM


def begin(tree: Mounted, goal: str) -> None:
    """Ask for it, in a process that is not waited for."""
    threading.Thread(target=tree.command, args=(goal, str(film(tree)), "--yes")).start()


def jobs_done(tree: Mounted, state: str = "done") -> bool:
    return [one["state"] for one in asked(tree)] == [state]


def asked(tree: Mounted) -> list[dict]:
    contact = json.loads((tree.state / "daemon.json").read_text())
    request = urllib.request.Request(
        contact["url"] + "/api/pins", headers={"Authorization": f"Bearer {contact['token']}"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        found: list[dict] = json.load(answer)["jobs"]
    return found


def test_a_restart_goes_on_where_it_was(make_mount: MakeMount, simulator: Simulator) -> None:
    tree = shown(made(make_mount, simulator).start())
    with simulator.faults.set(cdn_rate=4e6):
        begin(tree, "pin")
        wait_for(lambda: asked(tree) and asked(tree)[0]["fetched"] >= 8 * MIB, "some parts")
        tree.stop()
    before = simulator.cdn_bytes
    shown(tree.start())
    wait_for(lambda: jobs_done(tree), "the rest")
    assert asked(tree)[0]["fetched"] <= len(FILM) - 8 * MIB
    assert simulator.cdn_bytes - before <= len(FILM) - 7 * MIB
    assert film(tree).read_bytes() == FILM


PIN_AT = ["part fetched 3", *(f"{when} pin {place}" for place in pinning.PLACES[:3] for when in ("before", "after"))]
UNPIN_AT = [f"{when} pin {place}" for place in pinning.PLACES[3:] for when in ("before", "after")]
DOWNLOAD_AT = [f"{when} download {place}" for place in becoming.PLACES for when in ("before", "after")]


@pytest.mark.parametrize("place", PIN_AT)
def test_killed_while_pinning(make_mount: MakeMount, simulator: Simulator, place: str) -> None:
    tree = shown(made(make_mount, simulator, environment={"MEDIAPOOL_CRASH_AT": place}).start())
    before = facts(film(tree))
    killed(tree, "pin")
    shown(tree.start())
    wait_for(lambda: status(tree)["pinned"] == {"pinned": 1, "bytes": len(FILM)}, "the rest")
    if place.startswith("part"):
        assert asked(tree)[0]["fetched"] < len(FILM) - 2 * 4 * MIB
    fetched = simulator.cdn_bytes
    assert film(tree).read_bytes() == FILM
    assert simulator.cdn_bytes == fetched
    assert facts(film(tree)) == before
    assert len(copies(tree)) == 2
    assert tree.command("pool", "check").returncode == 0


@pytest.mark.parametrize("place", UNPIN_AT)
def test_killed_while_unpinning(make_mount: MakeMount, simulator: Simulator, place: str) -> None:
    tree = shown(made(make_mount, simulator).start())
    run(tree, "pin", str(film(tree)))
    tree.stop()
    tree.environment["MEDIAPOOL_CRASH_AT"] = place
    shown(tree.start())
    killed(tree, "unpin")
    shown(tree.start())
    wait_for(lambda: len(copies(tree)) == 2 * status(tree)["pinned"]["pinned"], "the copy to be there or not")
    assert film(tree).read_bytes() == FILM
    assert tree.command("pool", "check").returncode == 0


@pytest.mark.parametrize("place", DOWNLOAD_AT)
def test_killed_while_downloading(make_mount: MakeMount, simulator: Simulator, place: str) -> None:
    tree = shown(made(make_mount, simulator, environment={"MEDIAPOOL_CRASH_AT": place}).start())
    other = tree.path / "media/deep/linked.mkv"
    other.parent.mkdir(parents=True)
    os.link(film(tree), other)
    before = facts(film(tree))
    killed(tree, "download")
    shown(tree.start())
    assert film(tree).read_bytes() == other.read_bytes() == FILM
    wait_for(lambda: is_local(tree, [film(tree), other]), "the rest")
    wait_for(lambda: not copies(tree), "the name of the copy to go")
    assert facts(film(tree)) == facts(other) == before
    assert is_local(tree, [film(tree), other])
    assert sha(film(tree).read_bytes()) == sha(FILM)
    assert tree.command("pool", "check").returncode == 0


def killed(tree: Mounted, goal: str) -> None:
    """Begin it, wait until the mount has died of it, and clear that away."""
    begin(tree, goal)
    assert tree.process is not None
    wait_for(lambda: tree.process.poll() is not None, "the mount to be killed")  # type: ignore[union-attr]
    tree.kill()
    tree.environment.pop("MEDIAPOOL_CRASH_AT")


def test_programs_are_counted_and_capped_but_pinned_files_stay_readable(
    make_mount: MakeMount, simulator: Simulator
) -> None:
    tree = made(make_mount, simulator)
    config = tree.config.read_text()
    tree.config.write_text(config + '\n[debrid.program_limits]\ndd = "1MiB/day"\n')
    shown(tree.start())

    def dd() -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(["dd", f"if={film(tree)}", "bs=1M", "iflag=nocache"], capture_output=True)

    dd()
    counted = status(tree)["today"]["programs"]["dd"]
    assert counted["limit"] == MIB and counted["bytes"] >= MIB
    assert dd().returncode == 1
    assert "dd has read its" in tree.log.read_text()
    assert film(tree).read_bytes() == FILM  # another program
    assert f"of {MIB // MIB}.0 MiB" in tree.command("status").stdout
    tree.stop()
    shown(tree.start())
    assert dd().returncode == 1, "a restart changes nothing"
    run(tree, "pin", str(film(tree)))
    assert dd().stdout == FILM


def test_what_the_provider_lost_is_read_from_an_identical_copy(tree: Mounted, simulator: Simulator) -> None:
    folder = tree.path / COMPLETE
    simulator.add_torrent("Same", {"/same.mkv": FILM})
    simulator.add_torrent("Unknown", {"/unknown.mkv": FILM})
    wait_for(lambda: (folder / "Same/same.mkv").exists() and (folder / "Unknown/unknown.mkv").exists(), "the torrents")
    run(tree, "pin", str(film(tree)), str(folder / "Same/same.mkv"))
    run(tree, "unpin", str(folder / "Same/same.mkv"), "--yes")
    before = facts(folder / "Same/same.mkv")
    with simulator.faults.set(cdn_status=503, cdn_status_times=1000):
        assert (folder / "Same/same.mkv").read_bytes() == FILM
        assert facts(folder / "Same/same.mkv") == before
        # Of this one nobody knows that it is the same.
        with pytest.raises(OSError) as caught:
            (folder / "Unknown/unknown.mkv").read_bytes()
        assert caught.value.errno == errno.EIO


def test_pinned_copies_leave_a_drive_that_is_drained(tree: Mounted, simulator: Simulator) -> None:
    run(tree, "pin", str(tree.path / COMPLETE / "Film"))
    before = facts(film(tree))
    drive = next(path for path in tree.drive_paths if any(copy.parent.parent.parent == path for copy in copies(tree)))
    there = len(copies(tree))
    with Player(film(tree), FILM):
        drained = tree.command("pool", "drain", drive.name, "--yes", "--wait")
        assert drained.returncode == 0, drained.stdout + drained.stderr
    assert not list((drive / ".mediapool/pinned").glob("*")) and len(copies(tree)) == there
    assert tree.command("pool", "remove", drive.name, "--yes").returncode == 0
    assert facts(film(tree)) == before and sha(film(tree).read_bytes()) == sha(FILM)
    assert status(tree)["pinned"]["pinned"] == 3
    found = json.loads(tree.command("pool", "check", "--json").stdout)["findings"]
    assert not {"pinned", "leftover"} & {finding["kind"] for finding in found}
