"""A failed download is told once, and counts as told only when it is."""

from cli.reports import Reports


class Background:
    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.waiting: dict[str, str] = {}

    def failed(self, download_id: str, reason: str) -> None:
        self.asked.append((download_id, reason))
        self.waiting[download_id] = reason

    def pending(self) -> dict[str, str]:
        return dict(self.waiting)


def test_told_once_and_done_when_nothing_is_pending() -> None:
    background = Background()
    reports = Reports(background)
    assert not reports.failed("ab" * 20, "tv", "fake") and not reports.failed("ab" * 20, "tv", "fake")
    assert background.asked == [("AB" * 20, "fake")]
    background.waiting.clear()
    assert reports.failed("ab" * 20, "tv", "fake") and len(background.asked) == 1
    assert not reports.failed("ab" * 20, "tv", "again") and len(background.asked) == 2
