"""As a service: what systemd is told and when, and that it can read the units."""

import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import MakeMount
from mounting import ROOT, wait_for

from cli.service import Service

SERVICE = ROOT / "scripts/service"
# The tree is asked three times within this.
WATCHDOG = 0.6


class Manager:
    """What systemd does at its end of NOTIFY_SOCKET."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)

    def hear(self, seconds: float = 30) -> list[str]:
        """The lines of the next message. Raises TimeoutError if none comes."""
        self._socket.settimeout(seconds)
        return self._socket.recv(4096).decode().splitlines()

    def hear_of(self, line: str) -> list[str]:
        while line not in (heard := self.hear()):
            pass
        return heard

    def hears_nothing(self, seconds: float) -> bool:
        try:
            return not self.hear(seconds)
        except TimeoutError:
            return True

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(str(tmp_path / "notify"))
    yield manager
    manager.close()


@pytest.mark.mount
def test_systemd_hears_that_the_tree_answers_that_it_hangs_and_that_it_ends(
    make_mount: MakeMount, manager: Manager
) -> None:
    # A drive that can hang: it lies in another mount, whose process can be stopped.
    below = make_mount("below", drives=1).start()
    (below.path / "drive").mkdir()
    told = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": str(int(WATCHDOG * 1e6))}
    tree = make_mount("tree", drives=1, environment={**told, "MEDIAPOOL_MOUNT__PASSTHROUGH": "off"})
    tree.drive_paths = [below.path / "drive"]
    tree.write_config()
    started = threading.Thread(target=tree.start)
    started.start()
    assert manager.hear() == ["STATUS=opening drives and databases"]
    ready = manager.hear()
    assert ready[0] == "READY=1" and f"STATUS=mounted at {tree.path}: 1 drives" in ready[1]
    assert os.path.ismount(tree.path) and os.listdir(tree.path) == [], "it said so before the tree answered"
    started.join()
    for _ in range(3):
        assert manager.hear() == ["WATCHDOG=1"]

    assert below.process is not None and tree.process is not None
    below.process.send_signal(signal.SIGSTOP)
    try:
        wait_for(lambda: manager.hears_nothing(WATCHDOG * 2), "the silence of a tree that hangs")
        assert manager.hears_nothing(WATCHDOG)
    finally:
        below.process.send_signal(signal.SIGCONT)
    assert manager.hear() == ["WATCHDOG=1"]

    tree.process.send_signal(signal.SIGTERM)
    assert manager.hear_of("STOPPING=1")
    assert tree.process.wait(20) == 0
    assert not os.path.ismount(tree.path)
    tree.stop()

    # What systemd does at last to one that hangs. Who waits for an answer of its own tree could not be killed.
    tree.start()
    assert manager.hear_of("WATCHDOG=1")
    below.process.send_signal(signal.SIGSTOP)
    try:
        wait_for(lambda: manager.hears_nothing(WATCHDOG * 2), "the silence of a tree that hangs")
        tree.process.kill()
        tree.process.wait(20)
    finally:
        below.process.send_signal(signal.SIGCONT)
        tree.kill()


def test_what_systemd_says_is_for_this_process_alone(manager: Manager) -> None:
    others = {"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1", "NOTIFY_SOCKET": manager.address, "HOME": "/"}
    service = Service(others)
    assert others == {"HOME": "/"}, "programs that we start would speak for us"
    service.tell("STATUS=here")
    assert manager.hear() == ["STATUS=here"]


def test_an_abstract_socket_is_found_and_a_lost_one_is_no_failure(manager: Manager, tmp_path: Path) -> None:
    abstract = Manager(f"@mediapool-{os.getpid()}")
    Service({"NOTIFY_SOCKET": abstract.address}).tell("READY=1")
    assert abstract.hear() == ["READY=1"]
    abstract.close()
    Service({"NOTIFY_SOCKET": str(tmp_path / "none")}).tell("READY=1")
    Service({}).ready(tmp_path, "nobody asked")


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """A folder of units as `install` makes them, with the drop-ins where they belong."""
    program = tmp_path / "bin/mediapool"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    environment = {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}", "HOME": str(tmp_path / "home")}
    environment.pop("XDG_CONFIG_HOME", None)
    folder = tmp_path / "root/etc/systemd/system"
    for options in ([], ["--user"]):
        if options or os.geteuid() == 0:
            subprocess.run(
                [SERVICE / "install", *options], env={**environment, "DESTDIR": str(tmp_path / "root")}, check=True
            )
    folder.mkdir(parents=True, exist_ok=True)
    user = tmp_path / f"root{tmp_path}/home/.config/systemd/user/mediapool.service"
    user.rename(folder / "user.service")
    for text in folder.glob("*.service"):
        assert f"ExecStart={program} mount\n" in text.read_text()
    if os.geteuid() != 0:
        shutil.copy(SERVICE / "mediapool.service", folder)
    for name, drop_in in (("mediapool", "drives"), ("player", "needs-mediapool")):
        (folder / f"{name}.service.d").mkdir()
        shutil.copy(SERVICE / f"{drop_in}.conf", folder / f"{name}.service.d")
    (folder / "player.service").write_text("[Service]\nExecStart=/bin/true\n")
    return folder


@pytest.mark.parametrize(("name", "scope"), [("mediapool", "--system"), ("player", "--system"), ("user", "--user")])
def test_systemd_can_read_the_units(units: Path, name: str, scope: str) -> None:
    def verify() -> subprocess.CompletedProcess[str]:
        command = ["systemd-analyze", scope, "--man=no", "verify", str(units / f"{name}.service")]
        environment = {**os.environ, "SYSTEMD_UNIT_PATH": f"{units}:", "XDG_RUNTIME_DIR": "/run"}
        return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)

    done = verify()
    assert (done.returncode, done.stderr) == (0, "")
    # It would say so.
    (units / f"{name}.service.d").mkdir(exist_ok=True)
    (units / f"{name}.service.d/wrong.conf").write_text("[Service]\nWatchdogSeconds=3\n")
    assert "WatchdogSeconds" in verify().stderr


def test_no_path_that_systemd_would_misread_is_installed(tmp_path: Path) -> None:
    program = tmp_path / "a folder/mediapool"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    environment = {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}", "DESTDIR": str(tmp_path / "root")}
    done = subprocess.run([SERVICE / "install", "--user"], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and str(program) in done.stderr
    assert not (tmp_path / "root").exists()


def test_the_image_has_all_packages_and_containers_share_the_folder_above_the_tree() -> None:
    folder = ROOT / "scripts/docker"
    dockerfile, compose = (folder / "Dockerfile").read_text(), (folder / "compose.yaml").read_text()
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]["include"]
    assert {f"{name.rstrip('*')} /source/{name.rstrip('*')}" for name in packages} <= set(
        re.findall(r"^COPY (.*)$", dockerfile, re.M)
    )
    (tree,) = re.findall(r"MEDIAPOOL_MOUNT__PATH=(\S+)", dockerfile)
    services = re.split(r"^  (\w+):$", compose.partition("\nservices:\n")[2], flags=re.M)[1:]
    for name, text in zip(services[::2], services[1::2], strict=True):
        (shared,) = re.findall(r"- /srv/mediapool:(\S+):(\w+)", text)
        assert shared == (os.path.dirname(tree), "rshared" if name == "mediapool" else "rslave"), name
        assert name == "mediapool" or "depends_on" in text
    assert f"MEDIAPOOL_MOUNT__PATH: {tree}\n" in compose and "condition: service_healthy" in compose
