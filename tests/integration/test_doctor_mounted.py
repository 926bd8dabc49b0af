"""What `mediapool doctor` says of a running mount, of a stuck one, of one that was killed, and of how it is cut up."""

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from conftest import MakeMount
from mounting import ROOT, Mounted, wait_for
from pulling import status

from cli import doctor_cmd
from cli.doctoring import mounts
from cli.exitcodes import Exit
from cli.main import main
from debrid.simulator import Simulator


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator() as running:
        running.add_torrent("Film", {"/film.mkv": b"x" * 100_000})
        yield running


def found(tree: Mounted) -> dict[str, dict[str, str]]:
    done = CliRunner().invoke(main, ["doctor", "--json", "--config", str(tree.config)])
    assert done.exit_code in (Exit.OK, Exit.FAILED), done.output
    return {one["what"]: one for one in json.loads(done.stdout)}


def typed(finding: dict[str, str]) -> None:
    """Type what the doctor says."""
    command = finding["command"].replace("mediapool ", f"{shlex.quote(sys.executable)} -m cli ", 1)
    subprocess.run(["sh", "-c", command], cwd=ROOT, check=True, capture_output=True, timeout=60)


@pytest.mark.mount
def test_a_mount_through_all_its_troubles(
    make_mount: MakeMount, simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor_cmd, "_STATUS_SECONDS", 1.0)
    # Mounts of tests that run beside this one may be stuck too.
    monkeypatch.setattr(mounts, "_SECONDS", 0.5)
    tree = make_mount(drives=1)
    tree.environment["MEDIAPOOL_MOUNT__PASSTHROUGH"] = "off"
    options = 'poll_seconds = "1s"\n'
    tree.write_config(debrid=f'token = "{simulator.token}"\napi_url = "{simulator.api_url}"\n{options}')
    tree.start()
    wait_for(lambda: status(tree)["remote"]["files"], "the account")

    # It speaks for itself, and the port that it listens at is no trouble.
    seen = found(tree)
    assert "turned off by [mount] passthrough" in seen["passthrough"]["found"]
    for what in ("mount", "process", "port", "account", "calls", "mounts in the tree", "folders", "drive drive1"):
        assert seen[what]["state"] == "ok", seen[what]
    assert "mounted" in seen["mount"]["found"] and "at once" in seen["calls"]["found"]

    _few_files(tree)
    _too_many_calls(tree, simulator)
    _cut_up(tree, tmp_path)
    _stuck_and_gone(tree, make_mount("other", drives=1), monkeypatch)


def _few_files(tree: Mounted) -> None:
    assert tree.process is not None
    pid = str(tree.process.pid)
    enough = subprocess.run(["prlimit", "--pid", pid, "--nofile", "-o", "HARD", "--noheadings"], capture_output=True,
                            text=True, check=True).stdout.strip()  # fmt: skip
    seen = found(tree)["open files"]
    assert seen["state"] == "ok" and enough in seen["found"]


def _too_many_calls(tree: Mounted, simulator: Simulator) -> None:
    with simulator.faults.set(api_status=429, api_status_times=1, retry_after=3.0):
        wait_for(lambda: status(tree)["remote"]["calls"]["paused_for"], "the pause")
        note = found(tree)["calls"]
    assert note["state"] == "note" and "pause for" in note["found"]
    typed(note)
    wait_for(lambda: found(tree)["calls"]["state"] == "ok", "calls to go on")


def _cut_up(tree: Mounted, tmp_path: Path) -> None:
    """Two folders of the tree as volumes of their own, as containers get them, and something mounted inside it."""
    for name in ("media", "downloads"):
        (tree.path / name).mkdir()
        (tmp_path / name).mkdir()
        subprocess.run(["mount", "--bind", tree.path / name, tmp_path / name], check=True)
    try:
        with pytest.raises(OSError, match="cross-device"):
            (tmp_path / "media/x").write_text("x")
            os.link(tmp_path / "media/x", tmp_path / "downloads/x")
        cut = found(tree)["volumes"]
        assert cut["state"] == "problem" and "copied, not linked" in cut["found"]
        paths = CliRunner().invoke(
            main, ["doctor", "--paths", "--json", str(tmp_path / "media"), str(tmp_path / "downloads")]
        )
        (between,) = json.loads(paths.stdout)
        assert f"-v {tree.path}:{tmp_path}" in between["remedy"]
        typed(cut)
        assert "volumes" not in found(tree)
    finally:
        for name in ("media", "downloads"):
            subprocess.run(["umount", tmp_path / name], check=False, capture_output=True)
    paths = CliRunner().invoke(
        main, ["doctor", "--paths", "--try", str(tree.path / "media"), str(tree.path / "downloads")]
    )
    assert paths.exit_code == Exit.OK, paths.output
    assert sorted(os.listdir(tree.path / "downloads")) == []


def _stuck_and_gone(tree: Mounted, other: Mounted, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tree.process is not None
    tree.process.send_signal(signal.SIGSTOP)
    stuck = found(tree)
    assert stuck["process"]["state"] == "problem" and "does not answer" in stuck["process"]["found"]
    assert "mount" not in stuck, "nothing in it is looked at"
    # A pool with a drive that does not answer, as a dead disk would: all else is told all the same.
    monkeypatch.setattr(doctor_cmd, "_SECONDS", 2.0)
    other.config.write_text(other.config.read_text().replace(str(other.drive_paths[0]), str(tree.path / "media")))
    hung = found(other)
    assert hung["drive drive1"]["found"] == "no answer within 2 s" and hung["drive drive1"]["state"] == "problem"
    assert hung["state"]["state"] == "ok" or "no answer" in hung["state"]["found"]
    assert hung["/dev/fuse"]["state"] == hung["cache"]["state"] == "ok"
    typed(stuck["process"])
    tree.process.wait(20)
    dead = found(tree)["mount"]
    assert dead["state"] == "problem" and "its process is gone" in dead["found"]
    typed(dead)
    seen = found(tree)
    assert seen["mount"]["found"].endswith("not mounted now") and "process" not in seen


@pytest.mark.mount
def test_what_another_mount_left_behind(make_mount: MakeMount) -> None:
    """A mount of another configuration, whose process was killed."""
    tree, other = make_mount(drives=1), make_mount("other", drives=1)
    other.start()
    assert other.process is not None
    other.process.kill()
    other.process.wait()
    done = CliRunner().invoke(main, ["doctor", "--json", "--config", str(tree.config)])
    stale = [
        one for one in json.loads(done.stdout) if one["what"] == "stale mounts" and str(other.path) in one["found"]
    ]
    assert len(stale) == 1 and stale[0]["state"] == "problem"
    typed(stale[0])
    assert not os.path.ismount(other.path)
