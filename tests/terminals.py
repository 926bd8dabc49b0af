"""Commands run one after the other on a real terminal, or into pipes, by one process of their own.

`on_terminal` and `in_pipes` start this file as a program: rich asks the descriptors 0 to 2 for the width, which in the
process of the tests are no terminal.
"""

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent
_END = "\x1e"
# What programs of the tests' own surroundings may have set.
_UNSET = ("COLUMNS", "LINES", "FORCE_COLOR", "TTY_COMPATIBLE", "NO_COLOR")

Commands = Sequence[Sequence[str]]
Said = list[tuple[int, str]]  # exit code and output of each command


def on_terminal(commands: Commands, columns: int = 80, **environment: str) -> Said:
    """What a terminal of so many columns shows of each command."""
    reader, writer = pty.openpty()
    fcntl.ioctl(writer, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    process = _started(commands, environment, stdin=writer, stdout=writer, stderr=writer, start_new_session=True)
    os.close(writer)
    seen = b""
    try:
        while piece := os.read(reader, 1 << 16):
            seen += piece
    except OSError:  # EIO: the other side is closed
        pass
    finally:
        os.close(reader)
    assert process.wait(60) == 0, seen.decode()
    return _parted(seen.decode().replace("\r\n", "\n"))


def in_pipes(commands: Commands, **environment: str) -> tuple[Said, str]:
    """What comes out of pipes: of each command what it prints, and all that stands on the standard error."""
    process = _started(commands, environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = process.communicate(timeout=100)
    assert process.returncode == 0, err.decode()
    return _parted(out.decode()), err.decode()


def _started(commands: Commands, environment: Mapping[str, str], **streams: object) -> "subprocess.Popen[bytes]":
    inherited = {name: value for name, value in os.environ.items() if name not in _UNSET}
    return subprocess.Popen(
        [sys.executable, __file__, json.dumps(list(map(list, commands)))], cwd=ROOT,
        env={**inherited, "TERM": "xterm-256color", "PYTHONPATH": str(ROOT), **environment}, **streams,  # type: ignore[call-overload]
    )  # fmt: skip


def _parted(text: str) -> Said:
    parts = re.split(rf"{_END}(-?\d+)\n", text)
    return [(int(code), said) for said, code in zip(parts[0::2], parts[1::2], strict=False)]


def plain(text: str) -> str:
    """What is left of a terminal's text without colours, and without what was written over."""
    text = re.sub(r"\x1b\[(?:[0-9;]*m|\?25[hl])", "", text)
    return "\n".join(re.split(r"\r(?:\x1b\[1A)?\x1b\[2?K", line)[-1] for line in text.split("\n"))


def run(commands: Commands) -> None:
    from cli.main import main

    for words in commands:
        try:
            main(list(words), prog_name="mediapool")
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        sys.stderr.flush()
        print(f"{_END}{code}", flush=True)


if __name__ == "__main__":
    run(json.loads(sys.argv[1]))
