"""Stored archives of both formats, made here, and where their files lie in them."""

import random
from collections.abc import Sequence

import pytest
from rarmaking import block5, file4, file5, rar4, rar5, vint

from debrid.rar import RAR5, Inner, NotStored, Volume, inner_files
from debrid.simulator.content import BytesContent, read
from debrid.simulator.rar import pack

FILM = random.Random(1).randbytes(50_000)
TEXT = "Größe 数".encode()


def volume(data: bytes) -> Volume:
    return Volume(len(data), lambda offset, length: data[offset : offset + length])


def looked(*archives: bytes) -> list[Inner]:
    return inner_files([volume(each) for each in archives])


def content(inner: Inner, archives: Sequence[bytes]) -> bytes:
    return b"".join(archives[part.volume][part.start : part.start + part.length] for part in inner.pieces)


SETS = {
    "4": [rar4(file4(b"Show\\e1.mkv", 50_000, FILM), file4(b"a.srt", len(TEXT), TEXT))],
    "5": [rar5(file5("Show/e1.mkv", 50_000, FILM), file5("a.srt", len(TEXT), TEXT))],
    "4 in volumes": [
        rar4(file4(b"Show\\e1.mkv", 50_000, FILM[:20_000], flags=2), main=1),
        rar4(file4(b"Show\\e1.mkv", 50_000, FILM[20_000:40_000], flags=3), main=1),
        rar4(file4(b"Show\\e1.mkv", 50_000, FILM[40_000:], flags=1), file4(b"a.srt", len(TEXT), TEXT), main=1),
    ],
    "5 in volumes": [
        rar5(file5("Show/e1.mkv", 50_000, FILM[:20_000], flags=0x10)),
        rar5(file5("Show/e1.mkv", 50_000, FILM[20_000:], flags=0x08), file5("a.srt", len(TEXT), TEXT)),
    ],
    "with folders": [rar4(file4(b"Show", 0, b"", flags=0xE0), file4(b"Show\\e1.mkv", 50_000, FILM),
                          file4(b"a.srt", len(TEXT), TEXT))],
    "with other blocks": [rar5(block5(3, 0, vint(0), b"a comment"), file5("Show", 0, b"", about=1),
                               file5("Show/e1.mkv", 50_000, FILM), file5("a.srt", len(TEXT), TEXT))],
}  # fmt: skip


@pytest.mark.parametrize("name", SETS)
def test_where_each_file_lies(name: str) -> None:
    archives = SETS[name]
    film, text = looked(*archives)
    assert (film.path, film.size) == ("Show/e1.mkv", 50_000) and content(film, archives) == FILM
    assert text.path == "a.srt" and content(text, archives) == TEXT


def test_what_the_service_packs() -> None:
    packed = pack([("/Show/Größe: 1.mkv", BytesContent(FILM)), ("/b.nfo", BytesContent(TEXT))])
    whole = read(packed, 0, packed.size)
    film, text = looked(whole)
    assert film.path == "Show/Größe_ 1.mkv"
    assert (content(film, [whole]), content(text, [whole])) == (FILM, TEXT)


def test_names_of_format_4_in_16_bits() -> None:
    # "日a.mkv": one of two bytes, then the others as in the plain name.
    coded = bytes([0x00, 0b10_00_11_00, 0xE5, 0x65, ord("a"), 0x02])
    name = b"?a.mkv\0" + coded
    (inner,) = looked(rar4(file4(name, 3, b"abc", flags=0x200)))
    assert inner.path == "日a.mkv"


@pytest.mark.parametrize(
    ("archive", "why"),
    [
        (rar4(file4(b"a", 9, b"abc", method=0x33)), "compressed"),
        (rar5(file5("a", 9, b"abc", method=3)), "compressed"),
        (rar4(file4(b"a", 3, b"abc", flags=4)), "encrypted"),
        (rar4(main=0x80), "encrypted"),
        (rar5(file5("a", 3, b"abc", extra=vint(3) + vint(1) + b"xy")), "encrypted"),
        (RAR5 + block5(4, 0, vint(0)), "encrypted"),
        (rar4(file4(b"a", 3, b"abc", flags=2)), "missing"),
        (rar4(file4(b"a", 3, b"abc", flags=1)), "missing"),
        (rar5(file5("a", 5, b"abc")), "full size"),
        (rar5(file5("a", 3, b"abc", about=8)), "how long"),
        (b"PK\x03\x04 something else", "no RAR"),
        (b"", "no RAR"),
    ],
)
def test_what_cannot_be_read_by_ranges(archive: bytes, why: str) -> None:
    with pytest.raises(NotStored, match=why):
        looked(archive)


@pytest.mark.parametrize("name", ["4", "5"])
def test_no_damage_does_anything_worse_than_being_noticed(name: str) -> None:
    (archive,) = SETS[name]
    spots = random.Random(3)
    noticed = 0
    for _ in range(300):
        damaged = bytearray(archive[: spots.randrange(len(archive))] if spots.random() < 0.3 else archive)
        for _ in range(3):
            if damaged:
                damaged[spots.randrange(min(len(damaged), 60))] = spots.randrange(256)
        try:
            looked(bytes(damaged))
        except NotStored:
            noticed += 1
    assert noticed > 200
