"""What `mediapool doctor` finds, on this system and on worse ones; what it tells to type is tried beside this."""

import json
import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from arrserving import KEY, ArrServer, serving
from click.testing import CliRunner, Result
from mediaserving import PlexServer

from cli import config as configuration
from cli import pool
from cli.doctoring import account, containers, drives, services, system
from cli.doctoring.finding import Case, Finding
from cli.doctoring.running import examine
from cli.exitcodes import Exit
from cli.keeping import open_names
from cli.main import main
from cli.state import Contact, StateFolder
from debrid.limits import Limits, Pauses
from debrid.simulator import Simulator
from placement.mounttable import Mount
from vfs import libfuse

SHARED = Mount(1, "8:1", "/", "/srv/pool", ("rw",), ("shared:7",), "ext4", "/dev/sda1")
# Of tests that run beside this one, on the same machine.
NOT_OURS = {"stale mounts"}
EVERYWHERE = {
    "/dev/fuse", "libfuse", "right to mount", "other users", "kernel", "passthrough", "open files", "watched folders",
    "mount", "stale mounts", "folders", "drive one", "drives", "room", "cache", "state", "port", "account",
    "mounts in the tree", "propagation",
}  # fmt: skip


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return write(tmp_path)


def write(base: Path, more: str = "", **sections: str) -> Path:
    """A configuration with one drive."""
    (base / "one").mkdir(exist_ok=True)
    lines = {
        "mount": f'path = "{base}/data"\nallow_other = true\n',
        "state": f'path = "{base}/state"\n',
        "cache": f'path = "{base}/cache"\nsize = "1MiB"\nmin_free = 0\n',
        "http": 'listen = "127.0.0.1:0"\n',
    }
    for section, text in sections.items():
        lines[section] = lines.get(section, "") + text + "\n"
    file = base / "mediapool.toml"
    text = "".join(f"[{section}]\n{text}" for section, text in lines.items())
    file.write_text(f'{text}[[drive]]\nname = "one"\npath = "{base}/one"\n{more}')
    file.chmod(0o600)
    return file


def run(config: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["doctor", "--config", str(config), *arguments])


def found(config: Path) -> dict[str, dict[str, str]]:
    return {one["what"]: one for one in json.loads(run(config, "--json").stdout)}


def remember(config: Path) -> None:
    """Make its folders drives that the pool knows, as the first mount does."""
    made = configuration.load(config, {})
    state = StateFolder(made.state.path)
    state.acquire()
    db, names = open_names(made, state)
    pool.close(pool.open_drives(made, db))
    names.close()
    state.release()


def test_all_is_well_here(config: Path) -> None:
    seen = found(config)
    assert set(seen) == EVERYWHERE
    assert [one for one in seen.values() if one["state"] == "problem" and one["what"] not in NOT_OURS] == []
    lines = run(config).output.splitlines()
    assert re.match(r"Group +Check +State +Found$", lines[0])
    assert next(line for line in lines if line.startswith("drives")).split()[:4] == ["drives", "drive", "one", "ok"]


def test_json_is_the_same_for_each_finding(config: Path) -> None:
    listed = json.loads(run(config, "--json").stdout)
    assert {tuple(one) for one in listed} == {("group", "what", "state", "found", "remedy", "command")}
    assert [one for one in listed if one["state"] != "ok" and not one["remedy"]] == []
    assert {one["group"] for one in listed} == {"system", "mount", "drives", "folders", "account", "containers"}


def test_what_is_wrong_has_a_remedy() -> None:
    with pytest.raises(ValueError, match="without a remedy"):
        Finding("x", "note", "not so well")


def test_nothing_is_changed_by_looking(config: Path) -> None:
    before = sorted(config.parent.rglob("*"))
    assert run(config).exit_code in (Exit.OK, Exit.FAILED)
    assert sorted(config.parent.rglob("*")) == before


# The system.


def test_no_kernel_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os.path, "exists", lambda path: path != "/dev/fuse")
    monkeypatch.setattr(Path, "read_text", lambda self, *_args, **_named: "nodev\tproc\n")
    (finding,) = system.device(Case(configuration.Config()))
    assert (finding.state, finding.command) == ("problem", "modprobe fuse")


def test_an_ordinary_user(config: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(system, "_FUSE_CONF", tmp_path / "fuse.conf")
    monkeypatch.setattr(system, "_is_admin", lambda: False)
    monkeypatch.setattr(libfuse, "chosen", lambda: 317)
    monkeypatch.setattr("platform.release", lambda: "6.18.1-generic")
    seen = found(config)
    assert "user_allow_other" in seen["other users"]["command"] and seen["other users"]["state"] == "problem"
    assert "CAP_SYS_ADMIN" in seen["passthrough"]["found"] and seen["passthrough"]["command"].startswith("sudo ")
    (tmp_path / "fuse.conf").write_text("#user_allow_other\n user_allow_other # for Plex\n")
    assert found(config)["other users"]["state"] == "ok"
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert found(config)["right to mount"]["command"] == "apt install fuse3"


@pytest.mark.parametrize(
    ("version", "linux", "said"),
    [(314, "6.12.1", "libfuse 3.17, and this is 3.14"), (317, "6.1.0-32-amd64", "Linux 6.9"), (317, "6.9.0", "")],
)
def test_why_no_passthrough(config: Path, monkeypatch: pytest.MonkeyPatch, version: int, linux: str, said: str) -> None:
    monkeypatch.setattr(libfuse, "chosen", lambda: version)
    monkeypatch.setattr("platform.release", lambda: linux)
    monkeypatch.setattr(system, "_is_admin", lambda: True)
    finding = found(config)["passthrough"]
    assert said in finding["found"] and finding["state"] == ("note" if said else "ok")
    assert bool(finding["remedy"]) is bool(said)


def test_an_old_kernel_and_no_libfuse(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libfuse, "chosen", lambda: 0)
    monkeypatch.setattr("platform.release", lambda: "4.19.0-27-amd64")
    seen = found(config)
    assert seen["libfuse"]["state"] == "problem" and seen["libfuse"]["command"] == "apt install fuse3"
    assert seen["kernel"]["state"] == "note" and "128 KiB" in seen["kernel"]["found"]


def test_other_users_and_passthrough_as_the_configuration_says(tmp_path: Path) -> None:
    config = write(tmp_path, mount='passthrough = "off"')
    config.write_text(config.read_text().replace("allow_other = true", "allow_other = false"))
    seen = found(config)
    assert [seen[what]["state"] for what in ("other users", "passthrough")] == ["note", "note"]
    # As their remedies say.
    text = config.read_text().replace("allow_other = false", "allow_other = true").replace('"off"', '"auto"')
    config.write_text(text)
    seen = found(config)
    assert [seen[what]["state"] for what in ("other users", "passthrough")] == ["ok", "ok"]


# Folders, drives, ports.


def test_folders_inside_one_another(tmp_path: Path) -> None:
    config = write(tmp_path)
    config.write_text(config.read_text().replace(f"{tmp_path}/cache", f"{tmp_path}/one/cache"))
    seen = found(config)
    assert "inside drive" in seen["[cache] path"]["found"] and seen["[cache] path"]["state"] == "problem"
    config.write_text(config.read_text().replace(f"{tmp_path}/one/cache", f"{tmp_path}/cache"))
    assert found(config)["folders"]["state"] == "ok"


def test_a_drive_that_has_moved_or_is_not_mounted(config: Path, tmp_path: Path) -> None:
    remember(config)
    assert found(config)["drive one"]["state"] == "ok"
    (tmp_path / "one").rename(tmp_path / "elsewhere")
    (tmp_path / "one").mkdir()
    moved = found(config)["drive one"]
    assert moved["state"] == "problem" and f'path = "{tmp_path}/elsewhere"' in moved["remedy"]
    config.write_text(config.read_text().replace(f'{tmp_path}/one"', f'{tmp_path}/elsewhere"'))
    assert found(config)["drive one"]["state"] == "ok"
    (tmp_path / "elsewhere").rename(tmp_path / ".hidden")
    (tmp_path / ".hidden/.mediapool/identity.json").rename(tmp_path / "identity.json")
    lost = found(config)["drive one"]
    assert lost["state"] == "problem" and "Is it mounted" in lost["remedy"]


def test_another_drive_in_its_place(tmp_path: Path) -> None:
    config = write(tmp_path, f'[[drive]]\nname = "two"\npath = "{tmp_path}/two"\n')
    (tmp_path / "two").mkdir()
    remember(config)
    (tmp_path / "one").rename(tmp_path / "three")
    (tmp_path / "two").rename(tmp_path / "one")
    (tmp_path / "three").rename(tmp_path / "two")
    seen = found(config)
    assert "another drive is mounted there" in seen["drive one"]["found"]
    assert f'path = "{tmp_path}/two"' in seen["drive one"]["remedy"]


def test_a_damaged_identity(config: Path, tmp_path: Path) -> None:
    remember(config)
    identity = tmp_path / "one/.mediapool/identity.json"
    kept = identity.read_bytes()
    identity.write_text("{")
    lost = found(config)["drive one"]
    assert lost["state"] == "problem" and "damaged" in lost["found"] and "backup" in lost["remedy"]
    identity.write_bytes(kept)
    assert found(config)["drive one"]["state"] == "ok"


def test_drives_on_one_filesystem(tmp_path: Path) -> None:
    config = write(tmp_path, f'[[drive]]\nname = "two"\npath = "{tmp_path}/two"\n')
    (tmp_path / "two").mkdir()
    note = found(config)["drive two: filesystem"]
    assert note["state"] == "note" and note["command"].startswith("mediapool pool remove two")
    words = note["command"].split()[1:]
    assert CliRunner().invoke(main, [*words, "--yes"]).exit_code == Exit.OK
    assert "drive two: filesystem" not in found(config) and found(config)["drives"]["state"] == "ok"


def test_no_drive_at_all(tmp_path: Path) -> None:
    config = write(tmp_path)
    config.write_text(config.read_text().partition("[[drive]]")[0])
    note = found(config)["drives"]
    assert note["state"] == "note" and "pool add" in note["command"]
    words = note["command"].replace("/mnt/disk1", str(tmp_path / "one")).split()[1:]
    assert CliRunner().invoke(main, [*words, "--yes"]).exit_code == Exit.OK
    assert found(config)["drives"]["state"] == "ok"


def test_the_state_beside_a_drive_that_may_be_filled(tmp_path: Path) -> None:
    config = write(tmp_path, "min_free = 0\n")
    note = found(config)["state"]
    assert note["state"] == "note" and 'min_free = "1GiB"' in note["remedy"]
    config.write_text(config.read_text().replace("min_free = 0\n", "").replace("[http]", "min_free = 0\n[http]"))
    config.write_text(config.read_text() + 'min_free = "1GiB"\n')
    assert found(config)["state"]["state"] == "ok"


@pytest.mark.parametrize(("kind", "state"), [("vfat", "problem"), ("exfat", "problem"), ("ext4", "")])
def test_filesystems_without_links(config: Path, monkeypatch: pytest.MonkeyPatch, kind: str, state: str) -> None:
    remember(config)
    real = drives.mount_of
    monkeypatch.setattr(drives, "mount_of", lambda path: (mount := real(path)) and replace(mount, kind=kind))
    assert found(config).get("drive one: links", {"state": ""})["state"] == state


def test_a_taken_port(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config = write(tmp_path)
        config.write_text(config.read_text().replace("127.0.0.1:0", f"127.0.0.1:{port}"))
        finding = found(config)["port"]
        assert finding["state"] == "problem" and f"(process {os.getpid()})" in finding["found"]
        (other,) = re.findall(r'listen = "([^"]+)"', finding["remedy"])
        config.write_text(config.read_text().replace(f"127.0.0.1:{port}", other))
        assert found(config)["port"]["state"] == "ok"


# The account.


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator() as running:
        yield running


def with_account(base: Path, simulator: Simulator) -> Path:
    return write(base, debrid=f'token = "{simulator.token}"\napi_url = "{simulator.api_url}"')


def test_an_account_in_order(tmp_path: Path, simulator: Simulator) -> None:
    config = with_account(tmp_path, simulator)
    result = run(config, "--json")
    seen = {one["what"]: one for one in json.loads(result.stdout)}
    assert [seen[what]["state"] for what in ("api", "clock", "account", "download servers")] == ["ok"] * 4
    assert simulator.token not in result.output + run(config).output
    clock = next(one for one in simulator.journal if one.path == "/time")
    assert "authorization" not in clock.headers, "this call needs no token"


@pytest.mark.parametrize(
    ("fault", "remedy"),
    [("bad_token", "apitoken"), ("free", "renew"), ("locked", "support"), ("permission_denied", "premium")],
)
def test_a_refused_account(tmp_path: Path, simulator: Simulator, fault: str, remedy: str) -> None:
    config = with_account(tmp_path, simulator)
    with simulator.faults.set(account=fault):
        result = run(config, "--json")
    seen = {one["what"]: one for one in json.loads(result.stdout)}
    assert seen["account"]["state"] == "problem" and remedy in seen["account"]["remedy"]
    assert result.exit_code == Exit.FAILED and simulator.token not in result.output
    assert found(config)["account"]["state"] == "ok", "as soon as the provider takes it again"


@pytest.mark.parametrize(("code", "remedy"), [(22, "VPN"), (10, "two-factor"), (9, "premium has ended")])
def test_an_account_that_may_not(tmp_path: Path, simulator: Simulator, code: int, remedy: str) -> None:
    config = with_account(tmp_path, simulator)
    with simulator.faults.set(api_status=403, api_status_prefix="/user", api_status_code=code):
        seen = found(config)["account"]
    assert seen["state"] == "problem" and remedy in seen["remedy"]
    assert found(config)["account"]["state"] == "ok"


def test_the_wrong_token(tmp_path: Path, simulator: Simulator) -> None:
    config = with_account(tmp_path, simulator)
    config.write_text(config.read_text().replace(simulator.token, "ANOTHERTOKEN"))
    result = run(config, "--json")
    assert "ANOTHERTOKEN" not in result.output
    finding = next(one for one in json.loads(result.stdout) if one["what"] == "account")
    assert finding["state"] == "problem" and "token in [debrid]" in finding["remedy"]


def test_premium_that_ends_soon() -> None:
    assert account._premium("premium", 3 * 86400).state == "note"
    assert account._premium("premium", 30 * 86400).state == "ok"
    assert account._premium("free", 0).state == "problem"


def test_an_api_that_cannot_be_reached(tmp_path: Path, simulator: Simulator) -> None:
    config = with_account(tmp_path, simulator)
    wrong = "http://127.0.0.1:9/rest/1.0"
    config.write_text(config.read_text().replace(simulator.api_url, wrong))
    seen = found(config)
    assert seen["api"]["state"] == "problem" and "api_url" in seen["api"]["remedy"] and "curl" in seen["api"]["command"]
    assert seen["account"]["state"] == "note"
    config.write_text(config.read_text().replace(wrong, simulator.api_url))
    with simulator.faults.set(api_outage="maintenance"):
        assert "HTTP 503" in found(config)["api"]["found"]
    assert found(config)["api"]["state"] == "ok"


def test_a_clock_that_is_wrong(tmp_path: Path, simulator: Simulator) -> None:
    config = with_account(tmp_path, simulator)
    simulator.advance(300)
    note = found(config)["clock"]
    assert note["state"] == "note" and "behind" in note["found"] and note["command"].startswith("timedatectl")
    with Simulator(clock=lambda: time.time() - 3600) as late:
        config.write_text(config.read_text().replace(simulator.api_url, late.api_url))
        assert "ahead of" in found(config)["clock"]["found"]
    with Simulator() as right:
        config.write_text(config.read_text().replace(late.api_url, right.api_url))
        assert found(config)["clock"]["state"] == "ok"


def test_download_servers(tmp_path: Path, simulator: Simulator) -> None:
    config = with_account(tmp_path, simulator)
    torrent = simulator.add_torrent("Film", {"/film.mkv": b"x" * 1000})
    unrestricted(simulator, torrent.links[0].url)
    assert "127.0.0.1 answers" in found(config)["download servers"]["found"]
    with simulator.faults.set(cdn_outage="refused"):
        lost = found(config)["download servers"]
        assert lost["state"] == "problem" and lost["command"].startswith("curl")
    assert found(config)["download servers"]["state"] == "ok"
    assert simulator.cdn_bytes < 1000, "no file is fetched for that"


def unrestricted(simulator: Simulator, link: str) -> None:
    from debrid.client import Client

    with Client(simulator.token, simulator.api_url) as client:
        client.unrestrict(link)


def test_calls_that_are_left(config: Path) -> None:
    now = [1000.0]
    limits = Limits(pauses=Pauses(first=5.0), clock=lambda: now[0], spread=lambda: 1.0)
    reads = {"reason": "", "paused_until": None}

    def said() -> Finding:
        status = {"remote": {"calls": limits.state(), "reads": reads}}
        (finding,) = account.calls(Case(configuration.load(config, {}), None, status))
        return finding

    assert said().state == "ok" and "10 may be made at once, 4 of them" in said().found
    limits.wait("any", now[0] + 10)
    assert "9 may be made" in said().found
    limits.refused()
    assert said().state == "note" and "pause for 5 s" in said().found and said().command == "sleep 6"
    now[0] += 6
    assert said().state == "ok"
    reads.update(reason="the fair-use limit is reached", paused_until=time.time() + 60)  # type: ignore[call-overload]
    assert "fair-use" in said().found and said().state == "note"


# How they are run.


def test_a_check_that_hangs_holds_up_no_other(config: Path) -> None:
    """As one would that looks at a dead disk."""
    never = threading.Event()

    def hangs(_case: Case) -> Iterator[Finding]:
        never.wait()
        yield Finding("x", "ok", "never seen")

    def refused(_case: Case) -> Iterator[Finding]:
        raise PermissionError(13, "Permission denied", "/root/x")
        yield

    def fine(_case: Case) -> Iterator[Finding]:
        yield Finding("fine", "ok", "seen")

    try:
        case = Case(configuration.load(config, {}))
        named: list[str] = []
        checks = [("g", "dead", hangs), ("g", "closed", refused), ("h", "fine", fine)]
        dead, closed, last = examine(case, checks, 0.2, named.append)
    finally:
        never.set()
    assert dead[1].state == "problem" and "no answer within 0.2 s" in dead[1].found
    assert closed[1].state == "note" and "/root/x" in closed[1].found and "root" in closed[1].remedy
    assert last == ("h", Finding("fine", "ok", "seen")) and named == ["dead", "closed", "fine"]


def test_a_check_that_is_wrong_is_told() -> None:
    def broken(_case: Case) -> Iterator[Finding]:
        raise KeyError("x")
        yield

    with pytest.raises(KeyError):
        examine(Case(configuration.Config()), [("g", "broken", broken)], 5, lambda _name: None)


@pytest.mark.parametrize("arguments", [["/tmp"], ["--paths", "/tmp"], ["--paths"], ["--try"]])
def test_paths_go_together(arguments: list[str]) -> None:
    done = CliRunner().invoke(main, ["doctor", *arguments])
    assert done.exit_code == Exit.USAGE and "--paths" in done.output


def test_paths_need_no_configuration(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
    folders = [str(tmp_path / name) for name in ("a", "b", "c")]
    done = CliRunner().invoke(main, ["doctor", "--paths", *folders, "--try", "--json"])
    assert done.exit_code == Exit.OK
    assert [one["found"] for one in json.loads(done.stdout)] == ["linked and renamed a file: link and rename work"] * 3
    assert sorted(tmp_path.rglob("*")) == sorted(tmp_path / name for name in ("a", "b", "c"))
    missing = CliRunner().invoke(main, ["doctor", "--paths", folders[0], str(tmp_path / "none")])
    assert missing.exit_code == Exit.FAILED and "none is no folder" in missing.output


@pytest.mark.parametrize(
    ("groups", "name"),
    [("0::/system.slice/docker-abc.scope", "Docker"), ("12:pids:/lxc/abc", "LXC"), ("0::/init.scope", "")],
)
def test_containers_are_told(groups: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(containers, "_MARKS", {})
    monkeypatch.delenv("container", raising=False)
    monkeypatch.setattr(Path, "read_text", lambda self, **_named: groups)
    assert containers.container() == name
    monkeypatch.setenv("container", "podman")
    assert containers.container() == "podman"


def test_a_tree_at_the_root_of_a_machine_with_containers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(containers, "container", lambda: "")
    monkeypatch.setattr("shutil.which", lambda name: "/usr/bin/docker" if name == "docker" else None)
    config = write(tmp_path)
    config.write_text(config.read_text().replace(f'"{tmp_path}/data"', '"/mediapool-test"'))
    note = found(config)["propagation"]
    assert note["state"] == "note" and 'path = "/srv/pool/mediapool-test"' in note["remedy"]
    monkeypatch.setattr(containers, "mount_of", lambda _path: SHARED)
    config.write_text(config.read_text().replace('"/mediapool-test"', f'"{tmp_path}/pool/data"'))
    assert found(config)["propagation"]["state"] == "ok"
    monkeypatch.setattr("shutil.which", lambda _name: None)
    assert found(config)["propagation"]["found"] == "no containers are run here"


def test_services_wait_for_the_mount(tmp_path: Path) -> None:
    config = write(tmp_path, f'[[arr]]\nkind = "sonarr"\nurl = "http://127.0.0.1:9"\napi_key = "{KEY}"\n')
    note = found(config)["services"]
    assert note["state"] == "note" and note["command"].startswith("mediapool mount --background")


def test_what_services_see_and_do(tmp_path: Path) -> None:
    """One that has another folder under the tree's path, and one that forgets what is not there for a moment."""
    tree = tmp_path / "data"
    (tree / "media/tv/Show").mkdir(parents=True)
    (tmp_path / "bare").mkdir()
    os.utime(tree, (0, 1_700_000_000))
    sonarr, plex = ArrServer(), PlexServer()
    sonarr.sees, sonarr.roots = {str(tree): tmp_path / "bare"}, []
    plex.sees, plex.libraries = {str(tree): tree}, {"TV": (f"{tree}/media/tv",)}
    plex.prefs = {"autoEmptyTrash": True}
    with serving(sonarr) as arr_url, serving(plex) as plex_url:
        config = write(
            tmp_path,
            f'[[arr]]\nkind = "sonarr"\nurl = "{arr_url}"\napi_key = "{KEY}"\n'
            f'[[media_server]]\nkind = "plex"\nurl = "{plex_url}"\ntoken = "{KEY}"\n',
        )
        case = Case(configuration.load(config, {}), Contact(os.getpid(), "", "", str(tree)), {})

        def said() -> dict[str, Finding]:
            checks = (("services", name, check) for name, check in services.checks(case))
            return {one.what: one for _, one in examine(case, checks, 20, lambda _name: None)}

        wrong = said()
        assert wrong["sonarr: tree"].state == "problem" and str(tree) in wrong["sonarr: tree"].remedy
        assert wrong["plex: settings"].state == "problem"
        assert "Empty trash automatically" in wrong["plex: settings"].remedy
        assert KEY not in str(wrong)
        # As the remedies say.
        sonarr.sees, plex.prefs = {str(tree): tree}, {"autoEmptyTrash": False}
        assert {one.state for one in said().values()} == {"ok"}
