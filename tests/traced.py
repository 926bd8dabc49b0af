"""What the mount asks of the kernel, in order: `strace` of the real process, cut into the requests it answers.

A request is what one thread does between reading it from /dev/fuse and writing the reply, so within it the order of
lines is the order in time. Where strace cannot be used this fails, and does not skip: order is a promise.
"""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

CALLS = "read,writev,pwrite64,fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat,rmdir"
# Numbers of the kernel's fuse.h.
OPCODES = {6: "symlink", 10: "unlink", 11: "rmdir", 12: "rename", 13: "link", 20: "fsync", 30: "fsyncdir", 45: "rename"}

_LINE = re.compile(r"(\d+) +(.*)")
_CALL = re.compile(r"(\w+)\((.*)\)\s+= (-?\d+)", re.DOTALL)
_RESUMED = re.compile(r"<\.\.\. \w+ resumed>(.*)")
_BYTES = re.compile(r"(?:\\x[0-9a-f]{2})+")
_FOLDER = re.compile(r"\d+<([^>]*)>")
_TEXT = re.compile(r'"([^"]*)"')


class Call(NamedTuple):
    """One system call: its name, the paths behind its descriptors, and its texts."""

    name: str
    paths: list[str]
    texts: list[str]

    def on(self, file: str) -> bool:
        """Whether it works on an open file of this name."""
        return bool(self.paths) and self.paths[0].rpartition("/")[2] == file


class Request(NamedTuple):
    """One request of the kernel, and the calls made for it before it was answered."""

    kind: str
    calls: list[Call]


def tracing(output: Path) -> tuple[str, ...]:
    """The command under which the mount runs; it stays the child of who started it."""
    assert shutil.which("strace"), "strace is needed: scripts/system-packages test"
    options = ("-D", "-f", "-y", "-xx", "-s", "48", "--seccomp-bpf", "-e", "signal=none", "-e", f"trace={CALLS}")
    return ("strace", *options, "-o", str(output))


def requests(output: Path) -> list[Request]:
    """All requests that were answered, in the order of their replies."""
    reading: dict[str, Request] = {}
    found = []
    for thread, call in _calls(output):
        if call.on("fuse") and call.name == "read":
            reading[thread] = Request(_kind(call), [])
        elif call.on("fuse") and call.name == "writev" and thread in reading:
            found.append(reading.pop(thread))
        elif thread in reading:
            reading[thread].calls.append(call)
    assert found, f"nothing was traced:\n{output.read_text()[-2000:]}"
    return found


def _kind(call: Call) -> str:
    header = call.texts[0].encode("latin1") if call.texts else b""
    return OPCODES.get(int.from_bytes(header[4:8], "little"), "other")


def _calls(output: Path) -> Iterator[tuple[str, Call]]:
    begun: dict[str, str] = {}
    for line in output.read_text(errors="surrogateescape").splitlines():
        found = _LINE.match(line)
        if not found:
            continue
        thread, text = found.groups()
        if text.endswith("<unfinished ...>"):
            begun[thread] = text.removesuffix("<unfinished ...>")
            continue
        resumed = _RESUMED.match(text)
        call = _CALL.match(begun.pop(thread, "") + resumed[1] if resumed else text)
        if call and int(call[3]) >= 0:
            texts = [_decoded(one) for one in _TEXT.findall(call[2])]
            yield thread, Call(call[1], [_decoded(one) for one in _FOLDER.findall(call[2])], texts)


def _decoded(text: str) -> str:
    return _BYTES.sub(lambda found: bytes.fromhex(found[0].replace("\\x", "")).decode("latin1"), text)
