"""All checks at once, none longer than it may take: what they are about may be what does not answer."""

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from cli.doctoring.finding import Case, Check, Finding


@dataclass(slots=True)
class Work:
    """A check under way. `group` and `name` are for people."""

    group: str
    name: str
    check: Check
    found: list[Finding] = field(default_factory=list)
    error: BaseException | None = None
    done: threading.Event = field(default_factory=threading.Event)


def examine(
    case: Case, checks: Iterable[tuple[str, str, Check]], seconds: float, waiting: Callable[[str], None]
) -> list[tuple[str, Finding]]:
    """What (group, name, check) find, with their groups and in their order.

    A check that takes longer than `seconds` is left alone, and that is its finding. `waiting` is told for which one
    is waited.
    """
    works = [Work(*one) for one in checks]
    until = time.monotonic() + seconds
    for work in works:
        # Daemons: what a dead disk holds up must not hold up the end of the command.
        threading.Thread(target=_look, args=(work, case), name=f"check {work.name}", daemon=True).start()
    found = []
    for work in works:
        waiting(work.name)
        left = max(0.0, until - time.monotonic())
        found += [(work.group, one) for one in _result(work, left, seconds, case.command("doctor"))]
    return found


def _look(work: Work, case: Case) -> None:
    try:
        work.found = list(work.check(case))
    except BaseException as error:
        work.error = error
    finally:
        work.done.set()


def _result(work: Work, left: float, seconds: float, again: str) -> list[Finding]:
    """What it found; or that it found nothing within the seconds `left` of all, or was not allowed to look."""
    if not work.done.wait(left):
        remedy = "what it looks at does not answer: see the kernel's log"
        return [Finding(work.name, "problem", f"no answer within {seconds:g} s", remedy, "dmesg | tail -n 30")]
    if isinstance(work.error, OSError):
        cause = work.error.strerror or type(work.error).__name__
        about = f" ({work.error.filename})" if work.error.filename else ""
        remedy = "look again as root, who may look everywhere"
        return [Finding(work.name, "note", f"cannot be looked at: {cause}{about}", remedy, f"sudo {again}")]
    if work.error is not None:
        raise work.error
    return work.found
