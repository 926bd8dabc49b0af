"""Commands that need no mount, and what holds for all of them."""

import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from commanding import COMMANDS
from mounting import ROOT, Mounted, wait_for

from cli.exitcodes import ENDS_WITH, Exit
from cli.main import main
from debrid.simulator import Simulator
from placement.jobs import Jobs


def run(*arguments: object, **options: object) -> Result:
    return CliRunner().invoke(main, list(map(str, arguments)), **options)  # type: ignore[arg-type]


@pytest.fixture
def pool(tmp_path: Path) -> Mounted:
    return Mounted(tmp_path)


# What each command that can end with 3 is given to come that far without a mount.
ARGUMENTS = {
    "cache warm": ["x"],
    "debrid add": ["magnet:?xt=urn:btih:" + "a" * 40],
    "download": ["x"],
    "explain": ["x"],
    "index duplicates": ["DRIVE", "--remote"],
    "ingest": ["DRIVE", "--to", "photos"],
    "jobs pause": ["1"],
    "jobs resume": ["1"],
    "jobs undo": ["1"],
    "pin": ["x"],
    "pool drain": ["drive1"],
    "pool tier": ["ssd", "hdd"],
    "unpin": ["x"],
}


@pytest.mark.parametrize("name", ENDS_WITH[Exit.NOT_MOUNTED])
def test_commands_that_need_a_mount_say_so(name: str, pool: Mounted) -> None:
    words = [str(pool.drive_paths[0]) if word == "DRIVE" else word for word in ARGUMENTS.get(name, [])]
    pool.state.mkdir()
    jobs = Jobs(pool.state / "jobs.db")
    jobs.add("balance", {})
    jobs.close()
    done = run(*name.split(), *words, "--config", pool.config)
    assert done.exit_code == Exit.NOT_MOUNTED and "mounted" in done.output


@pytest.mark.parametrize("name", COMMANDS)
def test_help_tells_the_exit_codes(name: str) -> None:
    codes = {
        int(code) for code in re.findall(r"\b(\d) ", run(*name.split(), "--help").output.partition("Exit codes:")[2])
    }
    assert codes == {0, 1, 2} | {code.value for code, commands in ENDS_WITH.items() if name in commands}


def test_no_other_command_ends_with_these_codes() -> None:
    """Whatever ends with 3 or 4 is in a module of the commands that are listed."""
    called = re.compile(r"\bmounted\((?:config|load\()|Exit\.NOT_MOUNTED")
    for code, mark in ((Exit.NOT_MOUNTED, called), (Exit.PROVIDER, re.compile(r"Exit\.PROVIDER"))):
        callbacks = [COMMANDS[name].callback for name in ENDS_WITH[code]]
        modules = {inspect.unwrap(callback).__module__ for callback in callbacks if callback}
        # What commands share, and what a job's command hands it on to.
        shared = {"cli.options", "cli.exitcodes", "cli.move_jobs"}
        found = {f"cli.{path.stem}" for path in (ROOT / "cli").glob("*.py") if mark.search(path.read_text())}
        assert found - shared <= modules and modules <= found | {"cli.jobs_cmd"}, (found, modules)


def test_there_is_a_version() -> None:
    assert run("--version").output.startswith("mediapool, version 0.")


def test_the_module_runs_as_the_command_does() -> None:
    done = subprocess.run([sys.executable, "-m", "cli", "--help"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and "Usage: " in done.stdout and "unmount" in done.stdout


def test_init_writes_a_config_that_mounts_could_use(tmp_path: Path) -> None:
    (tmp_path / "disk1").mkdir()
    (tmp_path / "disk2").mkdir()
    file = tmp_path / "conf/mediapool.toml"
    done = run(
        "init",
        "--config",
        file,
        "--drive",
        tmp_path / "disk1",
        "--drive",
        tmp_path / "disk2",
        "--mount",
        tmp_path / "data",
    )
    assert done.exit_code == 0, done.output
    status = run("pool", "status", "--json", "--config", file)
    assert [drive["path"] for drive in json.loads(status.stdout)] == [str(tmp_path / "disk1"), str(tmp_path / "disk2")]
    again = run("init", "--config", file)
    assert again.exit_code == 2 and "exists already" in again.output


def test_init_on_a_terminal_asks_for_what_only_the_person_knows(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    file = tmp_path / "mediapool.toml"
    reader, writer = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "cli", "init", "--config", str(file)],
        cwd=ROOT, stdin=writer, stdout=writer, stderr=writer, start_new_session=True,
    )  # fmt: skip
    seen = b""

    def answer(prompt: bytes, text: str) -> None:
        nonlocal seen
        while prompt not in seen:
            seen += os.read(reader, 1000)
        seen = seen.partition(prompt)[2]
        os.write(reader, text.encode() + b"\n")

    answer(b"token", "SECRETTOKEN")
    answer(b"Folder of a drive", str(tmp_path / "nowhere"))
    answer(b"Folder of a drive", str(tmp_path / "disk"))
    answer(b"Folder of a drive", "")
    answer(b"Mount point", str(tmp_path / "data"))
    assert process.wait(20) == 0
    os.close(writer)
    os.close(reader)
    written = file.read_text()
    assert 'token = "SECRETTOKEN"' in written and f'path = "{tmp_path / "disk"}"' in written
    assert f'path = "{tmp_path / "data"}"' in written
    assert b"SECRETTOKEN" not in seen, "what is typed for the token is not shown"


def test_pool_add_and_remove(pool: Mounted, tmp_path: Path) -> None:
    new = tmp_path / "extra"
    new.mkdir()
    (new / "film.mkv").write_text("kept")
    config = ["--config", pool.config]
    assert run("pool", "add", new, *config, "--dry-run").exit_code == 0
    assert not (new / ".mediapool").exists() and "extra" not in pool.config.read_text()
    refused = run("pool", "add", new, *config)
    assert refused.exit_code == 2 and "--yes" in refused.output
    assert run("pool", "add", new, "--name", "four", "--tier", "fast", "--yes", *config).exit_code == 0
    assert (new / ".mediapool/identity.json").exists()
    drives = {drive["name"]: drive for drive in json.loads(run("pool", "status", "--json", *config).stdout)}
    assert drives["four"]["tier"] == "fast" and drives["four"]["available"] > 0
    assert run("pool", "remove", "four", *config, "--dry-run").exit_code == 0
    assert "four" in pool.config.read_text()
    assert run("pool", "remove", "four", "--yes", *config).exit_code == 0
    assert "four" not in pool.config.read_text() and (new / "film.mkv").read_text() == "kept"
    unknown = run("pool", "remove", "five", "--yes", *config)
    assert unknown.exit_code == 1 and "drive1, drive2, drive3" in unknown.output


@pytest.mark.parametrize("inside", ["drive1/below", "none"])
def test_pool_add_refuses_what_cannot_be_a_drive(pool: Mounted, tmp_path: Path, inside: str) -> None:
    if inside != "none":
        (tmp_path / inside).mkdir()
    before = pool.config.read_text()
    done = run("pool", "add", tmp_path / inside, "--yes", "--config", pool.config)
    assert done.exit_code != 0 and inside in done.output and "Traceback" not in done.output
    assert pool.config.read_text() == before
    assert not (tmp_path / inside / ".mediapool").exists()


def test_numbers_of_drives_stay_apart_before_the_first_mount(pool: Mounted, tmp_path: Path) -> None:
    numbers = set()
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        assert run("pool", "add", tmp_path / name, "--yes", "--config", pool.config).exit_code == 0
        numbers.add(json.loads((tmp_path / name / ".mediapool/identity.json").read_text())["number"])
    assert len(numbers) == 3


def test_status_without_a_mount_shows_the_drives(pool: Mounted) -> None:
    done = run("status", "--config", pool.config)
    assert done.exit_code == 3 and "not mounted" in done.output
    assert all(drive.name in done.output for drive in pool.drive_paths)


def test_a_missing_config_names_the_file_and_the_remedy(tmp_path: Path) -> None:
    done = run("status", "--config", tmp_path / "none.toml")
    assert done.exit_code == 2 and "none.toml" in done.output and "mediapool init" in done.output


def test_layout_create(tmp_path: Path) -> None:
    assert run("layout", "create", "--path", tmp_path, "--dry-run").exit_code == 0
    assert list(tmp_path.iterdir()) == []
    made = json.loads(run("layout", "create", "--path", tmp_path, "--json").stdout)
    assert {step["action"] for step in made} == {"made"}
    assert (tmp_path / "data/media/anime").is_dir() and (tmp_path / "data/personal/remux").is_dir()
    kept = json.loads(run("layout", "create", "--path", tmp_path, "--json").stdout)
    assert {step["action"] for step in kept} == {"kept"}
    wrong = run("layout", "create", "--path", tmp_path / "none")
    assert wrong.exit_code == 1 and "none" in wrong.output


def test_debrid_status_and_list_without_a_mount(pool: Mounted) -> None:
    assert run("debrid", "status", "--config", pool.config).exit_code == 2
    with Simulator() as simulator:
        pool.write_config(debrid=f'token = "{simulator.token}"\napi_url = "{simulator.api_url}"')
        good = run("debrid", "status", "--config", pool.config)
        assert good.exit_code == 0 and "premium" in good.output and "not mounted" in good.output
        simulator.faults.account = "bad_token"
        refused = run("debrid", "status", "--config", pool.config)
        assert refused.exit_code == 4 and "[debrid] token" in refused.output
        assert simulator.token not in good.output + refused.output
    assert run("debrid", "list", "--config", pool.config).exit_code == 0


def test_the_simulator_runs_alone(tmp_path: Path) -> None:
    (tmp_path / "files/Film").mkdir(parents=True)
    (tmp_path / "files/Film/film.mkv").write_bytes(b"x" * 1000)
    out = tmp_path / "out"
    with out.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-u", "-m", "cli", "debrid", "simulate", "--files", str(tmp_path / "files"),
             "--api-port", "0", "--cdn-port", "0"],
            cwd=ROOT, stdout=output, stderr=output,
        )  # fmt: skip
    try:
        wait_for(lambda: "Faults" in out.read_text(), "the address")
        import requests

        url = out.read_text().partition('api_url = "')[2].partition('"')[0]
        answer = requests.get(f"{url}/torrents", headers={"Authorization": "Bearer SIMULATORTOKEN"}, timeout=10)
        assert [torrent["filename"] for torrent in answer.json()] == ["Film"]
    finally:
        process.terminate()
        assert process.wait(20) == 0, out.read_text()
