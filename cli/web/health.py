"""`/healthz`: whether the tree can be read, found out by reading a byte of it.

The byte is read by another program, so a tree that hangs holds no thread of the daemon. There is one such program at
most: as long as it hangs every further question is answered at once, and an answer counts for some seconds.
"""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from flask import Blueprint, Response

from cli.web import onebyte
from cli.web.guard import text

DEADLINE = 5.0  # seconds
_HOLDS = 2.0  # seconds for which an answer is given again


class Health:
    """Thread-safe. `_lock` is held while a byte is read, so those who ask meanwhile get the same answer."""

    def __init__(self, mount: Path, drives: Callable[[], Sequence[str]], deadline: float = DEADLINE) -> None:
        """`drives`: the roots of those that are there."""
        self._mount, self._drives, self._deadline = mount, drives, deadline
        self._lock = threading.Lock()
        self._reader: subprocess.Popen[bytes] | None = None
        self._answer, self._until = "", 0.0

    def problem(self) -> str:
        """Why the tree cannot be read; "" if it can. Answers within the deadline, and a little."""
        # While somebody looks whether a tree that did not answer does again, all others hear that it did not.
        if not self._lock.acquire(timeout=0 if self._answer else self._deadline):
            return self._answer or self._silent()
        try:
            if time.monotonic() >= self._until:
                self._answer = self._look()
                self._until = time.monotonic() + _HOLDS
            return self._answer
        finally:
            self._lock.release()

    def _silent(self) -> str:
        return f"the tree does not answer within {self._deadline:g} s"

    def _look(self) -> str:
        if self._reader is None:
            # Not kept in the group of the daemon's signals, and no files of ours open in it.
            self._reader = subprocess.Popen(
                [sys.executable, "-I", "-S", onebyte.__file__, str(self._mount), *self._drives()],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        elif self._reader.poll() is None:
            return self._silent()  # it hangs since an earlier question
        try:
            said, _ = self._reader.communicate(timeout=self._deadline)
        except subprocess.TimeoutExpired:
            self._reader.kill()  # it ends when the tree answers, or with it
            return self._silent()
        code, self._reader = self._reader.returncode, None
        if code < 0:
            return self._look()  # it was killed for hanging, and the tree has let it go: look anew
        return "" if code == 0 else said.decode(errors="replace").strip() or "the tree could not be looked at"

    def close(self) -> None:
        """Leave nothing behind that can be ended."""
        if self._reader is not None:
            self._reader.kill()
            with suppress(subprocess.TimeoutExpired):
                self._reader.communicate(timeout=1)

    def blueprint(self) -> Blueprint:
        """The route; anybody may ask, and learns nothing else."""
        made = Blueprint("health", __name__)

        @made.get("/healthz")
        def healthz() -> Response:
            problem = self.problem()
            answer = text(problem or "ok", 503 if problem else 200)
            answer.headers["Cache-Control"] = "no-store"
            return answer

        return made
