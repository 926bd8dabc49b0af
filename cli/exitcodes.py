"""What the exit code of a command means, and which commands end with which; docs/using.md lists the same."""

from enum import IntEnum


class Exit(IntEnum):
    """The exit codes of every command."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_MOUNTED = 3
    PROVIDER = 4


# In a few words, for the help of each command.
WORDS = {
    Exit.OK: "done",
    Exit.FAILED: "failed",
    Exit.USAGE: "wrong use or configuration",
    Exit.NOT_MOUNTED: "nothing is mounted",
    Exit.PROVIDER: "Real-Debrid refused",
}

# The commands that can end with these; each command can end with the others.
ENDS_WITH = {
    Exit.NOT_MOUNTED: (
        "cache clear", "cache status", "cache warm", "debrid add", "debrid check", "debrid prune", "debrid repair",
        "download", "explain", "index duplicates", "ingest", "jobs pause", "jobs resume", "jobs undo", "pin",
        "pool balance", "pool drain", "pool tier", "status", "unmount", "unpin",
    ),
    Exit.PROVIDER: ("debrid check", "debrid repair", "debrid status"),
}  # fmt: skip


def in_words(command: str) -> str:
    """The exit codes of a command, such as "pool drain", for people."""
    codes = [code for code in Exit if command in ENDS_WITH.get(code, (command,))]
    return "Exit codes: " + ", ".join(f"{code.value} {WORDS[code]}" for code in codes) + "."
