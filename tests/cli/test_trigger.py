"""`scripts/trigger.sh` as cron, Sonarr and Radarr start it, with the real command."""

import os
import subprocess
import sys
from pathlib import Path
from shlex import quote

import pytest
from mounting import ROOT, Mounted, wait_for

SCRIPT = ROOT / "scripts/trigger.sh"


class Triggered:
    """A pool, a source with a file, a library, and how the script is started."""

    def __init__(self, base: Path) -> None:
        self.pool = Mounted(base)
        self.source, self.library = base / "in", base / "library"
        for folder in (self.source, self.library, base / "bin"):
            folder.mkdir()
        (self.source / "a.mkv").write_text("content")
        program = base / "bin/mediapool"
        program.write_text(f'#!/bin/sh\nPYTHONPATH={quote(str(ROOT))} exec {quote(sys.executable)} -m cli "$@"\n')
        program.chmod(0o755)
        self.log = base / "log"
        self.environment = {
            "PATH": f"{base}/bin:{os.environ['PATH']}",
            "HOME": str(base),
            "MEDIAPOOL_SOURCES": str(self.source),
            "MEDIAPOOL_LIBRARY": str(self.library),
            "MEDIAPOOL_LOG": str(self.log),
            "MEDIAPOOL_WAIT": "0",
        }

    def run(self, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [SCRIPT, "--unchanged-for", "0s", "--config", self.pool.config]
        return subprocess.run(
            command, env={**self.environment, **environment}, capture_output=True, text=True, timeout=60
        )  # fmt: skip

    def is_distributed(self) -> bool:
        return (self.library / "a.mkv").is_symlink() and not (self.source / "a.mkv").exists()


@pytest.fixture
def triggered(tmp_path: Path) -> Triggered:
    return Triggered(tmp_path)


def test_a_timer_distributes_and_waits_for_it(triggered: Triggered) -> None:
    done = triggered.run()
    assert done.returncode == 0, done.stderr
    assert triggered.is_distributed() and (triggered.library / "a.mkv").read_text() == "content"


# Linux gives all names in lower case, other systems as they are documented.
@pytest.mark.parametrize(
    "variable", ["sonarr_eventtype=Download", "Radarr_EventType=Rename", "sonarr_eventtype=EpisodeFileDelete"]
)
def test_imports_renames_and_deletions_distribute_in_the_background(triggered: Triggered, variable: str) -> None:
    name, _, event = variable.partition("=")
    done = triggered.run(**{name: event, "sonarr_series_path": "/data/x"})
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    wait_for(triggered.is_distributed, "the distribution")
    wait_for(lambda: "Moved 1 file" in triggered.log.read_text(), "the end of it")


def test_the_test_of_the_settings_changes_nothing_and_finds_mistakes(triggered: Triggered) -> None:
    assert triggered.run(sonarr_eventtype="Test").returncode == 0
    assert (triggered.source / "a.mkv").exists()
    assert triggered.run(sonarr_eventtype="Test", MEDIAPOOL_LIBRARY="/nowhere").returncode == 2
    missing = triggered.run(radarr_eventtype="Test", MEDIAPOOL_SOURCES="")
    assert missing.returncode != 0 and "name the folders to distribute" in missing.stderr


@pytest.mark.parametrize("event", ["Grab", "HealthIssue", "ApplicationUpdate"])
def test_other_events_do_nothing(triggered: Triggered, event: str) -> None:
    done = triggered.run(sonarr_eventtype=event)
    assert done.returncode == 0 and (triggered.source / "a.mkv").exists() and not triggered.log.exists()
