"""What `mediapool doctor` finds, on this system and on worse ones."""

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from conftest import MakeMount

from cli import doctor_cmd
from cli.exitcodes import Exit
from cli.main import main
from vfs import libfuse


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "drive").mkdir()
    file = tmp_path / "mediapool.toml"
    file.write_text(
        f'[mount]\npath = "{tmp_path}/data"\nallow_other = true\n[state]\npath = "{tmp_path}/state"\n'
        f'[cache]\npath = "{tmp_path}/cache"\n[[drive]]\nname = "one"\npath = "{tmp_path}/drive"\n'
    )
    file.chmod(0o600)
    return file


def run(config: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["doctor", "--config", str(config), *arguments])


def found(config: Path) -> dict[str, dict[str, str]]:
    return {one["what"]: one for one in json.loads(run(config, "--json").stdout)}


def test_all_is_well_here(config: Path) -> None:
    result = run(config)
    assert result.exit_code == Exit.OK and "PROBLEM" not in result.output
    assert {"/dev/fuse", "libfuse", "fusermount3", "other users", "mount", "passthrough"} == set(found(config))


def test_no_device(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os.path, "exists", lambda path: path != "/dev/fuse")
    assert run(config).exit_code == Exit.FAILED
    assert found(config)["/dev/fuse"]["state"] == "problem" and "kernel module" in found(config)["/dev/fuse"]["remedy"]


def test_an_ordinary_user(config: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(doctor_cmd, "_FUSE_CONF", tmp_path / "fuse.conf")
    monkeypatch.setattr(doctor_cmd, "_is_admin", lambda: False)
    monkeypatch.setattr(libfuse, "chosen", lambda: 317)
    monkeypatch.setattr("platform.release", lambda: "6.18.1-generic")
    assert "user_allow_other" in found(config)["other users"]["remedy"]
    assert "CAP_SYS_ADMIN" in found(config)["passthrough"]["found"]
    (tmp_path / "fuse.conf").write_text("# comment\nuser_allow_other\n")
    assert found(config)["other users"]["state"] == "ok"
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert "apt install fuse3" in found(config)["fusermount3"]["remedy"]


@pytest.mark.parametrize(
    ("version", "linux", "said"),
    [(314, "6.12.1", "libfuse 3.17, and this is 3.14"), (317, "6.1.0-32-amd64", "Linux 6.9"), (317, "6.9.0", "")],
)
def test_why_no_passthrough(config: Path, monkeypatch: pytest.MonkeyPatch, version: int, linux: str, said: str) -> None:
    monkeypatch.setattr(libfuse, "chosen", lambda: version)
    monkeypatch.setattr("platform.release", lambda: linux)
    monkeypatch.setattr(doctor_cmd, "_is_admin", lambda: True)
    finding = found(config)["passthrough"]
    assert said in finding["found"] and finding["state"] == ("note" if said else "ok")


def test_no_libfuse(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libfuse, "chosen", lambda: 0)
    assert found(config)["libfuse"]["state"] == "problem"


@pytest.mark.mount
def test_the_running_mount_speaks_for_itself(make_mount: MakeMount) -> None:
    tree = make_mount(drives=1)
    tree.environment["MEDIAPOOL_MOUNT__PASSTHROUGH"] = "off"
    tree.start()
    answer = tree.command("doctor")
    assert "turned off by [mount] passthrough" in answer.stdout and f"{tree.path}: mounted" in answer.stdout
    tree.kill()
    assert tree.command("doctor").returncode == Exit.OK, "a mount that was taken away is no problem"
