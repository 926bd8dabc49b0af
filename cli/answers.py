"""What a running mount tells of itself, as plain values: to commands, the page and /metrics."""

from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from cli.pool import drive_status
from debrid.pruning import prune
from placement.drive import Drive

if TYPE_CHECKING:
    from cli.app import App


class Answers:
    """Of the mount that `app` is; sizes in bytes."""

    def __init__(self, app: "App") -> None:
        self._app = app

    def status(self) -> dict[str, Any]:
        """Everything `mediapool status` shows, as plain values; sizes in bytes."""
        app = self._app
        refusal = app.filesystem.passthrough.refusal
        return {
            "mount": str(app.config.mount.path),
            "passthrough": {"on": not refusal, "why": refusal},
            "requests": {"reads": app.filesystem.reads, "open": app.filesystem.open_count},
            "drives": [self._drive_status(drive) for drive in app.drives],
            "walking": app.knowledge.walking(),
            "remote": {
                "files": app.names.count(),
                "account": None if app.torrents is None else asdict(app.torrents.status()),
                "reads": None if app.library is None else asdict(app.library.status()),
                "repairs": {} if app.library is None else app.repairs.counts(),
                "calls": None if app.library is None else app.account.limits.state(),
            },
            "downloads": None if app.client is None else app.client.status(),
            "media_servers": app.announcers.status(),
            "copied": [str(each) for each in app.filesystem.copied.found],
            "pinned": {key: value for key, value in app.pinning.state().items() if key != "jobs"},
            "today": app.budget.status(),
            "cache": asdict(app.cache.stats()),
            "reader": asdict(app.reader.stats()),
        }

    def _drive_status(self, drive: Drive) -> dict[str, Any]:
        status = drive_status(drive, self._app.config.placement.min_free)
        return {**status, "uncertain": self._app.knowledge.uncertain(drive.number)}

    def listing(self) -> list[dict[str, Any]]:
        """Everything `mediapool debrid list` shows."""
        return [] if self._app.torrents is None else [asdict(entry) for entry in self._app.torrents.list()]

    def explain(self, paths: list[str], size: int | None) -> list[dict[str, Any]]:
        """What `mediapool explain` shows: what is at each path, and what each drive says to a new file there."""
        return [self._explained(path, size) for path in paths]

    def _explained(self, path: str, size: int | None) -> dict[str, Any]:
        about = None
        with suppress(FileNotFoundError):
            about = self._app.about.describe(path)
        verdicts = self._app.placement.explain(path, size)
        drives = [{"drive": one.drive.name, "rank": one.rank, "reason": one.reason} for one in verdicts]
        return {"path": path, "about": about, "rule": self._app.placement.describe(path), "drives": drives}

    def prune(self, hashes: list[str] | None, dry_run: bool) -> list[dict[str, Any]]:
        """What `mediapool debrid prune` does, as `debrid.pruning.prune`."""
        if self._app.torrents is None:
            return []
        return [asdict(entry) for entry in prune(self._app.store, self._app.publisher, hashes, dry_run=dry_run)]
