"""Ingest: dates, names, sidecars, known content, and files that are still being written."""

import os
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from settling import content_of
from xxhash import xxh3_128

from indexer import dates
from indexer.contents import Contents
from indexer.crawling import Crawler
from indexer.dates import Taken, by_name, from_container, from_exif, taken
from indexer.finding import Found, find, roots
from indexer.ingest import PATTERN, Ingest, Ingested, PatternError, check_pattern, grouped, named
from indexer.moving import Mover
from indexer.runs import Run
from indexer.undoing import Kept, undo

WHEN = Taken(datetime(2024, 5, 31, 23, 59, 58), "exif")


@pytest.fixture(autouse=True)
def in_berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A zone that is not UTC, so that the two are not mistaken for one another."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def jpeg(date: str) -> bytes:
    """A picture with nothing but an EXIF date, as the EXIF 2.3 standard lays it out."""
    text = date.encode() + b"\0"
    exif_ifd = struct.pack("<HHHLLL", 1, 0x9003, 2, len(text), 44, 0)
    main_ifd = struct.pack("<HHHLLL", 1, 0x8769, 4, 1, 26, 0)
    tiff = b"II*\0" + struct.pack("<L", 8) + main_ifd + exif_ifd + text
    assert tiff.index(text) == 44
    body = b"Exif\0\0" + tiff
    return b"\xff\xd8\xff\xe1" + struct.pack(">H", len(body) + 2) + body + b"\xff\xd9"


def film(path: Path, created: str) -> None:
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "color=size=16x16:duration=0.2", "-metadata",
               f"creation_time={created}", path]  # fmt: skip
    subprocess.run(command, check=True)


@pytest.mark.parametrize(
    ("name", "when"),
    [
        ("IMG_20240531_235958.jpg", "2024-05-31 23:59:58"),
        ("PXL_20240531_235958123.MP.jpg", "2024-05-31 23:59:58"),
        ("2024-05-31 23.59.58.jpg", "2024-05-31 23:59:58"),
        ("Screenshot_2024-05-31-23-59-58.png", "2024-05-31 23:59:58"),
        ("VID-20240531-WA0012.mp4", "2024-05-31 00:00:00"),
        ("20240531_235958.mp4", "2024-05-31 23:59:58"),
        ("signal-2024-05-31-235958.jpeg", "2024-05-31 23:59:58"),
        ("holiday 2024-05-31.jpg", "2024-05-31 00:00:00"),
        ("IMG_0001.JPG", None),
        ("20241331_000000.jpg", None),
        ("20240230.jpg", None),
        ("1234202405311.jpg", None),
        ("19800101_000000.jpg", None),
    ],
)
def test_dates_in_names(name: str, when: str | None) -> None:
    assert by_name(os.fsencode(name)) == (None if when is None else datetime.fromisoformat(when))


def test_dates_of_clocks_that_were_never_set_are_none() -> None:
    for text in ("0000:00:00 00:00:00", "", "    :  :     :  :  ", "1980:01:01 00:00:00", "1904:01:01 00:00:00"):
        assert from_exif(text) is None
    assert from_exif("2024:05:31 23:59:58+02:00") == WHEN.when
    # Apple's with its zone is the time that people saw; UTC becomes that of this machine.
    assert from_container("2024-05-31T23:59:58-0700") == WHEN.when
    assert from_container("2024-05-31T21:59:58.000000Z") == WHEN.when
    assert from_container("1904-01-01T00:00:00Z") is None and from_container("soon") is None


def test_the_first_source_that_knows_the_date_says_it(tmp_path: Path) -> None:
    mtime = 1_600_000_000_000_000_000
    picture, clip = tmp_path / "IMG_20200101_000000.jpg", tmp_path / "VID_20200101_000000.mp4"
    picture.write_bytes(jpeg("2024:05:31 23:59:58"))
    film(clip, "2024-05-31T21:59:58Z")
    assert taken(os.fsencode(picture), mtime) == WHEN
    assert taken(os.fsencode(clip), mtime) == Taken(WHEN.when, "container")
    picture.write_bytes(jpeg("0000:00:00 00:00:00"))
    clip.write_bytes(b"damaged")
    for path in (picture, clip):
        assert taken(os.fsencode(path), mtime) == Taken(datetime(2020, 1, 1), "name")
    other = tmp_path / "scan.jpg"
    other.write_bytes(b"\xff\xd8\xff\xe1\xff\xffExif garbage")
    assert taken(os.fsencode(other), mtime) == Taken(datetime.fromtimestamp(1_600_000_000), "mtime")


@given(st.binary(max_size=300))
def test_damaged_exif_is_no_date_and_no_error(garbage: bytes) -> None:
    picture = Path("/dev/shm") / f"mediapool-exif-{os.getpid()}.jpg"
    try:
        picture.write_bytes(jpeg("2024:05:31 23:59:58")[:40] + garbage)
        assert dates.by_exif(os.fsencode(picture)) in (None, WHEN.when) or garbage
    finally:
        picture.unlink()


def test_patterns() -> None:
    digest = bytes(range(16))
    assert named(PATTERN, b"/card/a.JPG", digest, WHEN) == b"2024/05/20240531_235958_%s.JPG" % digest.hex().encode()
    assert named("{year}-{month}/{name}{ext}", b"/x/\xff {year}.b.mov", digest, WHEN) == b"2024-05/\xff {year}.b.mov"
    for pattern, cause in {
        "{year}{ext}": "same name",
        "{hash}": "end with",
        "/{hash}{ext}": "below the tree",
        "../{hash}{ext}": "below the tree",
        "{hash.__class__}{ext}": "not known",
        "{hash!r}{ext}": "not known",
        "{0}{ext}": "not known",
        "{hash": "expected '}'",
    }.items():
        with pytest.raises(PatternError, match=cause):
            check_pattern(pattern)


def found(name: str) -> Found:
    return Found(os.fsencode(name), 1, 1, 1, 1, 1, 1)


def test_sidecars_belong_to_the_file_beside_them() -> None:
    names = ["c/IMG_1.JPG", "c/IMG_1.xmp", "c/IMG_1.JPG.xmp", "c/img_1.AAE", "c/film.mp4", "c/film.en.srt", "c/.xmp",
             "c/film.nfo", "c/MVI_2.AVI", "c/MVI_2.THM", "c/IMG_1.CR2", "d/IMG_1.xmp", "c/IMG_10.xmp"]  # fmt: skip
    groups, orphans = grouped(map(found, names))
    assert {os.fsdecode(one.path): sorted(os.fsdecode(each.path) for each in sidecars) for one, sidecars in groups} == {
        "c/IMG_1.CR2": ["c/IMG_1.JPG.xmp", "c/IMG_1.xmp", "c/img_1.AAE"],
        "c/IMG_1.JPG": [],
        "c/film.mp4": ["c/film.en.srt", "c/film.nfo"],
        "c/MVI_2.AVI": ["c/MVI_2.THM"],
        "c/.xmp": [],
    }
    assert {os.fsdecode(one.path) for one in orphans} == {"d/IMG_1.xmp", "c/IMG_10.xmp"}


class Card:
    """A card, the tree it is ingested to, and the catalog."""

    def __init__(self, base: Path) -> None:
        self.base, self.card, self.to = base, base / "card", base / "media/photos"
        self.card.mkdir()
        self.contents = Contents(base / "contents.db")

    def write(self, name: str, content: bytes, age: float = 3600.0) -> Path:
        path = self.card / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(content)
        os.utime(path, (time.time() - age,) * 2)
        return path

    def ingest(self, **options: object) -> tuple[Ingested, list[Kept]]:
        to, aside = os.fsencode(self.to), os.fsencode(self.base / "media/duplicates")
        work = Ingest(to, aside, self.contents, **{"settle": 0.0, **options})  # type: ignore[arg-type]
        there = find([to]).files if self.to.is_dir() else []
        items, kept = work.plan(find(roots([self.card])).files, there)
        with Run.begin(self.base / "runs", "ingest", to) as run, closing(Mover(run)) as mover:
            return work.carry_out(items, mover), kept

    def media(self) -> dict[str, bytes]:
        return content_of(self.base / "media")


@pytest.fixture
def card(tmp_path: Path) -> Iterator[Card]:
    card = Card(tmp_path)
    yield card
    card.contents.close()


def hex_of(content: bytes) -> str:
    return str(xxh3_128(content).hexdigest())


def test_files_get_their_names_and_sidecars_come_along(card: Card) -> None:
    picture, clip = jpeg("2024:05:31 23:59:58"), b"clip"
    for name, content in {
        "DCIM/IMG_1.JPG": picture, "DCIM/IMG_1.xmp": b"<xmp>", "DCIM/IMG_1.JPG.aae": b"aae",
        "VID_20230102_030405.mp4": clip, "VID_20230102_030405.de.srt": b"srt", "alone.xmp": b"orphan",
    }.items():  # fmt: skip
        card.write(name, content)
    before = content_of(card.card)
    done, kept = card.ingest()
    one = f"photos/2024/05/20240531_235958_{hex_of(picture)}"
    other = f"photos/2023/01/20230102_030405_{hex_of(clip)}"
    assert card.media() == {
        f"{one}.JPG": picture, f"{one}.xmp": b"<xmp>", f"{one}.JPG.aae": b"aae", f"{other}.mp4": clip,
        f"{other}.de.srt": b"srt",
    }  # fmt: skip
    assert [os.path.basename(each.path) for each in kept] == [b"alone.xmp"]
    assert content_of(card.card) == {"alone.xmp": b"orphan"} and done.kept == []
    assert card.contents.media.of(xxh3_128(picture).digest())[:3] == ("2024-05-31T23:59:58", "exif", None)
    undo(card.base / "runs", "i1")
    assert content_of(card.card) == before and card.media() == {}


def test_known_content_goes_to_the_duplicates(card: Card) -> None:
    content, elsewhere = b"in the tree", b"on another drive"
    (card.to / "old").mkdir(parents=True)
    (card.to / "old/name.jpg").write_bytes(content)
    (card.base / "drive").mkdir()
    (card.base / "drive/x.jpg").write_bytes(elsewhere)
    time.sleep(0.05)  # older than the clock of the filesystem ticks, so that the crawl keeps it
    Crawler(card.contents).run(roots([card.base / "drive"]))
    for name, data in {"a_20200101.jpg": content, "a_20200101.xmp": b"side", "b_20200101.jpg": elsewhere,
                       "c1_20200101.jpg": b"new", "c2_20200101.jpg": b"new", "empty_20200101.txt": b"",
                       "empty2_20200101.txt": b""}.items():  # fmt: skip
        card.write(name, data)
    done, kept = card.ingest()
    assert kept == [] and content_of(card.card) == {}
    media = card.media()
    known = {name: data for name, data in media.items() if name.startswith("duplicates/")}
    stem = f"duplicates/2020/01/20200101_000000_{hex_of(content)}"
    assert known == {
        f"{stem}.jpg": content, f"{stem}.xmp": b"side",
        f"duplicates/2020/01/20200101_000000_{hex_of(elsewhere)}.jpg": elsewhere,
        f"duplicates/2020/01/20200101_000000_{hex_of(b'new')}.jpg": b"new",
    }  # fmt: skip
    # Empty files are nobody's duplicates, and get names of their own.
    assert sorted(media.values()).count(b"") == 2
    assert {os.path.basename(item.known) for item, _ in done.moved if item.known} >= {b"name.jpg", b"x.jpg"}
    # A catalog that is wrong about what stands there decides nothing.
    (card.base / "drive/x.jpg").unlink()
    card.write("again_20200101.jpg", b"on another drive")
    (card.base / "media/duplicates").rename(card.base / "gone")
    card.ingest()
    assert f"photos/2020/01/20200101_000000_{hex_of(elsewhere)}.jpg" in card.media()


def test_what_is_not_finished_is_left_for_next_time(card: Card) -> None:
    card.write("done.jpg", b"1")
    for name in (".hidden.jpg", "a.jpg.part", "Thumbs.db", "b.CRDOWNLOAD"):
        card.write(name, b"2")
    with card.write("writing.jpg", b"3").open("ab"):
        done, kept = card.ingest()
        assert len(done.moved) == 1
        reasons = {os.fsdecode(os.path.basename(one.path)): one.reason for one in kept}
        assert len(reasons) == 5 and "open for writing" in reasons["writing.jpg"]
    card.write("fresh.jpg", b"4", age=-10)
    done, kept = card.ingest(settle=5.0)
    assert done.moved == [] and "changed a moment ago" in {one.reason.split(":")[0].removeprefix("it ") for one in kept}
    assert len(card.ingest()[0].moved) == 2
    assert sorted(content_of(card.card)) == [".hidden.jpg", "Thumbs.db", "a.jpg.part", "b.CRDOWNLOAD"]


def test_a_pattern_by_name_never_overwrites(card: Card) -> None:
    for name, content in {"a/x.jpg": b"1", "b/x.jpg": b"2"}.items():
        card.write(name, content)
    card.ingest(pattern="{name}{ext}")
    assert card.media() == {"photos/x.jpg": b"1", "photos/x (2).jpg": b"2"}
