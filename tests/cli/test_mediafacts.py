"""What a mount tells of media facts: in words, at once, whatever the provider and the catalog are doing."""

import errno
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from mounting import wait_for
from remote_bytes import Source
from uniting import Pool

from cli.mediafacts import MediaFacts
from cli.mediawords import described, told
from indexer.contents import Contents
from indexer.mediatable import Probed
from vfs.about import About, MediaTold
from vfs.budget import DailyBudget
from vfs.cache import ChunkCache
from vfs.library import Key
from vfs.pins import Pins
from vfs.planting import Owner
from vfs.publish import Publisher
from vfs.reader import Reader
from vfs.remote import RemoteBranch
from vfs.warming import HEAD, Warmer, in_edges, tail_of

FILM: Key = ("torrent", "c0ffee", "1")
SIZE = 10 << 20
PATH = "torrents/complete/Show/film.mkv"
FACTS = {
    "container": "matroska,webm",
    "seconds": 7980.0,
    "video": [{"codec": "hevc", "width": 3840, "height": 2160, "hdr": "HDR10", "default": True}],
    "audio": [
        {"codec": "truehd", "channels": 8, "language": "eng"},
        {"codec": "ac3", "channels": 6, "language": "deu"},
        {"codec": "opus"},
    ],
    "subtitles": [{"codec": "subrip", "language": "eng"}] * 3
    + [{"codec": "subrip", "language": "deu", "forced": True}],
}


def test_facts_in_words() -> None:
    assert described(FACTS) == (
        "3840x2160 hevc HDR10, 2 h 13 min, sound eng (truehd 7.1), deu (ac3 5.1), opus, subtitles eng, deu (forced)"
    )
    assert described({"container": "flac", "seconds": 30.2, "audio": [{"codec": "flac", "channels": 2}]}) == (
        "30 s, sound flac stereo"
    )
    assert described({"subtitles": [{"language": f"l{number}"} for number in range(20)]}).endswith("l7, 12 more")
    assert described({}) == "" and described({"video": [{}], "audio": [{}]}) == "picture, sound unknown"


def test_what_is_not_known_in_words() -> None:
    assert told(None, True) == ""
    assert told({"state": "known", "facts": FACTS}, True) == described(FACTS)
    assert told({"state": "failed", "problem": "it is empty"}, True) == "not known: it is empty"
    assert "mediapool index crawl" in told({"state": "unknown"}, True)
    assert "index" not in told({"state": "unknown"}, False) and "not known yet" in told({"state": "waiting"}, False)


@pytest.mark.parametrize("length", [1, HEAD, 2 * HEAD, 2 * HEAD + 1, SIZE, SIZE + 12_345])
def test_head_and_tail_are_never_more_than_a_mebibyte(length: int) -> None:
    tail = tail_of(length)
    assert tail <= length and tail >= length - HEAD and min(HEAD, length) + length - tail <= 2 * HEAD
    assert in_edges(0, HEAD, length) and in_edges(tail, length - tail, length)
    inside = length > 2 * HEAD and tail > HEAD
    assert in_edges(HEAD, 1, length) is not inside and in_edges(0, HEAD + 1, length) is not inside


class Setup:
    """A pool with one remote film, whose library and catalog can be had in any trouble."""

    def __init__(self, base: Path) -> None:
        self.library, self.budget = Source(), DailyBudget(background=100 << 20)
        self.pool = Pool(base)
        remote = self.pool.union.lookup.branches[-1]
        assert isinstance(remote, RemoteBranch)
        self.reader = Reader(self.library, ChunkCache("", 0))
        self.warmer = Warmer(self.reader, self.budget)
        self.file = base / "contents.db"
        pins = Pins(self.pool.db, self.pool.names, self.pool.branches)
        self.media = MediaFacts(self.file, remote, pins, self.warmer, self.reader, self.budget, base / "mount")
        self.contents = self.media._contents
        Publisher(self.pool.union, remote, Owner(0, 0, 0o022)).publish(
            "realdebrid:1", "torrents/complete", "Show", [(("film.mkv",), FILM, SIZE, 0)]
        )
        self.about = About(self.pool.union.lookup, lambda path: "")
        self.about.media = self.media

    def told(self, path: str = PATH) -> MediaTold | None:
        media = self.about.media_of(path)
        return None if media is None else MediaTold(media["state"], media["facts"], media["problem"])

    def close(self) -> None:
        self.library.release()
        self.media.close()
        self.warmer.close()
        self.reader.close()
        self.pool.names.close()
        for drive in self.pool.drives:
            drive.close()


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[[], Setup]]:
    made: list[Setup] = []

    def begin() -> Setup:
        made.append(Setup(tmp_path))
        return made[-1]

    yield begin
    for setup in made:
        setup.close()


def test_nobody_who_asks_waits_for_the_provider(make: Callable[[], Setup]) -> None:
    setup = make()
    setup.library.gate.clear()
    for _ in range(3):
        assert setup.told() == MediaTold("waiting")
    with pytest.raises(OSError) as caught:
        setup.about.xattr(PATH, "user.mediapool.media")
    assert caught.value.errno == errno.ENODATA
    wait_for(lambda: setup.library.calls, "the first read")
    assert len(setup.library.calls) == 1, "it waits once, however many ask"
    # What cannot be had is not asked for again and again.
    setup.library.fail = lambda key, offset: OSError(errno.EIO, "gone")
    setup.library.gate.set()
    wait_for(lambda: setup.told() == MediaTold("unknown"), "the end of it")
    calls = len(setup.library.calls)
    assert setup.told() == MediaTold("unknown") and len(setup.library.calls) == calls


def test_what_may_be_fetched_in_a_day_is_kept_to(make: Callable[[], Setup]) -> None:
    setup = make()
    setup.budget.spend("check", 100 << 20)
    assert setup.told() == MediaTold("waiting")
    wait_for(lambda: setup.told() == MediaTold("unknown"), "the refusal")
    assert not setup.library.calls


@contextmanager
def waiting_player(setup: Setup) -> Iterator[None]:
    """A player waits for its bytes in this block."""
    player = setup.reader.open(("torrent", "decade", "1"), SIZE)
    setup.library.flow.clear()
    reading = threading.Thread(target=player.read, args=(1000, 0), daemon=True)
    reading.start()
    wait_for(lambda: setup.reader.stats().waiting, "the player")
    yield
    setup.library.flow.set()
    reading.join()
    player.close()


def test_players_go_first(make: Callable[[], Setup]) -> None:
    setup = make()
    with waiting_player(setup):
        assert setup.told() == MediaTold("waiting")
        wait_for(lambda: setup.warmer.status().queued == 1, "the film in the queue")
        assert {key for key, _, _ in setup.library.calls} == {("torrent", "decade", "1")}
    wait_for(lambda: FILM in {key for key, _, _ in setup.library.calls}, "its turn")
    assert sum(length for key, _, length in setup.library.calls if key == FILM) <= 2 * HEAD


def test_nobody_waits_for_what_is_not_looked_at_any_more(make: Callable[[], Setup]) -> None:
    setup = make()
    with waiting_player(setup):
        assert setup.told() == MediaTold("waiting")
        setup.warmer.stop()  # as `cache warm` does when it is interrupted
        assert setup.told() == MediaTold("unknown")


def test_what_was_learned_is_told_and_outlives_another_file(make: Callable[[], Setup]) -> None:
    setup = make()
    assert setup.contents.open()
    setup.media.learned(FILM, SIZE, Probed('{"container": "x"}', None))
    assert setup.told() == MediaTold("known", {"container": "x"})  # type: ignore[arg-type]
    assert setup.about.xattr(PATH, "user.mediapool.media") == b'{"container": "x"}'
    # Somebody deletes it, which is allowed: it is begun anew.
    for file in setup.file.parent.glob("contents.db*"):
        file.unlink()
    assert not setup.contents.is_open() and setup.contents.ask(lambda contents: contents.totals()) is None
    setup.media.learned(FILM, SIZE, Probed(None, "it is empty"))
    assert setup.told() == MediaTold("failed", None, "it is empty")
    with Contents(setup.file) as other:
        assert other.media.totals().remote_failed == 1


def test_a_damaged_catalog_is_a_warning(make: Callable[[], Setup], caplog: pytest.LogCaptureFixture) -> None:
    setup = make()
    setup.file.write_bytes(b"no database" * 100)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert not setup.contents.open()
            setup.media.learned(FILM, SIZE, Probed("{}", None))
    assert caplog.text.count("Move it aside") == 1
    setup.pool.write("a", "x/local.mkv")
    assert setup.told("x/local.mkv") == MediaTold("unknown") and setup.told("x") is None
    assert setup.told(PATH) == MediaTold("waiting")


def test_only_our_own_look_is_kept_to_head_and_tail(make: Callable[[], Setup]) -> None:
    setup = make()
    node = setup.pool.names.file_of(FILM)
    assert node is not None
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=-1) as child:
        setup.budget.pid = lambda: child.pid
        setup.media.reading(FILM, SIZE // 2, 4096)
        setup.media._looking = node
        setup.media.reading(FILM, 0, 4096)
        setup.media.reading(("torrent", "decade", "1"), SIZE // 2, 4096)
        with pytest.raises(OSError) as caught:
            setup.media.reading(FILM, SIZE // 2, 4096)
        assert caught.value.errno == errno.EIO
        # A player that reads the same film meanwhile is somebody else.
        setup.budget.pid = os.getppid
        setup.media.reading(FILM, SIZE // 2, 4096)
        child.communicate(b"\n")


def test_one_content_is_looked_at_by_one_at_a_time(make: Callable[[], Setup]) -> None:
    setup = make()
    order: list[str] = []
    begun = threading.Event()

    def other() -> None:
        begun.set()
        with setup.media.alone_with(FILM):
            order.append("other")

    with setup.media.alone_with(FILM), setup.media.alone_with(None):
        thread = threading.Thread(target=other)
        thread.start()
        begun.wait()
        order.append("first")
    thread.join()
    assert order == ["first", "other"]
