"""SIGKILL at a step of what the move engine does, in a process that does nothing else."""

import os
import signal
from collections.abc import Callable

Point = tuple[str, str]


def kill() -> None:
    """End this process as a crash would."""
    os.kill(os.getpid(), signal.SIGKILL)


def kill_at(point: Point) -> Callable[[str, str], None]:
    """For `on_step`: a crash before or after a step."""

    def hook(*now: str) -> None:
        if now == point:
            kill()

    return hook


def in_child(work: Callable[[], object]) -> bool:
    """Do it in another process; whether that was killed. It must not fail otherwise."""
    child = os.fork()
    if not child:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0
    return False
