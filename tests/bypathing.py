"""The drives by path, as on Windows, under tests that run on Linux."""

import os
import sys
from types import ModuleType

import pytest

from placement import beneath, bypath, winfile
from vfs import syscalls

_PACKAGES = ("placement.", "vfs.", "indexer.", "cli.")


def work_by_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on work on drives as `placement.bypath` does it, without the calls that only Linux has."""
    like_windows = ModuleType("os")
    vars(like_windows).update(vars(os))
    for name, value in vars(bypath).items():
        # What it defines itself, and not what it imports.
        if getattr(value, "__module__", None) == bypath.__name__ and not name.startswith("_"):
            setattr(like_windows, name, value)
    for name, module in list(sys.modules.items()):
        if name.startswith(_PACKAGES) and vars(module).get("os") is os and module not in (bypath, winfile):
            monkeypatch.setattr(module, "os", like_windows)
    monkeypatch.setattr(beneath, "_BY_PATH", True)
    monkeypatch.setattr(beneath, "resolver", lambda: beneath.walk)
    for module, names in ((beneath, ("_renameat2", "_statx")), (syscalls, ("_fallocate", "_utimensat"))):
        for name in names:
            monkeypatch.setattr(module, name, None)
