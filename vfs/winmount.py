"""Mounting on Windows: a drive letter, or a folder that WinFsp makes; and what stands in the way of that.

Unmounting is asked of the process that has mounted, since WinFsp's volumes end with their process and nobody else can
end them.
"""

import logging
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from vfs.attr import Caller
from vfs.filesystem import FileSystem
from vfs.mountpoint import PYTHON_OF_WINDOWS, MountError, State, wrong_python

if TYPE_CHECKING:
    from vfs.winfsp import Session

log = logging.getLogger(__name__)

LABEL = "mediapool"
NO_WINFSP = (
    "WinFsp cannot be used ({cause}): install its newest release from https://winfsp.dev/rel/ or with 'choco install "
    "winfsp' or 'winget install WinFsp.WinFsp', and winfspy with 'pip install winfspy==0.8.4'"
)
_LETTER = re.compile(r"[A-Za-z]:\\?")
_SID = re.compile(r"S-1-[0-9-]+")
# Full access for the system and the administrators, and for whom else.
_RIGHTS = "O:BAG:BAD:P(A;;FA;;;SY)(A;;FA;;;BA)(A;;FA;;;{who})"
_EVERYBODY = "WD"
_POLL = 0.2  # seconds, in which Ctrl-C is heard


@dataclass(frozen=True, slots=True)
class Options:
    """How to mount: who owns what is made, the mode bits it lacks, how long Windows may keep attributes, who may look.

    `ending`: set by whoever wants the mount to end.
    """

    owner: Caller
    umask: int
    cache_seconds: float
    allow_other: bool
    ending: threading.Event = field(default_factory=threading.Event)


def check_python(found: tuple[int, int] = sys.version_info[:2]) -> None:
    """MountError on any Python but 3.11."""
    if found != PYTHON_OF_WINDOWS:
        raise MountError(wrong_python(found))


def root_of(path: Path) -> str:
    """The root folder of what is mounted at a letter or folder."""
    text = str(path)
    return text[:2] + "\\" if _LETTER.fullmatch(text) else text


def state(path: Path, label: "Callable[[str], str | None] | None" = None) -> State:
    """What stands at a mount point. A volume ends with its process, so none is ever stale.

    `label` tells the name of the volume whose root this is, None if it is none.
    """
    root = root_of(path)
    if not os.path.exists(root):
        return "bare" if _LETTER.fullmatch(str(path)) or path.parent.is_dir() else "absent"
    return "mounted" if (label or _label)(root) == LABEL else "foreign"


def _label(root: str) -> str | None:
    """The name of the volume whose root this is; None if it is no root."""
    if sys.platform != "win32":
        return None
    import ctypes

    name = ctypes.create_unicode_buffer(261)
    where = root if root.endswith("\\") else root + "\\"
    found = ctypes.windll.kernel32.GetVolumeInformationW(where, name, len(name), None, None, None, None, 0)
    return name.value if found else None


def prepare(path: Path) -> None:
    """MountError unless something can be mounted at `path`: a free letter, or a folder that is not there yet."""
    check_python()
    found = state(path)
    if found == "mounted":
        raise MountError(f"{path} is mounted already: run 'mediapool unmount' first")
    if found == "foreign":
        what = "letter" if _LETTER.fullmatch(str(path)) else "folder that does not exist yet, which WinFsp makes"
        raise MountError(f"{path} is there already: name another {what} in [mount] path")
    if found == "absent":
        raise MountError(f"the folder above {path} does not exist: make it, or name a letter such as 'X:'")


def run(filesystem: FileSystem, path: Path, options: Options, started: Callable[[], None]) -> None:
    """Mount, serve until `options.ending` or Ctrl-C, and close `filesystem`.

    `started` runs in a thread of its own once the tree answers. Raises MountError.
    """
    filesystem.passthrough.offer(None, "Windows knows no such thing")
    try:
        session = _session(filesystem, path, options)
        try:
            threading.Thread(target=started, name="mounted", daemon=True).start()
            _wait(options.ending)
        finally:
            session.stop()
    finally:
        filesystem.close()


def _session(filesystem: FileSystem, path: Path, options: Options) -> "Session":
    """A volume that is mounted."""
    # Late, since the import loads WinFsp's library: it says RuntimeError where that is missing.
    try:
        from vfs.winfsp import Refused, Session
    except (ImportError, RuntimeError, OSError) as cause:
        raise MountError(NO_WINFSP.format(cause=cause)) from cause
    try:
        session = Session(filesystem, _mountpoint(path), options, rights(options.allow_other))
        session.start()
    except (Refused, OSError) as cause:
        raise MountError(f"WinFsp could not mount at {path}: {cause}") from cause
    return session


def winfsp_folder() -> str:
    """Where WinFsp is; ImportError without winfspy, RuntimeError without WinFsp."""
    from winfspy.plumbing import get_winfsp_bin_dir

    return str(get_winfsp_bin_dir())


def _wait(ending: threading.Event) -> None:
    """Until the mount shall end; Ctrl-C and Ctrl-Break are heard between two looks."""
    try:
        while not ending.wait(_POLL):
            pass
    except KeyboardInterrupt:
        log.info("unmounting")


def _mountpoint(path: Path) -> str:
    """As WinFsp wants it: a letter without the root behind it."""
    text = str(path)
    return text[:2] if _LETTER.fullmatch(text) else text


def rights(everybody: bool, whoami: Callable[[], str] | None = None) -> str:
    """The security descriptor of all files, in SDDL: full access for everybody, or only for the user who mounts."""
    return _RIGHTS.format(who=_EVERYBODY if everybody else _own_sid(whoami or _whoami))


def _whoami() -> str:
    command = ["whoami", "/user", "/fo", "csv", "/nh"]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout


def _own_sid(whoami: Callable[[], str]) -> str:
    try:
        found = _SID.search(whoami())
    except (OSError, subprocess.SubprocessError) as cause:
        raise MountError(f"whoami does not say who mounts ({cause}): set [mount] allow_other = true") from cause
    if found is None:
        raise MountError("whoami does not say who mounts: set [mount] allow_other = true")
    return found[0]


def unmount(path: Path, force: bool = False) -> None:
    """Nobody but the process that has mounted can: MountError says how."""
    raise MountError(f"{path} ends with its process: run 'mediapool unmount', or end that process")
