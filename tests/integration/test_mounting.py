"""Mounting, unmounting and what stands in the way, by the commands people use."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import MakeMount
from mounting import ROOT, Mounted, wait_for

from vfs.mount import state

pytestmark = pytest.mark.mount


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_unmounts_cleanly(make_mount: MakeMount, number: int) -> None:
    mounted = make_mount().start()
    (mounted.path / "file").write_text("x")
    assert mounted.process is not None
    mounted.process.send_signal(number)
    assert mounted.process.wait(20) == 0
    assert not os.path.ismount(mounted.path)
    assert os.listdir(mounted.path) == []
    assert not (mounted.state / "daemon.json").exists()


def test_a_signal_unmounts_although_files_are_open(make_mount: MakeMount) -> None:
    mounted = make_mount().start()
    fd = os.open(mounted.path / "file", os.O_CREAT | os.O_WRONLY)
    os.write(fd, b"to the end")
    mounted.stop()
    with pytest.raises(OSError, match="not connected"):
        os.close(fd)
    assert [(drive / "file").read_text() for drive in mounted.drive_paths if (drive / "file").exists()] == [
        "to the end"
    ]


def test_background_returns_when_the_tree_answers(make_mount: MakeMount) -> None:
    mounted = make_mount()
    done = mounted.command("mount", "--background")
    assert done.returncode == 0, done
    (mounted.path / "file").write_text("x")
    status = json.loads(mounted.command("status", "--json").stdout)
    assert status["state"] == "mounted" and status["mount"] == str(mounted.path)
    again = mounted.command("mount", "--background")
    assert again.returncode == 1 and "unmount" in again.stderr
    assert mounted.command("unmount").returncode == 0
    assert not os.path.ismount(mounted.path)
    gone = mounted.command("status", "--json")
    assert gone.returncode == 3 and json.loads(gone.stdout)["state"] == "bare"


def test_background_says_why_it_did_not_start(make_mount: MakeMount) -> None:
    mounted = make_mount()
    mounted.write_config(http="")
    text = mounted.config.read_text().replace(
        'listen = "127.0.0.1:0"', 'listen = "192.0.2.1:9"\nusername = "u"\npassword = "p"'
    )
    mounted.config.write_text(text)
    done = mounted.command("mount", "--background")
    assert done.returncode == 1 and "[http] listen" in done.stderr and "another port" in done.stderr


def test_a_busy_tree_is_unmounted_by_force_only(make_mount: MakeMount) -> None:
    mounted = make_mount().start()
    with open(mounted.path / "file", "w"):
        refused = mounted.command("unmount")
        assert refused.returncode == 1 and "--force" in refused.stderr, refused
        assert os.path.ismount(mounted.path)
        lazily = subprocess.Popen(
            [sys.executable, "-m", "cli", "unmount", "--force", "--config", str(mounted.config)], cwd=ROOT
        )
        wait_for(lambda: not os.path.ismount(mounted.path), "the unmount")
    assert lazily.wait(60) == 0


def test_a_stale_mount_is_cleared_at_the_next_mount(make_mount: MakeMount) -> None:
    mounted = make_mount().start()
    (mounted.path / "file").write_text("kept")
    assert mounted.process is not None
    mounted.process.kill()
    mounted.process.wait()
    with pytest.raises(OSError, match="not connected"):
        os.listdir(mounted.path)
    told = mounted.command("status")
    assert told.returncode == 3 and "its process is gone" in told.stdout
    mounted.start()
    assert (mounted.path / "file").read_text() == "kept"


def test_a_mount_that_died_this_moment_is_cleared_as_well(make_mount: MakeMount) -> None:
    tree = make_mount().start()
    assert tree.process is not None
    tree.path.stat()  # which the kernel remembers for a while
    tree.process.kill()
    tree.process.wait()
    assert state(tree.path) == "stale"
    tree.start()
    wait_for(lambda: state(tree.path) == "mounted", "the new mount")


def test_a_mount_killed_at_any_moment_of_its_start_is_gone(make_mount: MakeMount) -> None:
    """One that waits for its own answer would stay for ever, and whoever looks at the tree with it."""
    tree = make_mount()
    for hundredths in range(16, 36):
        process = tree.spawn()
        time.sleep(hundredths / 100)
        process.kill()
        process.wait(20)
    tree.start()
    assert state(tree.path) == "mounted"


def test_unmount_clears_a_stale_mount(make_mount: MakeMount) -> None:
    mounted = make_mount().start()
    assert mounted.process is not None
    mounted.process.kill()
    mounted.process.wait()
    assert mounted.command("unmount").returncode == 0
    assert os.listdir(mounted.path) == []
    again = mounted.command("unmount")
    assert again.returncode == 3 and str(mounted.path) in again.stderr


def test_the_bare_folder_cannot_be_written_by_mistake(make_mount: MakeMount) -> None:
    mounted = make_mount().start()
    mounted.stop()
    assert mounted.path.stat().st_mode & 0o777 == 0o555


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a folder immutable")
def test_the_bare_folder_can_be_immutable_which_stops_root_as_well(make_mount: MakeMount) -> None:
    mounted = make_mount()
    mounted.path.mkdir()
    subprocess.run(["chattr", "+i", mounted.path], check=True)
    try:
        mounted.start()
        (mounted.path / "film").write_text("in the tree")
        mounted.stop()
        with pytest.raises(PermissionError):
            (mounted.path / "film").write_text("below the tree")
    finally:
        subprocess.run(["chattr", "-i", mounted.path], check=True)


def replacing(old: str, new: str) -> Callable[[Mounted], None]:
    """Breaks the configuration by writing `new` for `old`; both may name folders of the mount, as in {path}."""

    def break_it(mounted: Mounted) -> None:
        names = {"path": mounted.path, "state": mounted.state, "cache": mounted.cache, "drive": mounted.drive_paths[0]}
        text = mounted.config.read_text()
        assert old.format(**names) in text
        mounted.config.write_text(text.replace(old.format(**names), new.format(**names)))

    return break_it


def fill_mount_point(mounted: Mounted) -> None:
    mounted.path.mkdir()
    (mounted.path / "x").touch()


BAD = {
    "not empty": (fill_mount_point, ["[mount] path", "not empty"]),
    "no drive": (lambda mounted: mounted.drive_paths[1].rmdir(), ["drive2", "does not exist", "pool remove"]),
    "section": (replacing("[cache]", "[mount2]\n[cache]"), ["mount2"]),
    "key": (replacing("[cache]\n", "[cache]\nsise = 1\n"), ["sise"]),
    "type": (replacing("[cache]\n", "[cache]\nmemory = 'much'\n"), ["[cache] memory", "much"]),
    "policy": (replacing('"rand"', '"best"'), ["policy", "pfrd"]),
    "mount in drive": (replacing("{path}", "{drive}/in"), ["mount point", "holds", "Move one"]),
    "drive in mount": (replacing("{drive}", "{path}/in"), ["{path}"]),
    "state in drive": (replacing("{state}", "{drive}/in"), ["[state] path", "inside"]),
    "cache in mount": (replacing("{cache}", "{path}/in"), ["[cache] path", "inside"]),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_configuration_is_refused_with_the_remedy(make_mount: MakeMount, case: str) -> None:
    break_it, says = BAD[case]
    mounted = make_mount()
    break_it(mounted)
    before = sorted(str(path) for path in mounted.base.rglob("*"))
    done = mounted.command("mount")
    assert done.returncode == 2, done
    assert all(text.replace("{path}", str(mounted.path)) in done.stderr for text in says), done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(str(path) for path in mounted.base.rglob("*")) == before, "a refused mount changes nothing"


def test_mount_without_a_config_writes_one_and_says_so(tmp_path: Path) -> None:
    environment = {**os.environ, "XDG_CONFIG_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "cli", "mount"], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
    )
    written = tmp_path / "mediapool/mediapool.toml"
    assert done.returncode == 2 and str(written) in done.stderr
    assert "# poll_seconds" in written.read_text() and written.stat().st_mode & 0o777 == 0o600


def test_two_mounts_never_share_their_state(make_mount: MakeMount) -> None:
    mounted = make_mount().start()
    other = Mounted(mounted.base / "drive1" / "..")
    other.config = mounted.base / "other.toml"
    other.config.write_text(mounted.config.read_text().replace(str(mounted.path), str(mounted.base / "data2")))
    done = other.command("mount")
    assert done.returncode == 1 and f"process {mounted.process.pid}" in done.stderr, done  # type: ignore[union-attr]


def test_damaged_names_refuse_the_mount(make_mount: MakeMount) -> None:
    mounted = make_mount().start()
    mounted.stop()
    (mounted.state / "names.db").write_bytes(b"SQLite format 3\0" + os.urandom(8000))
    done = mounted.command("mount")
    assert done.returncode == 1 and "names.db" in done.stderr and "restore-names" in done.stderr


def test_a_drive_that_lost_its_identity_is_not_written_to(make_mount: MakeMount) -> None:
    mounted = make_mount().start()
    (mounted.path / "folder").mkdir()
    mounted.stop()
    for drive in mounted.drive_paths[:2]:
        # As an unmounted disk leaves it: an empty folder where the drive was.
        drive.rename(drive.with_suffix(".unplugged"))
        drive.mkdir()
    mounted.start()
    for number in range(20):
        try:
            (mounted.path / f"new{number}").write_text("x")
        except OSError as cause:
            assert cause.errno == 5
    assert [os.listdir(drive) for drive in mounted.drive_paths[:2]] == [[], []]
    assert "Is the drive mounted?" in mounted.command("status").stdout


def test_inode_numbers_survive_a_restart(make_mount: MakeMount) -> None:
    mounted = make_mount().start()
    for number in range(20):
        (mounted.path / f"folder{number}").mkdir()
        (mounted.path / f"folder{number}/file").touch()

    def numbers() -> dict[str, int]:
        return {str(path): path.stat().st_ino for path in mounted.path.rglob("*")}

    before = numbers()
    assert len(set(before.values())) == 40
    mounted.stop()
    mounted.start()
    assert numbers() == before


def test_the_hidden_folder_is_hidden(make_mount: MakeMount) -> None:
    mounted = make_mount().start()
    assert os.listdir(mounted.path) == []
    assert not (mounted.path / ".mediapool").exists()
    for attempt in (
        lambda p: p.mkdir(),
        lambda p: p.write_text("x"),
        lambda p: os.mkfifo(p),
        lambda p: p.symlink_to("x"),
    ):
        with pytest.raises(PermissionError):
            attempt(mounted.path / ".mediapool")
    (mounted.path / "folder").mkdir()
    with pytest.raises(PermissionError):
        (mounted.path / "folder").rename(mounted.path / ".mediapool")
    with pytest.raises(FileNotFoundError):
        (mounted.path / ".mediapool/identity.json").read_text()


def test_foreground_tells_where_it_mounted_and_stays(make_mount: MakeMount) -> None:
    mounted = make_mount().start()
    wait_for(lambda: f"mounted at {mounted.path}: 3 drives" in mounted.log.read_text(), "the message")
    time.sleep(0.2)
    assert mounted.process is not None and mounted.process.poll() is None
