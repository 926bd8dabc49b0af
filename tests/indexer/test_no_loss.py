"""Ingest, sort, undo and crawl in any order, each killed anywhere: no content is ever lost, and nothing overwritten."""

import os
import shutil
import signal
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from settling import content_of

from indexer.contents import Contents
from indexer.crawling import Crawler
from indexer.duplicates import Search
from indexer.finding import TEMPORARY, find, roots
from indexer.ingest import Ingest
from indexer.moving import Mover
from indexer.runs import Kind, Run, list_runs
from indexer.sort import carry_out, plan
from indexer.undoing import sweep, undo

# Children do nothing but one command, so threads of other tests do not matter to them.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")

OnStep = Callable[[str], None]
FOLDERS = st.sampled_from(["card", "card/DCIM", "master", "dump", "dump/deep", "far"])
NAMES = st.sampled_from(["IMG_20240531_235959.jpg", "IMG_20240531_235959.xmp", "b.jpg", "b.jpg.xmp", "c\n\udcff.mov"])
CONTENTS = st.sampled_from(["", "1", "2", "333", "long"])
# At which step the process is killed; None: not at all.
KILLS = st.one_of(st.none(), st.integers(1, 8))


class Files(RuleBasedStateMachine):
    """`far` and what is moved to it lie on another filesystem."""

    def __init__(self) -> None:
        super().__init__()
        self.base = Path(tempfile.mkdtemp())
        self.far = Path(tempfile.mkdtemp(dir="/dev/shm"))
        self.trees = {name: self.base / name for name in ("card", "master", "dump")} | {"far": self.far / "far"}
        for tree in self.trees.values():
            tree.mkdir()
        self.runs = self.base / "state/runs"
        self.runs.mkdir(parents=True)
        self.put: Counter[bytes] = Counter()
        # Something to do from the first step on.
        for folder, name, content in (("card", "b.jpg", "1"), ("far", "b.jpg", "2"), ("dump", "b.jpg", "2")):
            self.write_file(folder, name, content)

    def teardown(self) -> None:
        shutil.rmtree(self.base)
        shutil.rmtree(self.far)

    def there(self) -> list[bytes]:
        """The content of every file in the trees, whole ones."""
        found = [*content_of(self.base).items(), *content_of(self.far).items()]
        return [
            content
            for path, content in found
            if not path.startswith("state/") and not os.path.basename(path).startswith(os.fsdecode(TEMPORARY))
        ]

    def child(self, kill: int | None, work: Callable[[OnStep], None]) -> None:
        """Do it in a process of its own, killed at its `kill`th step."""
        steps = [0]

        def on_step(_name: str) -> None:
            steps[0] += 1
            if steps[0] == kill:
                os.kill(os.getpid(), signal.SIGKILL)

        child = os.fork()
        if not child:
            code = 1
            try:
                work(on_step)
                code = 0
            finally:
                os._exit(code)
        status = os.waitpid(child, 0)[1]
        assert status == 0 or (kill and os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL)

    def moving(self, kind: Kind, on_step: OnStep, work: Callable[[Mover], object]) -> None:
        sweep(self.runs)
        with Run.begin(self.runs, kind, b"/") as run, closing(Mover(run, on_step)) as mover:
            work(mover)

    def contents(self) -> Contents:
        return Contents(self.base / "state/contents.db")

    @rule(files=st.lists(st.tuples(FOLDERS, NAMES, CONTENTS), min_size=1, max_size=3))
    def write(self, files: list[tuple[str, str, str]]) -> None:
        for folder, name, content in files:
            self.write_file(folder, name, content)

    def write_file(self, folder: str, name: str, text: str) -> None:
        # Some too long to be read in one piece.
        content = b"4" * 200_000 if text == "long" else text.encode()
        head, _, rest = folder.partition("/")
        path = self.trees[head] / rest / name
        if not os.path.lexists(path):
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
            os.utime(path, ns=(10**18, 10**18))
            self.put[content] += 1

    @rule(kill=KILLS, far=st.booleans())
    def ingest(self, kill: int | None, far: bool) -> None:
        to = os.fsencode((self.far if far else self.base) / "photos")

        def work(on_step: OnStep) -> None:
            with self.contents() as contents:
                one = Ingest(to, os.fsencode(self.base / "known"), contents, settle=0.0)
                there = find([to]).files if os.path.isdir(to) else []
                items, _ = one.plan(find(roots([self.trees["card"]])).files, there)
                self.moving("ingest", on_step, lambda mover: one.carry_out(items, mover))

        self.child(kill, work)

    @rule(kill=KILLS, far=st.booleans())
    def sort(self, kill: int | None, far: bool) -> None:
        to = os.fsencode((self.far if far else self.base) / "aside")
        masters, trees = roots([self.trees["master"]]), roots([self.trees["dump"], self.trees["far"]])

        def work(on_step: OnStep) -> None:
            with self.contents() as contents:
                found = find([*masters, *trees])
                result = Search(contents, [*masters, *trees]).run(found.files)
                aside = plan(result.groups, found.files, masters, trees, to)
                self.moving("sort", on_step, lambda mover: carry_out(aside, mover))

        before = content_of(self.trees["master"])
        self.child(kill, work)
        assert content_of(self.trees["master"]) == before

    @rule(kill=KILLS, which=st.integers(0, 5))
    def undo(self, kill: int | None, which: int) -> None:
        known = list_runs(self.runs)
        if known:
            self.child(kill, lambda on_step: undo(self.runs, known[which % len(known)].id, on_step=on_step) and None)

    @rule()
    def crawl(self) -> None:
        def work(_on_step: OnStep) -> None:
            with self.contents() as contents:
                Crawler(contents).run(roots([self.trees["master"], self.trees["dump"]]))

        self.child(None, work)

    @invariant()
    def nothing_is_lost(self) -> None:
        """Nor made: but for a copy of which the source could not be removed before a kill."""
        assert not (self.put - Counter(self.there()))
        assert set(self.there()) == set(self.put)


TestNothingIsLost = Files.TestCase
TestNothingIsLost.settings = settings(max_examples=15, stateful_step_count=14, deadline=None)
