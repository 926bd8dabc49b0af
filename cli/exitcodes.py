"""What the exit code of a command means; docs/using.md lists the same."""

from enum import IntEnum


class Exit(IntEnum):
    """The exit codes of every command."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_MOUNTED = 3
    PROVIDER = 4
