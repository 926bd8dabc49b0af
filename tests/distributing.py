"""What the tests of symlink distribution share: drives, sources, a library, a journal, and a look at all of it."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

from moving import described

from placement.distribute import Distribution, Report
from placement.distributions import Distributions
from placement.drive import Drive, DriveConfig
from placement.identity import FOLDER, initialise
from placement.library import Library
from placement.linkgroup import STAGING
from placement.rules import Placement
from placement.sources import Folder


class Bench:
    """Three drives, the sources "in" and "more", a library and a journal below a folder."""

    def __init__(self, base: Path, *, policy: str = "rand", capacities: Sequence[int | None] = (None,) * 3) -> None:
        self.base = base
        self.drives: list[Drive] = []
        for number, capacity in enumerate(capacities, 1):
            (base / f"d{number}").mkdir()
            initialise(base / f"d{number}", f"d{number}", number)
            config = DriveConfig(f"d{number}", str(base / f"d{number}"), min_free=0, capacity=capacity)
            self.drives.append(Drive.open(config))
        self.source, self.more, self.library = base / "in", base / "more", base / "library"
        for folder in (self.source, self.more, self.library):
            folder.mkdir()
        self.placement = Placement(lambda: self.drives, policy=policy, random=Random(1), min_free=0)

    def put(self, path: str, content: bytes = b"content", source: Path | None = None) -> Path:
        """Make a file in a source, as if long ago."""
        file = (source or self.source) / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        os.utime(file, ns=(10**18, 10**18))
        return file

    def work(self, do: Callable[[Distribution, list[Folder]], Any], **options: Any) -> Any:
        """Call with a distribution and its sources, as each run of the command makes them."""
        journal = Distributions(self.base / "distribute.db", durable=False)
        library = Library(str(self.library), lambda: self.drives)
        sources = [Folder(str(path)) for path in (self.source, self.more)]
        try:
            made = Distribution(self.placement, journal, library, **{"quiet": 0.0, **options})
            return do(made, sources)
        finally:
            for folder in sources:
                folder.close()
            library.close()
            journal.close()

    def run(self, **options: Any) -> Report:
        """What the command does: first what was interrupted, then a run."""

        def work(made: Distribution, sources: list[Folder]) -> Report:
            assert made.recover(sources) == []
            return made.run(sources)

        found: Report = self.work(work, **options)
        return found

    def recover(self, **options: Any) -> list[str]:
        waiting: list[str] = self.work(lambda made, sources: made.recover(sources), **options)
        return waiting

    def plan(self) -> Report:
        found: Report = self.work(lambda made, sources: made.plan(sources))
        return found

    def undo(self, job: int, **options: Any) -> Report:
        def work(made: Distribution, sources: list[Folder]) -> Report:
            made.recover(sources)
            return made.undo(job)

        found: Report = self.work(work, **options)
        return found

    def asked(self, ask: Callable[[Distributions], Any]) -> Any:
        journal = Distributions(self.base / "distribute.db", durable=False)
        try:
            return ask(journal)
        finally:
            journal.close()

    def files(self, root: Path) -> dict[str, tuple[Any, ...]]:
        """The files below a folder and all there is to say about each."""
        found = {str(path.relative_to(root)): path for path in root.rglob("*")}
        return {
            name: described(path)
            for name, path in found.items()
            if not path.is_dir() and not name.startswith(FOLDER + "/identity")
        }

    def on_drives(self) -> dict[str, tuple[Any, ...]]:
        """The files of all drives; each path on one of them."""
        found: dict[str, tuple[Any, ...]] = {}
        for drive in self.drives:
            for name, file in self.files(Path(drive.path)).items():
                assert name not in found, f"{name} lies on two drives"
                found[name] = file
        return found

    def assert_tidy(self) -> None:
        """Nothing temporary, nothing in the journal."""
        assert self.asked(lambda journal: (journal.pending(), journal.items("moving"))) == ([], [])
        for folder in [self.source, self.more, *(Path(drive.path) for drive in self.drives)]:
            assert not (folder / STAGING).exists() or os.listdir(folder / STAGING) == []
        assert list(self.library.rglob(".mediapool*")) == []

    def close(self) -> None:
        for drive in self.drives:
            drive.close()
