"""The real command, in forks of a process that has imported all of it already.

A start of Python with everything that a mount imports takes a second of processor time, and the tests start a
thousand mounts. A fork runs the same `cli.main.main` in a process of its own, with its own arguments, environment,
session and standard streams, and ends as Python ends; only the imports are spared. What else there is to a start is
tested by those who start `python -m cli` themselves (test_wheel, test_demo, test_mounting, test_commands).
"""

import atexit
import gc
import importlib
import json
import os
import pkgutil
import random
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, Protocol

ROOT = Path(__file__).parent.parent
_TESTS = str(ROOT / "tests")
_LONGEST = 1 << 20  # bytes of a request


class Process(Protocol):
    """What tests use of a process, as `subprocess.Popen` has it."""

    pid: int

    @property
    def returncode(self) -> Any: ...
    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def send_signal(self, sig: int) -> None: ...
    def kill(self) -> None: ...


class Forked:
    """`python -m cli ARGUMENTS` in a session of its own, with `text` to read, its output into these descriptors."""

    def __init__(
        self, arguments: Sequence[str], environment: Mapping[str, str], output: int, errors: int, text: str = ""
    ) -> None:
        self.args = arguments
        self.returncode: int | None = None
        self._lock = threading.Lock()
        self._line = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._line.connect(_server.address())
        request = json.dumps([list(arguments), dict(environment)]).encode()
        with open(os.memfd_create("stdin"), "w+") as given:
            given.write(text)
            given.seek(0)
            socket.send_fds(self._line, [request], [given.fileno(), output, errors])
        self.pid = int(self._line.recv(64))

    def poll(self) -> int | None:
        return self._ended(0)

    def wait(self, timeout: float | None = None) -> int:
        code = self._ended(timeout)
        if code is None:
            assert timeout is not None
            raise subprocess.TimeoutExpired(list(self.args), timeout)
        return code

    def _ended(self, timeout: float | None) -> int | None:
        with self._lock:
            if self.returncode is None and select.select([self._line], [], [], timeout)[0]:
                self.returncode = int(self._line.recv(64))
                # Only now it may go, with its number; the end of the line says that it has.
                self._line.send(b"gone")
                self._line.recv(64)
                self._line.close()
            return self.returncode

    def send_signal(self, sig: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, sig)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def __del__(self) -> None:
        self._line.close()


def run(
    arguments: Sequence[str], environment: Mapping[str, str], seconds: float, text: str = ""
) -> subprocess.CompletedProcess[str]:
    """As subprocess.run of `python -m cli ARGUMENTS` with this input, its output captured."""
    outputs = ["", ""]
    ends = [os.pipe(), os.pipe()]
    process = Forked(arguments, environment, ends[0][1], ends[1][1], text)

    def read(index: int) -> None:
        with open(ends[index][0], encoding="utf-8", errors="surrogateescape") as pipe:
            outputs[index] = pipe.read()

    readers = [threading.Thread(target=read, args=(index,)) for index in (0, 1)]
    for (_, end), reader in zip(ends, readers, strict=True):
        os.close(end)
        reader.start()
    try:
        process.wait(seconds)
    finally:
        process.kill()
        for reader in readers:
            reader.join()
    return subprocess.CompletedProcess(list(arguments), process.wait(), *outputs)


class _Server:
    """The process that forks, started when it is first needed, ended with this one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._address = ""

    def address(self) -> str:
        with self._lock:
            if not self._address:
                self._start()
            return self._address

    def _start(self) -> None:
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        listening.bind("")  # a name of the kernel's choice, which is in no folder
        listening.listen(64)
        ours, its = socket.socketpair()
        program = f"import sys; sys.path.append({_TESTS!r}); import forking; forking.main()"
        process = subprocess.Popen(
            [sys.executable, "-c", program, str(listening.fileno()), str(its.fileno())],
            cwd=ROOT, env={**os.environ, "PYTHONWARNINGS": "default"}, start_new_session=True,
            pass_fds=(listening.fileno(), its.fileno()),
        )  # fmt: skip
        its.close()
        self._address = listening.getsockname()
        listening.close()

        def end() -> None:
            ours.close()
            process.wait()

        atexit.register(end)


_server = _Server()


def main() -> None:
    """Serve forks until the line to the tests ends; in a fork, be the command."""
    import cli
    import vfs.fuse

    assert vfs.fuse
    for module in pkgutil.iter_modules(cli.__path__):
        if module.name != "__main__":
            importlib.import_module(f"cli.{module.name}")
    gc.collect()
    gc.freeze()
    wanted = _serve(int(sys.argv[1]), int(sys.argv[2]))
    if wanted is not None:
        _become(*wanted)


def _serve(listening: int, tests: int) -> tuple[list[str], dict[str, str]] | None:
    """The request, in a fork; None in the process that forks, when the tests have ended."""
    listener = socket.socket(fileno=listening)
    poll = select.epoll()
    poll.register(listener, select.EPOLLIN)
    poll.register(tests, select.EPOLLIN)
    children: dict[int, _Child] = {}  # by the descriptors that tell of them
    while True:
        for fd, _ in poll.poll():
            if fd == tests:
                return None
            if fd in children:
                child = children.pop(fd)
                poll.unregister(fd)
                if fd == child.pidfd:
                    child.tell()
                    children[child.line.fileno()] = child
                    poll.register(child.line, select.EPOLLIN)
                else:
                    child.reap()
                continue
            line, _address = listener.accept()
            request, fds, _, _ = socket.recv_fds(line, _LONGEST, 3)
            pid = os.fork()
            if not pid:
                for number, each in enumerate(fds):
                    os.dup2(each, number)
                os.closerange(3, os.sysconf("SC_OPEN_MAX"))
                # Their numbers are others' from now on.
                for closed in (line, listener, *(child.line for child in children.values())):
                    closed.detach()
                arguments, environment = json.loads(request)
                return arguments, environment
            for each in fds:
                os.close(each)
            child = _Child(pid, os.pidfd_open(pid), line)
            line.send(str(pid).encode())
            children[child.pidfd] = child
            poll.register(child.pidfd, select.EPOLLIN)


class _Child(NamedTuple):
    """A fork, and the line to who asked for it."""

    pid: int
    pidfd: int
    line: socket.socket

    def tell(self) -> None:
        """Say how it ended."""
        found = os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED | os.WNOWAIT)
        assert found is not None
        code = found.si_status if found.si_code == os.CLD_EXITED else -found.si_status
        with suppress(OSError):
            self.line.send(str(code).encode())

    def reap(self) -> None:
        """Whoever waited for it has heard of its end: its number is free for others now."""
        with suppress(OSError):
            self.line.recv(64)
        os.waitpid(self.pid, 0)
        os.close(self.pidfd)
        self.line.close()


def _become(arguments: list[str], environment: dict[str, str]) -> None:
    """What a start of Python does with its surroundings, then the command."""
    os.setsid()
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = [str(ROOT / "cli" / "__main__.py"), *arguments]
    sys.path.remove(_TESTS)
    for name, number in (("stdin", 0), ("stdout", 1), ("stderr", 2)):
        old = getattr(sys, name)
        mode = "r" if name == "stdin" else "w"
        new = open(number, mode, encoding=old.encoding, errors=old.errors, closefd=False)  # noqa: SIM115
        setattr(sys, name, new)
        setattr(sys, f"__{name}__", new)
    sys.stderr.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    random.seed()
    # It reads the environment when it is imported.
    importlib.reload(importlib.import_module("vfs.crashpoints"))
    from cli.main import main as command

    command(prog_name="python -m cli")
