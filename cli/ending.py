"""How a mount is made and ended on this system, as far as the two systems differ in it."""

import sys
import threading
from typing import Any

from cli.config import MountConfig
from cli.routes import Post
from vfs import winmount
from vfs.attr import Caller

UNMOUNT = "/api/unmount"


def mount_options(mount: MountConfig, ending: threading.Event, system: str = sys.platform) -> Any:
    """What `vfs.mount.run` wants to know; `ending` is set where only the process itself can end a mount."""
    if system == "win32":
        owner = Caller(mount.uid, mount.gid)
        return winmount.Options(owner, mount.umask, mount.cache_seconds, mount.allow_other, ending)
    from vfs.fuse import Options

    return Options(mount.allow_other, mount.cache_seconds, mount.passthrough == "auto")


def ending_posts(ending: threading.Event, system: str = sys.platform) -> dict[str, Post]:
    """The route that ends the mount; on Linux everybody has fusermount3 for that."""

    def end(_body: object) -> dict[str, bool]:
        ending.set()
        return {"ending": True}

    return {UNMOUNT: end} if system == "win32" else {}
