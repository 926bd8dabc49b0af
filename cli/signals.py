"""Ending by `kill` or a closed terminal as by Ctrl-C: through KeyboardInterrupt, so that everything is taken away."""

import signal


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def interrupt_on_termination() -> None:
    """From now on SIGTERM and SIGHUP raise KeyboardInterrupt in the main thread."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
