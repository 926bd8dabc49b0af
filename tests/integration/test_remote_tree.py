"""Remote content through a real mount: an HTTP server with its faults on one side, plain file calls on the other."""

import errno
import hashlib
import json
import os
import random
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import ffmpeg
import pytest
from conftest import MakeMount
from mounting import Mounted, wait_for

from debrid.simulator import Simulator

pytestmark = pytest.mark.mount

MIB = 1 << 20
BIG = random.Random(1).randbytes(9 * MIB + 12_345)
SMALL = random.Random(2).randbytes(70_001)
COMPLETE = "torrents/complete"


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator() as simulator:
        simulator.add_torrent("Show", {"/S1/e1.mkv": BIG, "/S1/e2.mkv": SMALL, "/empty.mkv": b""})
        yield simulator


def mount_with(make_mount: MakeMount, simulator: Simulator, **sections: str) -> Mounted:
    mounted = make_mount()
    debrid = f'token = "{simulator.token}"\napi_url = "{simulator.api_url}"\npoll_seconds = 1\nread_deadline = 20\n'
    mounted.write_config(**{"debrid": debrid + sections.pop("debrid", ""), **sections})
    return mounted


@pytest.fixture
def tree(make_mount: MakeMount, simulator: Simulator) -> Mounted:
    """A mount that shows the account."""
    mounted = mount_with(make_mount, simulator).start()
    wait_for((mounted.path / COMPLETE / "Show").exists, "the torrent")
    return mounted


def big(tree: Mounted) -> Path:
    return tree.path / COMPLETE / "Show/S1/e1.mkv"


def status(tree: Mounted) -> dict:
    return json.loads(tree.command("status", "--json").stdout)


def test_the_account_is_a_folder(tree: Mounted) -> None:
    found = sorted(str(path.relative_to(tree.path)) for path in tree.path.rglob("*"))
    inner = ["", "/S1", "/S1/e1.mkv", "/S1/e2.mkv", "/empty.mkv"]
    assert found == ["torrents", COMPLETE, *(f"{COMPLETE}/Show{path}" for path in inner)]
    assert big(tree).stat().st_size == len(BIG)
    assert big(tree).stat().st_nlink == 1
    assert abs(big(tree).stat().st_mtime - (tree.path / COMPLETE).stat().st_mtime) < 1000


def test_a_folder_the_kernel_remembers_shows_what_is_published(make_mount: MakeMount, simulator: Simulator) -> None:
    tree = mount_with(make_mount, simulator, mount="cache_seconds = 600").start()
    complete = tree.path / COMPLETE
    wait_for((complete / "Show").exists, "the torrent")
    time.sleep(2.2)  # younger folders are not remembered
    assert os.listdir(complete) == os.listdir(complete) == ["Show"]
    simulator.add_torrent("Film", {"/film.mkv": SMALL})
    wait_for(lambda: sorted(os.listdir(complete)) == ["Film", "Show"], "the second torrent")


def test_whole_files_are_equal(tree: Mounted) -> None:
    assert big(tree).read_bytes() == BIG
    assert (tree.path / COMPLETE / "Show/S1/e2.mkv").read_bytes() == SMALL
    assert (tree.path / COMPLETE / "Show/empty.mkv").read_bytes() == b""


def test_random_reads_and_the_end(tree: Mounted) -> None:
    spots = random.Random(3)
    fd = os.open(big(tree), os.O_RDONLY)
    for _ in range(60):
        offset, size = spots.randrange(len(BIG) + 5000), spots.choice((1, 100, 4096, 65_536, 300_000))
        assert os.pread(fd, size, offset) == BIG[offset : offset + size]
    for offset in (len(BIG) - 1, len(BIG), len(BIG) + 1, len(BIG) + MIB):
        assert os.pread(fd, 10, offset) == BIG[offset : offset + 10]
    os.close(fd)


def test_many_readers_of_one_file(tree: Mounted, simulator: Simulator) -> None:
    def read(seed: int) -> bool:
        spots, fd = random.Random(seed), os.open(big(tree), os.O_RDONLY)
        try:
            for _ in range(15):
                offset = spots.randrange(len(BIG))
                if os.pread(fd, 200_000, offset) != BIG[offset : offset + 200_000]:
                    return False
            return True
        finally:
            os.close(fd)

    def read_whole(_: int) -> bool:
        return big(tree).read_bytes() == BIG

    with ThreadPoolExecutor(16) as pool:
        assert all([*pool.map(read, range(12)), *pool.map(read_whole, range(4))])


def quiet(simulator: Simulator) -> int:
    """Bytes fetched so far, once what was read ahead has come too."""
    seen = -1
    while seen != (now := simulator.cdn_bytes):
        seen = now
        time.sleep(0.5)
    return seen


def test_the_second_reading_asks_nobody(tree: Mounted, simulator: Simulator) -> None:
    assert big(tree).read_bytes() == BIG
    fetched = quiet(simulator)
    assert fetched < 3 * len(BIG)
    # Past the page cache of the kernel, so that mediapool has to answer.
    fd = os.open(big(tree), os.O_RDONLY)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    assert os.pread(fd, len(BIG), 0) == BIG
    os.close(fd)
    assert simulator.cdn_bytes == fetched


def test_copies_keep_everything(tree: Mounted, tmp_path: Path) -> None:
    subprocess.run(["cp", "-a", tree.path / COMPLETE / "Show", tmp_path / "copy"], check=True)
    assert (tmp_path / "copy/S1/e1.mkv").read_bytes() == BIG
    assert (tmp_path / "copy/S1/e1.mkv").stat().st_mtime_ns == big(tree).stat().st_mtime_ns
    # And into the tree: the copy is an ordinary file of exactly one drive.
    subprocess.run(["cp", "-a", tree.path / COMPLETE / "Show/S1", tree.path / "local"], check=True)
    holders = [drive for drive in tree.drive_paths if (drive / "local/e1.mkv").exists()]
    assert len(holders) == 1
    assert (holders[0] / "local/e1.mkv").read_bytes() == BIG


@pytest.mark.parametrize(
    "faults",
    [
        {"cdn_reset_after": 400_000, "cdn_reset_times": 3},
        {"cdn_short_after": 300_000, "cdn_short_times": 2},
        {"api_status": 429, "api_status_times": 2, "retry_after": 1},
        {"cdn_status": 503, "cdn_status_times": 1},
        {"cdn_first_byte": 0.2},
        {"cdn_rate": 6e6},
    ],
    ids=lambda faults: next(iter(faults)),
)
def test_bytes_are_right_whatever_happens_on_the_way(
    tree: Mounted, simulator: Simulator, faults: dict[str, float]
) -> None:
    with simulator.faults.set(**faults):
        assert hashlib.sha1(big(tree).read_bytes()).digest() == hashlib.sha1(BIG).digest()


def test_a_revoked_url_is_renewed(tree: Mounted, simulator: Simulator) -> None:
    fd = os.open(big(tree), os.O_RDONLY)
    assert os.pread(fd, 1000, 0) == BIG[:1000]
    simulator.revoke_urls()
    far = len(BIG) - 2 * MIB
    assert os.pread(fd, 1000, far) == BIG[far : far + 1000]
    os.close(fd)


def test_a_restart_shows_the_same_tree_before_any_network(make_mount: MakeMount, simulator: Simulator) -> None:
    tree = mount_with(make_mount, simulator).start()
    wait_for((tree.path / COMPLETE / "Show").exists, "the torrent")
    assert big(tree).read_bytes() == BIG

    def picture() -> dict[str, tuple[int, ...]]:
        return {str(path): tuple(path.stat())[:10] for path in (tree.path / "torrents").rglob("*")}

    before = picture()
    tree.stop()
    simulator.faults.api_outage = "closed"
    simulator.faults.cdn_outage = "closed"
    tree.start()
    # Without the device, which each mount has anew, and the access time, which reading moves.
    assert {path: stat[:2] + stat[3:7] + stat[8:] for path, stat in picture().items()} == {
        path: stat[:2] + stat[3:7] + stat[8:] for path, stat in before.items()
    }
    # What was read before is on the disk cache, and is served without the provider.
    assert big(tree).read_bytes() == BIG


def test_names_from_hell(make_mount: MakeMount, simulator: Simulator) -> None:
    hostile = {
        "../../../etc/passwd": {"/../../outside.mkv": b"1", "/a/../b.mkv": b"2"},
        "..": {"/..hidden.mkv": b"3"},
        "with/slash": {"/x.mkv": b"4"},
        "line\nbreak\x1b[31m\x00": {"/tab\tname.mkv": b"5"},
        "long " + "ü" * 300: {"/" + "n" * 300 + ".mkv": b"6", "/" + "n" * 301 + ".mkv": b"7"},
        ".mediapool": {"/identity.json": b"8"},
        "clash": {"/same.mkv": b"9", "/same.mkv/inside.mkv": b"10"},
    }
    for name, files in hostile.items():
        simulator.add_torrent(name, files)
    simulator.add_torrent("Show", {"/different.mkv": b"11"})
    tree = mount_with(make_mount, simulator).start()
    wait_for(lambda: status(tree)["remote"]["account"]["published"] == len(hostile) + 2, "everything")
    found = {path: path.read_bytes() for path in (tree.path / COMPLETE).rglob("*") if path.is_file()}
    contents = sorted(data for data in found.values() if len(data) < 10 and data)
    assert contents == sorted(str(number).encode() for number in range(1, 12))
    for path in found:
        assert path.resolve().is_relative_to(tree.path / COMPLETE)
        assert all(char.isprintable() for char in str(path))
    assert sorted(os.listdir(tree.path)) == ["torrents"]
    assert len([name for name in os.listdir(tree.path / COMPLETE) if name.startswith("Show")]) == 2


def test_an_occupied_name_is_not_shadowed(make_mount: MakeMount, simulator: Simulator) -> None:
    tree = mount_with(make_mount, simulator)
    (tree.drive_paths[1] / COMPLETE).mkdir(parents=True)
    (tree.drive_paths[1] / COMPLETE / "Show").write_text("mine")
    tree.start()
    wait_for(lambda: len(os.listdir(tree.path / COMPLETE)) == 2, "the torrent under another name")
    assert (tree.path / COMPLETE / "Show").read_text() == "mine"
    (other,) = [name for name in os.listdir(tree.path / COMPLETE) if name != "Show"]
    assert other.startswith("Show%+")
    assert (tree.path / COMPLETE / other / "S1/e2.mkv").read_bytes() == SMALL


def test_writing_to_remote_files_is_refused_but_beside_them_it_works(tree: Mounted) -> None:
    with pytest.raises(OSError) as refused:
        big(tree).open("r+b")
    assert refused.value.errno == errno.EROFS
    number = big(tree).parent.stat().st_ino
    subtitle = big(tree).with_suffix(".en.srt")
    subtitle.write_text("1\n")
    assert subtitle.read_text() == "1\n"
    assert sorted(os.listdir(subtitle.parent)) == ["e1.en.srt", "e1.mkv", "e2.mkv"]
    assert len([drive for drive in tree.drive_paths if list(drive.rglob("*.srt"))]) == 1
    assert big(tree).parent.stat().st_ino == number, "a folder keeps its number when it comes to exist on a drive too"
    subtitle.unlink()
    assert big(tree).read_bytes() == BIG


def test_ffprobe_understands_a_remote_film(make_mount: MakeMount, tmp_path: Path) -> None:
    from cli.demo import make_clip

    make_clip(tmp_path / "clips/Film/film.mkv", 3, "testsrc2")
    with Simulator(tmp_path / "clips") as simulator:
        tree = mount_with(make_mount, simulator).start()
        film = tree.path / COMPLETE / "Film/film.mkv"
        wait_for(film.exists, "the film")
        probed = ffmpeg.probe(str(film), timeout=60)
        assert 2.5 < float(probed["format"]["duration"]) < 3.5
        assert {stream["codec_type"] for stream in probed["streams"]} == {"audio", "video"}
        tree.stop()


def test_no_token_no_remote_and_it_says_so(make_mount: MakeMount) -> None:
    tree = make_mount().start()
    (tree.path / "file").write_text("local")
    wait_for(lambda: "without Real-Debrid" in tree.log.read_text(), "the word about it in the log")
    assert "no token" in tree.command("status").stdout


def test_the_token_is_told_to_nobody(tree: Mounted, simulator: Simulator) -> None:
    big(tree).read_bytes()
    outputs = [tree.log.read_text()]
    for command in (["status"], ["status", "--json"], ["debrid", "status"], ["debrid", "list"], ["pool", "status"]):
        done = tree.command(*command)
        assert done.returncode == 0, done
        outputs += [done.stdout, done.stderr]
    for files in (tree.state, tree.cache):
        outputs += [path.read_bytes().decode("latin1") for path in files.rglob("*") if path.is_file()]
    assert all(simulator.token not in text for text in outputs)
