"""How a benchmark ends: with its figures, at Ctrl-C or a signal, or because something cannot be measured."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from contenders import CannotStart
from workloads import WrongResult


def ended(run: Callable[[], int]) -> int:
    """The exit code of `run`, which cleans up after itself; 130 if it was interrupted, 1 if it says what is wrong."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    # A runner in the background may have it ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return run()
    except KeyboardInterrupt:
        print("interrupted; everything is unmounted and removed", file=sys.stderr)
        return 130
    except (CannotStart, WrongResult, OSError, subprocess.SubprocessError) as problem:
        print(problem, file=sys.stderr)
        return 1


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


@contextmanager
def undisturbed_end() -> Iterator[None]:
    """Whatever happens in the block: nothing interrupts the cleaning up that follows it."""
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
