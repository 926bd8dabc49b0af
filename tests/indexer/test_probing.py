"""Media facts of local files: once for each content, whatever it is called; also what was looked at in vain is kept."""

import json
import os
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from filming import film
from hypothesis import given
from hypothesis import strategies as st
from settling import settle

from indexer import perdevice, probing
from indexer.contents import Contents, Entry
from indexer.contentsdb import FORMAT
from indexer.crawling import Crawler
from indexer.finding import Found, roots
from indexer.likely import by_head, by_name
from indexer.media import MediaFacts, Stream
from indexer.mediafacts import MOST, text_of
from indexer.mediatable import Media, MediaTotals, Probed
from indexer.probing import NO_FFPROBE, Looked, Prober
from indexer.verdicts import NotMedia, ProbeFailed, ProbeTrouble

# The tables of format 1.
FORMAT_1 = """
CREATE TABLE file (path BLOB PRIMARY KEY, dev INTEGER NOT NULL, ino INTEGER NOT NULL, size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL, ctime_ns INTEGER NOT NULL, nlink INTEGER NOT NULL, ends BLOB, hash BLOB, read_ns INTEGER
) WITHOUT ROWID;
CREATE INDEX file_hash ON file (hash) WHERE hash IS NOT NULL;
CREATE INDEX file_ino ON file (ino);
CREATE TABLE tree (path BLOB PRIMARY KEY, dev INTEGER NOT NULL, ino INTEGER NOT NULL, crawled_ns INTEGER NOT NULL,
    files INTEGER NOT NULL, bytes INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE remote (provider TEXT NOT NULL, kind TEXT NOT NULL, id TEXT NOT NULL, part TEXT NOT NULL,
    size INTEGER NOT NULL, osdb BLOB NOT NULL, PRIMARY KEY (provider, kind, id, part)) WITHOUT ROWID;
CREATE TABLE media (hash BLOB PRIMARY KEY, taken TEXT, source TEXT, facts TEXT) WITHOUT ROWID;
INSERT INTO file VALUES (x'2f612e6d6b76', 1, 2, 3, 4, 5, 1, NULL, x'01', 6);
INSERT INTO file VALUES (x'2f622e747874', 1, 3, 3, 4, 5, 1, NULL, x'02', 6);
INSERT INTO file VALUES (x'2f632e4d5034', 1, 4, 3, 4, 5, 1, NULL, x'03', 6);
INSERT INTO file VALUES (x'2f642e6d6b76', 1, 5, 3, 4, 5, 1, NULL, NULL, NULL);
INSERT INTO tree VALUES (x'2f', 1, 2, 3, 4, 5);
INSERT INTO remote VALUES ('realdebrid', 'torrent', 'c0ffee', '1', 7, x'aa');
INSERT INTO media VALUES (x'03', '2024-05-31T23:59:59', 'exif', NULL);
INSERT INTO media VALUES (x'04', '2020-01-01T00:00:00', 'name', NULL);
PRAGMA application_id = 0x6D706978;
PRAGMA user_version = 1;
"""


def test_format_1_is_upgraded_with_all_that_it_knew(tmp_path: Path) -> None:
    file = tmp_path / "contents.db"
    with sqlite3.connect(file) as db:
        db.executescript(FORMAT_1)
    db.close()
    key = ("realdebrid", "torrent", "c0ffee", "1")
    for _ in range(2):
        with Contents(file) as contents:
            assert [entry.path for entry in contents.files()] == [b"/a.mkv", b"/b.txt", b"/c.MP4", b"/d.mkv"]
            assert len(contents.trees()) == 1 and contents.remote(key) == b"\xaa"
            assert contents.media.of(b"\3") == Media("2024-05-31T23:59:59", "exif")
            assert contents.media.of(b"\4") == Media("2020-01-01T00:00:00", "name")
            # What is known by name to be media is to be looked at.
            assert [entry.path for entry in contents.unprobed([b"/"])] == [b"/a.mkv", b"/c.MP4"]
            assert contents.media.of_remote(key) is None
    with sqlite3.connect(file) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (FORMAT,) == (2,)
        assert {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")} == {
            "file", "tree", "remote", "media",
        }  # fmt: skip
    db.close()


def test_an_upgrade_that_is_broken_off_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "contents.db"
    with sqlite3.connect(file) as db:
        db.executescript(FORMAT_1)
    db.close()

    def fails(path: bytes, size: int) -> bool:
        raise RuntimeError

    with monkeypatch.context() as patch:
        patch.setattr("indexer.contentsdb.by_name", fails)
        with pytest.raises(Exception, match="user-defined function"):
            Contents(file)
    with Contents(file) as contents:
        assert contents.totals().files == 4 and contents.remote(("realdebrid", "torrent", "c0ffee", "1")) == b"\xaa"


def test_facts_of_remote_files_and_their_ends_are_kept_beside_one_another(tmp_path: Path) -> None:
    key, other = ("realdebrid", "torrent", "c0ffee", "1"), ("realdebrid", "link", "ab", "")
    with Contents(tmp_path / "contents.db") as contents:
        contents.tell_remote(key, 7, b"osdb")
        contents.media.tell_remote(key, 7, Probed("{}", None))
        contents.media.tell_remote(other, 8, Probed(None, "it is empty"))
        assert contents.remote(other) is None
        contents.tell_remote(other, 8, b"bdso")
        assert contents.remote(key) == b"osdb" and contents.media.of_remote(key) == ("{}", None)
        assert contents.media.of_remote(other) == (None, "it is empty")
        assert [(one.key, one.osdb) for one in contents.media.remotes()] == [(other, b"bdso"), (key, b"osdb")]
        assert contents.media.totals() == MediaTotals(0, 0, 0, 1, 1)


@pytest.mark.parametrize(
    ("name", "size", "likely"),
    [
        (b"/a/Film.MKV", 10, True), (b"/a/song.flac", 10, True), (b"/a/film.mkv", 0, False), (b"/a/mkv", 10, False),
        (b"/a/index.ts", 5000, False), (b"/a/recording.ts", 5 << 20, True), (b"/a/picture.jpg", 10, False),
    ],
)  # fmt: skip
def test_names_of_media(name: bytes, size: int, likely: bool) -> None:
    assert by_name(name, size) is likely


@given(st.binary(max_size=300))
def test_any_beginning_can_be_asked(head: bytes) -> None:
    assert by_head(head) in (True, False)


def test_beginnings_of_pictures_and_texts_are_none(tmp_path: Path) -> None:
    for head in (b"\0\0\0\x18ftypheic", b"\0\0\0\x18ftypavif", b"RIFF\0\0\0\0WEBPVP8 ", b"PK\3\4", b"Go home", b""):
        assert not by_head(head)
    for head in (b"\0\0\0\x18ftypisom", b"\0\0\0\x18ftypqt  ", b"RIFF\0\0\0\0AVI LIST", (b"G" + b"\0" * 187) * 2):
        assert by_head(head)


TEXTS = st.text(max_size=200)
STREAMS = st.builds(
    Stream,
    index=st.integers(0, 500), kind=st.sampled_from(("video", "audio", "subtitle", "attachment", "data")),
    codec=TEXTS, language=TEXTS, profile=TEXTS, channels=st.integers(0, 1 << 40), is_cover=st.booleans(),
)  # fmt: skip


@given(st.lists(STREAMS, max_size=30), st.integers(1, 20), TEXTS)
def test_facts_are_json_and_never_long(streams: list[Stream], times: int, container: str) -> None:
    facts = MediaFacts(container, 7.0, tuple(streams * times), container)
    text = text_of(facts)
    assert len(text) <= MOST and text.isascii()
    plain = json.loads(text)
    kept = sum(len(plain.get(name, ())) for name in ("video", "audio", "subtitles"))
    assert kept + plain.get("more", 0) == sum(len(facts.of_kind(kind)) for kind in ("video", "audio", "subtitle"))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return film(tmp_path_factory.mktemp("clip") / "clip.mkv").read_bytes()


@pytest.fixture
def contents(tmp_path: Path) -> Iterator[Contents]:
    with Contents(tmp_path / "contents.db") as contents:
        yield contents


@pytest.fixture
def tree(tmp_path: Path, clip: bytes) -> Path:
    """A film under three names, one without suffix; another; a cut-off one; a fake; and texts."""
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "film.mkv").write_bytes(clip)
    (tree / "sub/copy.mkv").write_bytes(clip)
    (tree / "cut.mkv").write_bytes(clip[: len(clip) // 2])
    (tree / "sub/without").write_bytes(clip + b"\0")
    (tree / "fake.mp4").write_bytes(b"MZ" + b"nothing" * 1000)
    (tree / "text.txt").write_bytes(b"text")
    os.link(tree / "film.mkv", tree / "sub/linked.mkv")
    settle(tree)
    return tree


class Counting:
    """The real `probe`, and the names of what it was asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[str] = []
        self._real = probing.probe
        monkeypatch.setattr(probing, "probe", self._probe)

    def _probe(self, path: bytes, **options: object) -> MediaFacts:
        self.asked.append(os.path.basename(os.fsdecode(path)))
        return self._real(path, **options)  # type: ignore[arg-type]


def crawl(contents: Contents, tree: Path, stop: threading.Event | None = None) -> Looked:
    Crawler(contents).run(roots([tree]))
    return Prober(contents, stop=stop).run(roots([tree]))


def known(contents: Contents) -> dict[str, str]:
    """By name, the container, or why there is none."""
    return {
        os.path.basename(os.fsdecode(entry.path)): json.loads(media.facts)["container"]
        if media.facts
        else media.problem
        for entry, media in contents.files_and_media()
        if media.facts or media.problem
    }


def test_each_content_is_looked_at_once(tree: Path, contents: Contents, monkeypatch: pytest.MonkeyPatch) -> None:
    counting = Counting(monkeypatch)
    done = crawl(contents, tree)
    assert (done.known, len(done.failed), done.left, done.trouble) == (2, 2, 0, "")
    assert len(counting.asked) == 4 and {"cut.mkv", "fake.mp4", "without"} < set(counting.asked)
    matroska = "matroska,webm"
    facts = known(contents)
    assert facts.pop("cut.mkv").startswith("it is cut off") and "program" in facts.pop("fake.mp4")
    assert facts == dict.fromkeys(("film.mkv", "copy.mkv", "linked.mkv", "without"), matroska)
    assert contents.media.totals() == MediaTotals(2, 2, 0, 0, 0) and not contents.media.wants_any()
    # Renamed, linked, copied, and what was looked at in vain: nothing is looked at again.
    (tree / "film.mkv").rename(tree / "renamed.mkv")
    os.link(tree / "cut.mkv", tree / "cut2.mkv")
    shutil.copy2(tree / "renamed.mkv", tree / "third.mkv")
    settle(tree)
    assert crawl(contents, tree) == Looked(0, [], 0, "") and len(counting.asked) == 4
    assert known(contents)["third.mkv"] == matroska and "cut2.mkv" in known(contents)
    # Only on request, or when it changes.
    (tree / "fake.mp4").write_bytes(b"MZ" + b"else" * 1000)
    settle(tree)
    assert len(crawl(contents, tree).failed) == 1 and counting.asked[4:] == ["fake.mp4"]
    contents.probe_again(roots([tree / "sub"]))
    assert not contents.media.wants_any()
    contents.probe_again(roots([tree]))
    assert len(crawl(contents, tree).failed) == 2
    assert {name.replace("cut2", "cut") for name in counting.asked[5:]} == {"cut.mkv", "fake.mp4"}


def test_only_what_says_something_of_the_file_is_kept(
    tree: Path, contents: Contents, monkeypatch: pytest.MonkeyPatch
) -> None:
    def probe(path: bytes, **_: object) -> MediaFacts:
        if path.endswith(b"cut.mkv"):
            raise ProbeFailed("ffprobe gave no answer in time")
        raise ProbeTrouble("it cannot be read: Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(probing, "probe", probe)
        done = crawl(contents, tree)
        assert done == Looked(0, done.failed, 3, "it cannot be read: Input/output error")
        assert [one.path for one in done.failed] == [os.fsencode(tree / "cut.mkv")]
    with monkeypatch.context() as patch:
        patch.setenv("PATH", "/nowhere")
        assert crawl(contents, tree) == Looked(0, [], 3, NO_FFPROBE)
    again = crawl(contents, tree)
    assert (again.known, len(again.failed), again.left) == (2, 1, 0)
    assert known(contents)["cut.mkv"] == "ffprobe gave no answer in time"


def test_a_run_that_is_stopped_goes_on_where_it_was(
    tree: Path, contents: Contents, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probing.os, "cpu_count", lambda: 1)
    stop = threading.Event()
    real = probing.probe

    def probe(path: bytes, **options: object) -> MediaFacts:
        try:
            return real(path, **options)  # type: ignore[arg-type]
        finally:
            stop.set()

    with monkeypatch.context() as patch:
        patch.setattr(probing, "probe", probe)
        first = crawl(contents, tree, stop)
    done = first.known + len(first.failed)
    assert (done, first.left) == (1, 3)
    counting = Counting(monkeypatch)
    crawl(contents, tree)
    assert len(counting.asked) == 3 and contents.media.totals().to_do == 0


@pytest.mark.parametrize(("kind", "cores", "most"), [("hdd", 4, 1), ("ssd", 3, 3), ("network", 64, 8)])
def test_each_device_gets_some_processes_at_a_time(
    tmp_path: Path, contents: Contents, monkeypatch: pytest.MonkeyPatch, kind: str, cores: int, most: int
) -> None:
    tree = tmp_path / "many"
    tree.mkdir()
    for number in range(40):
        (tree / f"{number}.mkv").write_bytes(b"%d" % number)
    settle(tree)
    running, highest, lock, together = 0, 0, threading.Lock(), threading.Event()

    def probe(path: bytes, **_: object) -> MediaFacts:
        nonlocal running, highest
        with lock:
            running += 1
            highest = max(highest, running)
            if running == most:
                together.set()
        together.wait(30)
        with lock:
            running -= 1
        raise NotMedia("it is empty")

    monkeypatch.setattr(probing, "probe", probe)
    monkeypatch.setattr(probing.os, "cpu_count", lambda: cores)
    monkeypatch.setattr(perdevice, "kind_of", lambda _dev: kind)
    assert len(crawl(contents, tree).failed) == 40 and highest == most


def test_a_file_that_changed_since_it_was_read_is_left(tree: Path, contents: Contents, clip: bytes) -> None:
    Crawler(contents).run(roots([tree]))
    (tree / "cut.mkv").write_bytes(clip)
    done = Prober(contents).run(roots([tree]))
    assert done.left == 1 and not known(contents)["without"].startswith("it")
    assert "cut.mkv" not in known(contents)


def test_a_second_name_makes_known_content_wanted_only_if_nobody_looked(contents: Contents) -> None:
    entry = Entry.of(Found(b"/x.bin", 1, 2, 3, 4, 5, 1), None, b"h" * 16, 6)
    contents.store([entry])
    assert not contents.media.wants_any()
    contents.store([entry._replace(path=b"/x.mkv")])
    assert [one.path for one in contents.unprobed([b"/"])] == [b"/x.bin"]
    contents.media.tell([(b"h" * 16, Probed(None, "it is empty"))])
    contents.store([entry._replace(path=b"/y.mkv", begins_as_media=True)])
    assert not contents.media.wants_any()
    contents.media.tell_taken(b"h" * 16, "2020-01-01T00:00:00", "name")
    assert contents.media.of(b"h" * 16) == Media("2020-01-01T00:00:00", "name", None, "it is empty")
