"""What of Windows can be shown on Linux: that everything it uses can be imported there, and what it refuses."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from bypathing import work_by_path
from click.testing import CliRunner
from mounting import ROOT

from cli import values, windows
from cli.config import Config, parse
from cli.doctoring import windows as windows_checks
from cli.doctoring.finding import Finding
from cli.ending import UNMOUNT, ending_posts, mount_options
from cli.main import _MODULES, main
from cli.problems import ConfigError
from cli.state import Contact, StateFolder, StateInUse
from vfs import mountpoint, winmount
from vfs.attr import Caller

# Runs in a process of its own: everything is imported as on Linux first, so that other people's packages are there, and
# then once more where Unix is missing.
_IMPORTS = """
import ctypes, ctypes.wintypes, importlib, json, mmap, os, select, signal, sys, types
from pathlib import Path
from unittest.mock import MagicMock

sys.path[:0] = [{tests!r}]
import winfsping
winfsping.install(Path({folder!r}))
names = {names!r}
OURS = ("cli", "vfs", "debrid", "placement", "indexer")

def import_all():
    for name in names:
        importlib.import_module(name)
    return sorted(name for name in sys.modules if name.partition(".")[0] in OURS)

before = import_all()
importlib.import_module("vfs.winfsp")
for name in [name for name in sys.modules if name.partition(".")[0] in OURS]:
    del sys.modules[name]
for name in ("fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "syslog", "mfusepy"):
    sys.modules[name] = None
for module, missing in (
    (os, '''O_CLOEXEC O_DIRECTORY O_DIRECT O_NOFOLLOW O_NONBLOCK O_NOCTTY O_NOATIME O_PATH O_SYNC O_DSYNC O_ACCMODE
         O_TMPFILE O_LARGEFILE O_RSYNC O_ASYNC O_NDELAY pread preadv pwrite pwritev readv writev posix_fadvise
         posix_fallocate POSIX_FADV_DONTNEED POSIX_FADV_WILLNEED fchmod fchown chown lchown lchmod chflags mknod mkfifo
         makedev major minor getxattr setxattr listxattr removexattr XATTR_CREATE XATTR_REPLACE statvfs fstatvfs
         statvfs_result ST_RDONLY geteuid getuid getegid getgid getgroups getgrouplist fdatasync copy_file_range
         sendfile SEEK_DATA SEEK_HOLE fork setsid killpg getpgid uname sysconf memfd_create splice sync lockf
         register_at_fork getloadavg nice openpty fchdir chroot'''),
    (signal, "SIGHUP SIGKILL SIGURG SIGALRM SIGCHLD SIGUSR1 pthread_sigmask"),
    (mmap, "MAP_PRIVATE MAP_ANONYMOUS MAP_POPULATE MAP_SHARED"),
    (select, "poll epoll"),
):
    for name in missing.split():
        if hasattr(module, name):
            delattr(module, name)
sys.platform = "win32"
signal.SIGBREAK = 21
sys.modules["msvcrt"] = types.ModuleType("msvcrt")
ctypes.WinDLL = MagicMock()
real = ctypes.CDLL
ctypes.CDLL = lambda name, *more, **options: 1 / 0 if name is None else real(name, *more, **options)
after = import_all()
importlib.import_module("vfs.winfsp")
import placement.system
print(json.dumps(dict(before=before, after=after, own=placement.system.open.__module__)))
"""
# How each command that is for Windows too is done there, and what they all come to.
_USED = ("cli.app", "cli.mount_cmd", "vfs.winmount", "placement.bypath", "cli.keeping")


def test_what_windows_uses_is_imported_without_what_only_unix_has(tmp_path: Path) -> None:
    commands = sorted(
        {f"cli.{module}" for name, module in _MODULES.items() if not windows.refusal(name, "win32", (3, 11))}
    )
    assert {"cli.mount_cmd", "cli.pool_cmd", "cli.debrid_cmd", "cli.pin_cmd"} <= set(commands)
    script = _IMPORTS.format(tests=str(ROOT / "tests"), folder=str(tmp_path), names=[*commands, *_USED])
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["own"] == "placement.bypath"
    assert len(told["after"]) > 150 and "vfs.local" in told["after"]
    assert not {"vfs.fuse", "vfs.backings", "vfs.fusestat"} & set(told["after"])


def test_any_python_but_311_is_refused_on_windows() -> None:
    said = windows.refusal("status", "win32", (3, 13))
    assert said.startswith("mediapool on Windows needs Python 3.11 exactly") and "this is 3.13" in said
    assert windows.refusal("status", "linux", (3, 13)) == "" == windows.refusal("mount", "win32", (3, 11))
    with pytest.raises(mountpoint.MountError, match=r"needs Python 3\.11 exactly"):
        winmount.check_python((3, 12))
    winmount.check_python((3, 11))


def test_a_command_for_linux_alone_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "works on Linux only" in windows.refusal("archive", "win32", (3, 11))
    monkeypatch.setattr("cli.main.refusal", lambda name: windows.refusal(name, "win32", (3, 11)))
    result = CliRunner().invoke(main, ["layout", "create", "x"])
    assert result.exit_code == 1 and "`mediapool layout` works on Linux only" in result.output
    assert CliRunner().invoke(main, ["--help"]).exit_code == 0


def test_a_letter_is_a_mount_point_on_windows_only(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="Only Windows has drive letters"):
        parse('[mount]\npath = "X:"')
    monkeypatch.setattr(values.sys, "platform", "win32")
    for text in ("x:", "X:\\\\"):
        assert str(parse(f'[mount]\npath = "{text}"').mount.path) == "X:\\"
    with pytest.raises(ConfigError, match="not an absolute path"):
        parse('[mount]\npath = "X:data"')


def test_each_system_is_given_its_own_options() -> None:
    ending, mount = threading.Event(), Config().mount.model_copy(update={"uid": 7, "gid": 8, "cache_seconds": 2.0})
    there = mount_options(mount, ending, "win32")
    assert (there.owner, there.umask, there.cache_seconds) == (Caller(7, 8), 0o022, 2.0)
    posts = ending_posts(ending, "win32")
    assert list(posts) == [UNMOUNT] and not there.ending.is_set()
    assert posts[UNMOUNT]({}) == {"ending": True} and there.ending.is_set()
    assert ending_posts(ending, "linux") == {}
    assert mount_options(mount, ending, "linux").cache_seconds == 2.0


def test_what_stands_at_a_mount_point(tmp_path: Path) -> None:
    def label(root: str) -> str | None:
        return {str(tmp_path / "ours"): "mediapool", str(tmp_path / "disk"): "Backup"}.get(root)

    for name in ("ours", "disk", "plain"):
        (tmp_path / name).mkdir()
    wanted = {"ours": "mounted", "disk": "foreign", "plain": "foreign", "free": "bare", "no/where": "absent"}
    assert {name: winmount.state(tmp_path / name, label) for name in wanted} == wanted
    assert winmount.state(Path("Q:"), label) == "bare" and winmount.root_of(Path("Q:")) == "Q:\\"
    assert winmount.root_of(Path("Q:\\")) == "Q:\\"
    with pytest.raises(mountpoint.MountError, match="name another folder that does not exist yet"):
        winmount.prepare(tmp_path / "plain")
    with pytest.raises(mountpoint.MountError, match="folder above"):
        winmount.prepare(tmp_path / "no/where")
    winmount.prepare(tmp_path / "free")
    with pytest.raises(mountpoint.MountError, match="run 'mediapool unmount'"):
        winmount.unmount(tmp_path / "ours")


def test_who_may_look_in() -> None:
    assert winmount.rights(True) == "O:BAG:BAD:P(A;;FA;;;SY)(A;;FA;;;BA)(A;;FA;;;WD)"
    said = '"host\\\\anna","S-1-5-21-1004-500-7"\n'
    assert winmount.rights(False, lambda: said).endswith("(A;;FA;;;S-1-5-21-1004-500-7)")
    with pytest.raises(mountpoint.MountError, match="allow_other = true"):
        winmount.rights(False, lambda: "nobody")
    with pytest.raises(mountpoint.MountError, match="allow_other = true"):
        winmount.rights(False, _missing)


def test_doctor_says_what_windows_lacks() -> None:
    def looked(text: str, python: tuple[int, int] = (3, 11), state: mountpoint.State = "bare") -> dict[str, Finding]:
        return {one.what: one for one in windows_checks.findings(parse(text), python, lambda: "C:/WinFsp/bin", state)}

    fine = looked("")
    assert [one.state for one in fine.values()] == ["ok", "ok", "note", "ok"]
    assert "WinFsp makes none" in fine["hard links"].found and fine["WinFsp"].found == "C:/WinFsp/bin"
    linking = looked('[client.tv]\nimport = "link"')["hard links"]
    assert linking.state == "problem" and "[client.tv]" in linking.found and 'import = "move"' in linking.remedy
    assert looked('[client.tv]\nimport = "move"')["hard links"].state == "note"
    assert looked("", python=(3, 12))["Python"].remedy.startswith("mediapool on Windows needs Python 3.11 exactly")
    assert looked("", state="foreign")["mount"].state == "problem"
    assert looked("", state="mounted")["mount"].found.partition(": ")[2] == "mounted"
    (missing,) = (one for one in windows_checks.findings(Config(), (3, 11), _missing, "bare") if one.what == "WinFsp")
    assert missing.state == "problem" and "choco install winfsp" in missing.remedy


def _missing() -> str:
    raise FileNotFoundError("whoami")


def test_the_state_folder_is_held_by_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work_by_path(monkeypatch)
    one, other = StateFolder(tmp_path / "state"), StateFolder(tmp_path / "state")
    one.acquire()
    with pytest.raises(StateInUse, match=f"process {os.getpid()}"):
        other.acquire()
    one.announce(Contact(1, "http://127.0.0.1:1", "t", "X:\\"))
    assert other.in_use() and other.contact() == Contact(1, "http://127.0.0.1:1", "t", "X:\\")
    one.release()
    assert not other.in_use() and other.contact() is None
