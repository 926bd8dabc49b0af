"""Ending by `kill` or a closed terminal as by Ctrl-C: through KeyboardInterrupt, so that everything is taken away."""

import signal
import sys


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def interrupt_on_termination() -> None:
    """From now on SIGTERM and SIGHUP, on Windows Ctrl-Break, raise KeyboardInterrupt in the main thread."""
    if sys.platform == "win32":
        other = signal.SIGBREAK  # how services are told to end
    else:
        other = signal.SIGHUP
    for number in (signal.SIGTERM, other):
        signal.signal(number, _interrupt)
