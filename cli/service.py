"""What a service tells systemd (`Type=notify`, sd_notify(3)): that the tree answers, that it still does, that it ends.

The protocol is one datagram to a socket that the environment names, so it is spoken here: the package that does only
this has had no release since 2017, and the bindings of libsystemd need a compiler and headers.
"""

import contextlib
import faulthandler
import logging
import os
import socket
import threading
from collections.abc import MutableMapping
from pathlib import Path

from vfs.mount import answers

log = logging.getLogger(__name__)

# Times within the watchdog's span that the tree is asked, so that one late answer is no failure.
_ASKS = 3


class Service:
    """The service manager that started this process, if one did; everything here does nothing otherwise.

    A context manager: at its end the manager hears that the service stops.
    """

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        """Takes what the manager says out of `environ`: it is not meant for the programs that we start."""
        self._address = environ.pop("NOTIFY_SOCKET", "")
        self._span = _span(environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", ""))
        self._ended = threading.Event()
        if self._span is not None:
            # A watchdog that bites ends us by SIGABRT: then all threads say where they stood.
            faulthandler.enable()

    def tell(self, *lines: str) -> None:
        """Send lines such as "STATUS=text"; whoever does not listen is no reason to fail."""
        if not self._address:
            return
        # An abstract socket, written with "@", has a zero byte in front.
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as speaker:
                speaker.sendto("\n".join(lines).encode(), address)
        except OSError as cause:
            log.warning("the service manager does not hear us: %s", cause)

    def ready(self, mount: Path, status: str) -> None:
        """The tree at `mount` answers: say so, and from now on each time that it still does."""
        self.tell("READY=1", f"STATUS={status}")
        if self._span is not None:
            threading.Thread(target=self._watch, args=(mount, self._span / _ASKS), name="watchdog", daemon=True).start()

    def _watch(self, mount: Path, pause: float) -> None:
        # A tree that hangs keeps this thread, so the manager hears nothing more; that is the deadline.
        while not self._ended.wait(pause):
            if answers(mount) and not self._ended.is_set():
                self.tell("WATCHDOG=1")

    def __enter__(self) -> "Service":
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.tell("STOPPING=1", "STATUS=unmounted; saving what is remembered")


def _span(microseconds: str, pid: str) -> float | None:
    """Seconds within which the manager wants to hear from this process; None if it does not."""
    if pid and pid != str(os.getpid()):
        return None
    with contextlib.suppress(ValueError):
        return int(microseconds) / 1e6 or None
    return None
