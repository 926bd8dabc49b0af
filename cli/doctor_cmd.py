"""`mediapool doctor`: what of this system could be better for mediapool, and how."""

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import click

import vfs.mount
from cli.config import Config
from cli.exitcodes import Exit
from cli.options import ask, config_option, load
from cli.output import json_option, print_json, print_table, say
from cli.windowsfindings import windows_findings
from vfs import libfuse

State = Literal["ok", "note", "problem"]
_MARKS: dict[State, str] = {"ok": "ok", "note": "could be better", "problem": "PROBLEM"}
_FUSE_CONF = Path("/etc/fuse.conf")
# Bit of CapEff in /proc/self/status, from <linux/capability.h>.
_CAP_SYS_ADMIN = 1 << 21
_PASSTHROUGH_LINUX = (6, 9)


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: what was looked at, how it is, and what to do about it ("" where nothing is)."""

    what: str
    state: State
    found: str
    remedy: str = ""


@click.command()
@config_option
@json_option
def doctor(config_file: Path | None, as_json: bool) -> None:
    """Check that this system has what mediapool needs, and what would make it faster.

    \b
    Example:
      mediapool doctor
    """
    findings = list(examine(load(config_file)))
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        print_table(("Check", "State", "Found"), [(one.what, _MARKS[one.state], one.found) for one in findings])
        for one in findings:
            if one.remedy:
                say(f"! {one.what}: {one.remedy}")
    if any(one.state == "problem" for one in findings):
        raise SystemExit(Exit.FAILED)


def examine(config: Config) -> Iterator[Finding]:
    """All checks, in the order in which they should be made good."""
    if sys.platform == "win32":
        yield from (Finding(*one) for one in windows_findings(config))
        return
    yield _device()
    yield _library()
    yield _helper()
    yield _others(config)
    yield _mount(config)
    yield _passthrough(config)


def _device() -> Finding:
    device = "/dev/fuse"
    if not os.path.exists(device):
        return Finding(device, "problem", "missing", "load the kernel module fuse, or give the container that device")
    if not os.access(device, os.R_OK | os.W_OK):
        return Finding(device, "problem", "this user may not open it", "as root: chmod 666 /dev/fuse, or mount as root")
    return Finding(device, "ok", "may be opened")


def _library() -> Finding:
    found = libfuse.chosen()
    if not found:
        return Finding("libfuse", "problem", "no libfuse 3", "Debian and Ubuntu: apt install fuse3")
    where = str(libfuse.built()) if libfuse.built().exists() else "the system's"
    return Finding("libfuse", "ok", f"{libfuse.in_words(found)}, {where}")


def _helper() -> Finding:
    if os.geteuid() == 0 or shutil.which("fusermount3"):
        return Finding("fusermount3", "ok", "not needed by root" if os.geteuid() == 0 else "found")
    return Finding("fusermount3", "problem", "missing", "only root can mount without it: apt install fuse3")


def _others(config: Config) -> Finding:
    what = "other users"
    if not config.mount.allow_other:
        remedy = "a media server under another user sees nothing: set [mount] allow_other = true"
        return Finding(what, "note", "only the user who mounts may look in", remedy)
    if os.geteuid() != 0 and not _allows_others():
        return Finding(
            what, "problem", f"{_FUSE_CONF} does not allow it", f"add the line user_allow_other to {_FUSE_CONF}"
        )
    return Finding(what, "ok", "may look in, as far as permissions say")


def _allows_others() -> bool:
    try:
        return "user_allow_other" in _FUSE_CONF.read_text().split("\n")
    except OSError:
        return False


def _mount(config: Config) -> Finding:
    path = config.mount.path
    state = vfs.mount.state(path)
    if state == "stale":
        return Finding("mount", "problem", f"{path}: its process is gone", "mediapool unmount, then mediapool mount")
    if state == "foreign":
        return Finding("mount", "problem", f"{path}: another filesystem is there", "choose another [mount] path")
    return Finding("mount", "ok", f"{path}: {'mounted' if state == 'mounted' else 'not mounted now'}")


def _passthrough(config: Config) -> Finding:
    """As the running mount says it; else as far as can be told from outside."""
    answer = ask(config, "/api/status")
    refusal = _foreseen(config) if answer is None else answer["passthrough"]["why"]
    if refusal:
        remedy = "" if config.mount.passthrough == "off" else "local files are read through mediapool, which is slower"
        return Finding("passthrough", "note", refusal, remedy)
    return Finding("passthrough", "ok", "the kernel reads local files by itself")


def _foreseen(config: Config) -> str:
    """Why the next mount will have no passthrough; "" if it will."""
    if config.mount.passthrough == "off":
        return "turned off by [mount] passthrough"
    linux = tuple(int(part) for part in platform.release().split("-")[0].split(".")[:2])
    if linux < _PASSTHROUGH_LINUX:
        return f"it needs Linux 6.9, and this is {platform.release()}"
    found = libfuse.chosen()
    if found < libfuse.PASSTHROUGH_SINCE:
        return f"it needs libfuse 3.17, and this is {libfuse.in_words(found)}: scripts/libfuse builds a newer one"
    return "" if _is_admin() else "it needs root (CAP_SYS_ADMIN)"


def _is_admin() -> bool:
    with open("/proc/self/status", encoding="ascii", errors="replace") as status:
        effective = next(line.split()[1] for line in status if line.startswith("CapEff:"))
    return bool(int(effective, 16) & _CAP_SYS_ADMIN)


commands = [doctor]
