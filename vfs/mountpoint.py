"""What can be said of a mount point on every system."""

from typing import Literal

State = Literal["mounted", "stale", "foreign", "bare", "absent"]


class MountError(Exception):
    """A mount or unmount that cannot be done; the message names the path, the cause and the remedy."""


PYTHON_OF_WINDOWS = (3, 11)


def wrong_python(found: tuple[int, int]) -> str:
    """That on Windows no other version of Python will do, for people."""
    return (
        "mediapool on Windows needs Python 3.11 exactly, since winfspy has been built for no later one, and this is "
        f"{found[0]}.{found[1]}: install Python 3.11, and mediapool with it"
    )
