"""What Windows cannot do, said before a command begins."""

import sys

from vfs.mountpoint import PYTHON_OF_WINDOWS, wrong_python

# They work on the disks of Linux and in its words, or run a mount of their own there.
_LINUX_ONLY = frozenset(("archive", "demo", "distribute", "index", "ingest", "layout"))


def refusal(command: str, system: str = sys.platform, python: tuple[int, int] = sys.version_info[:2]) -> str:
    """Why this command cannot be used on this system; "" if it can."""
    if system != "win32":
        return ""
    if python != PYTHON_OF_WINDOWS:
        return wrong_python(python)
    return f"`mediapool {command}` works on Linux only, so far." if command in _LINUX_ONLY else ""
