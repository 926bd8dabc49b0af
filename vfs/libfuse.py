"""Which libfuse is used: the one built by `scripts/libfuse` for this environment, else the system's."""

import ctypes
import ctypes.util
import os
import sys
from pathlib import Path
from typing import Any

# From this version on libfuse can pass the kernel what it needs for passthrough.
PASSTHROUGH_SINCE = 317
_BUILT = "lib/mediapool/libfuse3.so"


def built() -> Path:
    """Where `scripts/libfuse` puts the library it builds; it need not exist."""
    return Path(sys.prefix, _BUILT)


def environment() -> dict[str, str]:
    """What tells mfusepy, before it is imported, which library to load; empty where the environment does already.

    Of itself it takes libfuse 2 where that is installed.
    """
    if "FUSE_LIBRARY_PATH" in os.environ or "FUSE_LIBRARY_NAME" in os.environ:
        return {}
    return {"FUSE_LIBRARY_PATH": str(built())} if built().exists() else {"FUSE_LIBRARY_NAME": "fuse3"}


def chosen() -> int:
    """The version of the library that a mount will load: 317 for 3.17; 0 if there is none."""
    name = str(built()) if built().exists() else ctypes.util.find_library("fuse3")
    try:
        return loaded(ctypes.CDLL(name)) if name else 0
    except OSError:
        return 0


def loaded(library: Any) -> int:
    """The version of a library that is loaded: 317 for 3.17."""
    return int(library.fuse_version())


def in_words(number: int) -> str:
    """3.17 for 317."""
    return f"{number // 100}.{number % 100}" if number else "none"
