"""What is taken for a copy, and what is not."""

from vfs.copied import CopiedFile, CopyWatch

MIB = 1 << 20
KEY = ("torrent", "c" * 40, "1")


def watch() -> tuple[CopyWatch, list[CopiedFile], list[float]]:
    now = [0.0]
    made = CopyWatch(lambda: now[0])
    told: list[CopiedFile] = []
    made.tell, made.program = told.append, lambda: "Sonarr"
    return made, told, now


def test_a_copy_is_told_once_with_its_likely_cause() -> None:
    made, told, _ = watch()
    made.opened(1, KEY, "torrents/film.mkv", 4 * MIB)
    made.read(1, MIB)
    assert not made.expects
    made.read(1, MIB)
    made.written("media/film.mkv", 4 * MIB)
    made.written("media/other.mkv", 4 * MIB)
    (found,) = told
    assert (found.content, found.source, found.target) == (KEY, "torrents/film.mkv", "media/film.mkv")
    assert "Sonarr copied" in str(found) and "one by one" in found.cause and list(made.found) == told


def test_a_link_that_failed_is_the_cause() -> None:
    made, told, _ = watch()
    made.refused("film.mkv", "No space left on device")
    made.opened(1, KEY, "film.mkv", MIB)
    made.read(1, MIB)
    made.closed(1)
    made.written("copy.mkv", MIB)
    assert told[0].cause == "the hard link failed: No space left on device"


def test_what_is_no_copy() -> None:
    made, told, now = watch()
    made.opened(1, KEY, "small", MIB - 1)
    made.read(1, MIB - 1)
    made.written("small2", MIB - 1)
    made.opened(2, KEY, "probed", 4 * MIB)
    made.read(2, MIB)
    made.written("x", 4 * MIB)
    made.read(2, MIB)
    made.written("another size", 4 * MIB + 1)
    now[0] += 601
    made.written("much later", 4 * MIB)
    assert told == []


def test_nothing_grows() -> None:
    made, _, _ = watch()
    for number in range(500):
        made.opened(number, KEY, f"f{number}", MIB + number)
        made.read(number, 2 * MIB)
        made.closed(number)
        made.refused(f"f{number}", "no")
    assert len(made._whole) == len(made._refused) == 100 and not made._reading
