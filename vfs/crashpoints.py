"""Named places at which tests kill the process, to see that the next start makes good what was interrupted.

`MEDIAPOOL_CRASH_AT="after unlink 2"` kills at the second time that place is reached; without the variable a place
costs one look at a constant.
"""

import os
import signal
from collections import Counter

_WANTED = os.environ.get("MEDIAPOOL_CRASH_AT", "")
_reached: Counter[str] = Counter()


def reach(place: str) -> None:
    """Die here if that is wanted; no clean-up runs, as in a power cut of this process."""
    if not _WANTED:
        return
    _reached[place] += 1
    if _WANTED in (place, f"{place} {_reached[place]}"):
        os.kill(os.getpid(), signal.SIGKILL)
