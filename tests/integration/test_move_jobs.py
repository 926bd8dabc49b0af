"""Jobs of moves in a mounted pool: while programs work, over kills, undone; and ten writers at once."""

import json
import os
import re
import subprocess
import threading
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from conftest import MakeMount
from loading import Load, whole
from mounting import Mounted, wait_for

from placement.jobs import look

pytestmark = [pytest.mark.mount, pytest.mark.timeout(300)]

MIB = 1 << 20
MakePool = Callable[..., Mounted]


@pytest.fixture
def make_pool(make_mount: MakeMount, tmp_path: Path) -> Iterator[MakePool]:
    """make_pool(40, 64) -> a pool, not mounted yet, of two small ext4 filesystems of so many MiB."""
    mounted: list[Path] = []
    made: list[Mounted] = []

    def make(*sizes: int, policy: str = "rand", **sections: str) -> Mounted:
        tree = make_mount(drives=len(sizes))
        tree.environment["MEDIAPOOL_PLACEMENT__POLICY"] = policy
        tree.write_config(**sections)
        for number, (path, size) in enumerate(zip(tree.drive_paths, sizes, strict=True)):
            image = tmp_path / f"image{number}"
            with image.open("wb") as file:
                file.truncate(size * MIB)
            subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(image)], check=True)
            subprocess.run(["mount", "-o", "loop", str(image), str(path)], check=True)
            (path / "lost+found").rmdir()
            mounted.append(path)
        made.append(tree)
        return tree

    yield make
    for tree in made:
        if tree.process is not None and tree.process.poll() is None:
            tree.stop()
    for path in mounted:
        subprocess.run(["umount", "-l", str(path)], check=True)


def jobs(tree: Mounted) -> list[dict[str, Any]]:
    """As `jobs list --json` shows them, but without the time that a command takes."""
    return look(tree.state / "jobs.db")


def asked(tree: Mounted, path: str, body: object) -> tuple[int, str]:
    """What the daemon answers to a command, and how; without a body, to GET."""
    contact = json.loads((tree.state / "daemon.json").read_text())
    request = urllib.request.Request(
        f"{contact['url']}/api/jobs/{path}".rstrip("/"),
        None if body is None else json.dumps(body).encode(),
        {"Authorization": f"Bearer {contact['token']}", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, refusal.read().decode()


def begun(tree: Mounted, kind: str, **spec: object) -> int:
    status, answer = asked(tree, "begin", {"kind": kind, "spec": {"rate": None, "log": None, **spec}})
    assert status == 200, answer
    number: int = json.loads(answer)["job"]
    return number


def ended(tree: Mounted, number: int, seconds: float = 90) -> dict[str, Any]:
    """The job, once it is done."""
    wait_for(lambda: jobs(tree)[number - 1]["state"] == "done", f"the end of job {number}", seconds)
    return jobs(tree)[number - 1]


def files_on(drive: Path) -> list[Path]:
    """What lies on a drive, without what belongs to mediapool."""
    found = (path for path in sorted(drive.rglob("*")) if not path.is_dir() or path.is_symlink())
    return [path for path in found if path.relative_to(drive).parts[0] != ".mediapool"]


def furnish(drive: Path) -> None:
    """Past the tree: files with several names, xattrs, holes, old times, modes and owners; folders without files."""
    random = Random(4)
    for number in range(12):
        path = drive / f"media/tv/Show {number % 3}/Season 01/episode {number}.mkv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(random.randbytes(500_000 + number))
        path.chmod(0o640)
        os.setxattr(path, "user.mine", b"%d" % number)
        if number % 2:
            (drive / "torrents").mkdir(exist_ok=True)
            (drive / f"torrents/episode {number}.mkv").hardlink_to(path)
        os.chown(path, 1000 + number, 100)
        os.utime(path, ns=(10**18 + number, 10**18 + 7 * number))
    with (drive / "media/holes").open("wb") as file:
        file.truncate(8 * MIB)
        os.pwrite(file.fileno(), b"x" * 5000, 3 * MIB)
    (drive / "media/link").symlink_to("tv")
    (drive / "media/empty/inner").mkdir(parents=True)


def allocated(path: Path) -> int:
    return path.stat().st_blocks * 512


def test_ten_writers_on_unlike_drives(make_pool: MakePool) -> None:
    """The policy sends all of them to the smallest drive. Each file has two names, and nobody sees ENOSPC."""
    tree = make_pool(40, 64, 160, policy="ff").start()
    failures: list[str] = []

    def write(number: int) -> None:
        data = Random(number).randbytes(MIB) * 12
        try:
            path, other = tree.path / f"media/{number}", tree.path / f"torrents/{number}"
            with path.open("xb", buffering=0) as file:
                os.link(path, other)
                for at in range(0, len(data), MIB // 4):
                    assert file.write(data[at : at + MIB // 4]) == MIB // 4
                os.fsync(file.fileno())
            assert path.read_bytes() == other.read_bytes() == data
            assert path.stat().st_ino == other.stat().st_ino and path.stat().st_nlink == 2
        except Exception as failure:
            failures.append(f"{number}: {failure!r}")

    for folder in ("media", "torrents"):
        (tree.path / folder).mkdir()
    threads = [threading.Thread(target=write, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures
    assert [len(files_on(drive)) % 2 for drive in tree.drive_paths] == [0, 0, 0], "no group was split"
    lines = re.findall(r'(placed|linked|moved) path="([^"]+)" .* result=ok', tree.log.read_text())
    told = Counter(what for what, _ in lines)
    assert told["placed"] == 12 and told["linked"] == 10 and told["moved"] > 0


def test_known_sizes_spread_writers_and_count_in_df(make_pool: MakePool) -> None:
    """A file that was made longer, or whose sibling is known, takes its room before its bytes come."""
    tree = make_pool(64, 64, policy="mfs").start()
    folder = tree.path / "tv"
    folder.mkdir()
    for number, drive in enumerate(tree.drive_paths):
        (drive / "tv").mkdir(exist_ok=True)
        (drive / f"tv/e0{number}.mkv").write_bytes(bytes(12 * MIB))
    free = os.statvfs(tree.path)

    def taken() -> int:
        return (free.f_bavail - os.statvfs(tree.path).f_bavail) * free.f_frsize

    with (folder / "e1.mkv").open("wb") as first, (folder / "e2.mkv").open("wb") as second:
        assert [len(list(drive.glob("tv/e[12].mkv"))) for drive in tree.drive_paths] == [1, 1]
        assert 24 * MIB <= taken() <= 25 * MIB
        explained = tree.command("explain", "-", input="other\nthird\n").stdout
        assert explained.count("reserved for files on their way") == 4, "of each drive, for each line"
        assert explained.count("no rule matches, so the pool's settings hold: policy mfs") == 2
        first.write(bytes(12 * MIB))
        second.truncate(20 * MIB)
        wait_for(lambda: 32 * MIB <= taken() <= 34 * MIB, "the longer file")
    wait_for(lambda: 12 * MIB <= taken() <= 13 * MIB, "what was written alone")


def test_drain_balance_and_undo_under_load(make_pool: MakePool, tmp_path: Path) -> None:
    """Nothing shows but the drive; what the programs wrote meanwhile is there as well."""
    tree = make_pool(32, 32, 32, placement='[[placement.rule]]\nmatch = "media/tv/**"\nkeep_together = "season"')
    furnish(tree.drive_paths[0])
    tree.start()
    before, holes = whole(tree.path / "media"), allocated(tree.path / "media/holes")
    planned = json.loads(tree.command("pool", "drain", "drive1", "--dry-run", "--json").stdout)
    assert {one["source"] for one in planned} == {"drive1"} and len(planned) == 14
    for show in range(3):
        assert len({one["target"] for one in planned if f"Show {show}/" in one["path"]}) == 1, "a season stays whole"
    log = tmp_path / "moves.log"
    with Load(tree.path / "work").running() as load:
        wait_for(lambda: load.rounds > 50, "some load")
        began = tree.command("pool", "drain", "drive1", "--yes", "--moves-log", str(log))
        assert began.returncode == 0, began.stderr
        assert ended(tree, 1)["problem"] == ""
        assert files_on(tree.drive_paths[0]) == []
        # Nothing new goes there any more, until that is taken back; then the others give it its share.
        assert "it is drained" in tree.command("explain", "x").stdout
        assert tree.command("pool", "drain", "drive1", "--stop").returncode == 0
        rounds = load.rounds
        balanced = tree.command("pool", "balance", "--yes", "--wait", "--json")
        assert balanced.returncode == 0, balanced.stderr
        assert json.loads(balanced.stdout)["files"].get("moved", 0) > 0 and files_on(tree.drive_paths[0])
        wait_for(lambda: load.rounds > rounds + 50, "more load")
    assert not load.wrong, load.wrong
    assert (tree.drive_paths[1] / "media/empty/inner").is_dir() or (tree.drive_paths[2] / "media/empty/inner").is_dir()
    assert whole(tree.path / "media") == before
    assert allocated(tree.path / "media/holes") == holes
    assert {path: path.read_bytes() for path in load.held} == load.held
    noted = [json.loads(line) for line in log.read_text().splitlines()]
    moved = [to for line in noted for to in line["to"]]
    assert all(line["from"][0].startswith(f"{tree.drive_paths[0]}/") for line in noted)
    assert sum("torrents/episode" in path for path in moved) == 6
    assert tree.command("jobs", "undo", "1", "--yes").returncode == 0
    undone = [job["id"] for job in jobs(tree) if job["kind"] == "undo"][0]
    ended(tree, undone)
    assert len(files_on(tree.drive_paths[0])) >= 20
    assert whole(tree.path / "media") == before


def test_a_kill_in_the_middle_loses_and_repeats_nothing(make_pool: MakePool) -> None:
    """Of a drain, and of a balance: the next start goes on, and each file is moved once."""
    tree = make_pool(32, 32, 32)
    furnish(tree.drive_paths[0])
    tree.start()
    before = whole(tree.path / "media")
    for number, command in enumerate(("pool drain drive1 --rate 2MiB --yes", "pool balance --rate 1MiB --yes"), 1):
        began = len(tree.log.read_text())
        assert tree.command(*command.split()).returncode == 0
        wait_for(lambda number=number: jobs(tree)[number - 1]["files"].get("moved", 0) > 0, "a move")  # type: ignore[misc]
        if number == 1:
            live = json.loads(asked(tree, "", None)[1])[0]
            assert live["rate"] > 0 and live["left_seconds"] > 0
        tree.kill()
        standing = jobs(tree)[number - 1]
        assert standing["state"] == "running" and standing["files"]["waiting"] > 0
        if number == 1:
            assert "waits for the mount" in tree.command("jobs", "list").stdout
        tree.start()
        assert whole(tree.path / "media") == before
        job = ended(tree, number)
        assert job["problem"] == "" and job["files"].get("gone", 0) == 0
        assert whole(tree.path / "media") == before
        lines = tree.log.read_text()[began:]
        times = Counter(re.findall(r'moved path="([^"]+)" .* result=ok', lines))
        assert set(times.values()) == {1}, times
        if number == 1:
            assert files_on(tree.drive_paths[0]) == []
            assert tree.command("pool", "drain", "drive1", "--stop").returncode == 0
    used = [os.statvfs(drive) for drive in tree.drive_paths]
    parts = [1 - st.f_bavail / st.f_blocks for st in used]
    assert max(parts) - min(parts) < 0.1, parts
    assert not any(list(drive.glob(".mediapool/moving/*")) for drive in tree.drive_paths)


def test_a_job_goes_on_after_a_kill_at_a_step_of_a_move(make_mount: MakeMount) -> None:
    """While both drives have its names, and after the commit."""
    tree = make_mount(drives=2)
    for number in range(4):
        (tree.drive_paths[0] / f"file{number}").write_bytes(bytes([number]) * 50_000)
        (tree.drive_paths[0] / f"other{number}").hardlink_to(tree.drive_paths[0] / f"file{number}")
    shown: dict[str, tuple[object, ...]] = {}
    for round_, place in enumerate(("after names made", "after committed")):
        source, target = tree.drive_paths[round_ % 2], tree.drive_paths[1 - round_ % 2]
        tree.environment["MEDIAPOOL_CRASH_AT"] = f"{place} 2"
        tree.start()
        shown = shown or whole(tree.path)
        begun(tree, "drain", drive=source.name)
        assert tree.process is not None
        tree.process.wait(30)
        tree.kill()
        del tree.environment["MEDIAPOOL_CRASH_AT"]
        tree.start()
        assert whole(tree.path) == shown, place
        job = ended(tree, round_ + 1)
        assert job["problem"] == "" and job["files"] == {"moved": 4}, place
        assert whole(tree.path) == shown, place
        assert files_on(source) == [] and len(files_on(target)) == 8
        assert asked(tree, "keep", {"drive": source.name})[0] == 200
        tree.stop()


def test_an_open_file_of_the_kernel_waits_and_the_others_go_on(make_mount: MakeMount) -> None:
    tree = make_mount(drives=3)
    tree.config.write_text(re.sub(r'(name = "drive(\d)")', r'\1\ntier = "tier\2"', tree.config.read_text()))
    tree.environment["MEDIAPOOL_MOUNT__PASSTHROUGH"] = "auto"
    tree.start()
    if not json.loads(tree.command("status", "--json").stdout)["passthrough"]["on"]:
        pytest.fail("no passthrough here") if os.environ.get("CI") else pytest.skip("no passthrough here")
    for name in "abc":
        (tree.drive_paths[0] / name).write_bytes(name.encode() * 100_000)
    with (tree.path / "b").open("rb", buffering=0) as file:
        assert file.read(1) == b"b"
        begun(tree, "drain", drive="drive1")
        wait_for(lambda: jobs(tree)[0]["files"].get("moved") == 2, "the other two")
        wait_for(lambda: jobs(tree)[0]["held_up"] == 1, "the third to be put off")
        job = jobs(tree)[0]
        assert job["state"] == "running" and job["files"]["waiting"] == 1
        assert job["told"] == [
            {"path": "b", "state": "waiting", "problem": "it is open, and the kernel uses it by itself"}
        ]
        shown = tree.command("jobs", "list").stdout
        assert "waiting" in shown and "/b waits: it is open" in shown
        # Another job is not held up by one that only waits.
        (tree.drive_paths[1] / "old").write_bytes(b"old")
        os.utime(tree.drive_paths[1] / "old", (1, 1))
        assert ended(tree, begun(tree, "tier", source="tier2", target="tier3", older=60, above=0))["files"] == {
            "moved": 1
        }
        assert (tree.drive_paths[2] / "old").read_bytes() == b"old"
        # A paused job stays paused also over a restart of the mount.
        assert asked(tree, "pause", {"job": 1})[0] == 200
    assert jobs(tree)[0]["state"] == "paused"
    tree.stop()
    assert jobs(tree)[0]["state"] == "paused" and (tree.drive_paths[0] / "b").exists()
    tree.start()
    assert "drained" in tree.command("explain", "x").stdout
    assert asked(tree, "resume", {"job": 1})[0] == 200
    assert ended(tree, 1)["files"] == {"moved": 3}
    assert files_on(tree.drive_paths[0]) == [] and (tree.path / "b").read_bytes() == b"b" * 100_000
    for path, number in (("pause", 1), ("resume", 1), ("undo", 9), ("pause", 9)):
        assert asked(tree, path, {"job": number})[0] == 400, path
    wanted = {"source": "none", "target": "tier1", "older": 0, "above": 0, "rate": None, "log": None}
    status, refused = asked(tree, "begin", {"kind": "tier", "spec": wanted})
    assert status == 400 and "no drive is of tier 'none'; there are: tier1, tier2, tier3" in refused
