"""What is remembered of a torrent that came to nothing, so that the next try is answered without asking. Pure."""

from debrid.downloads.record import Verdict

HOUR = 3600.0
# How long each kind is believed, in seconds. What people uncached today may be cached tomorrow; a broken file stays.
AGES = {
    "infringing": 7 * 24 * HOUR,
    "invalid": 7 * 24 * HOUR,
    "fake": 7 * 24 * HOUR,
    "dead": 24 * HOUR,
    "uncached": HOUR,
}


class Failed(Exception):
    """A download came to nothing, and will again: `kind` is one of AGES, the text is for people."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


def holds(verdict: Verdict | None, now: float, uncached: str) -> bool:
    """Whether a verdict still counts; one of "uncached" only for whom that is a reason (`uncached` is "refuse")."""
    if verdict is None or (verdict.kind == "uncached" and uncached != "refuse"):
        return False
    return now < verdict.at + AGES.get(verdict.kind, 0.0)
