"""Which files of a torrent are wanted."""

from typing import NamedTuple, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from debrid.downloads.selection import Files, is_junk, is_probed, main_files, select

BIG = 700 << 20


class File(NamedTuple):
    path: str
    bytes: int = 1000


def chosen(profile: Files, *paths: str) -> list[str]:
    return [each.path for each in select([File(path) for path in paths], profile)]


def test_a_film_with_what_belongs_to_it() -> None:
    files = (
        "/Film.mkv", "/Film.en.srt", "/Subs/2_English.sub", "/Film.nfo", "/Sample/film-sample.mkv", "/film.sample.mkv",
        "/RARBG.txt", "/RARBG_DO_NOT_MIRROR.exe", "/poster.jpg", "/Trailers/a.mp4", "/.hidden.mkv", "/www.site.url",
    )  # fmt: skip
    assert chosen("video", *files) == ["/Film.mkv", "/Film.en.srt", "/Subs/2_English.sub", "/Film.nfo"]
    assert "/poster.jpg" in chosen("all", *files) and "/RARBG_DO_NOT_MIRROR.exe" not in chosen("all", *files)


def test_a_film_called_sample_is_a_film() -> None:
    film = File("/The Sample.mkv", BIG)
    assert select([film, File("/Sample/x.mkv", BIG)], "video") == [film, File("/Sample/x.mkv", BIG)]
    assert is_junk(File("/The Sample.mkv", 5 << 20)) and not is_junk(File("/Samples of love.mkv"))
    assert not is_junk(File("/Unsampled.mkv"))


def test_scene_releases_are_volumes() -> None:
    assert chosen("video", "/a.rar", "/a.r00", "/a.r01", "/a.nfo") == ["/a.rar", "/a.r00", "/a.r01"]
    assert chosen("video", "/a.rar", "/a.mkv") == ["/a.mkv"]


@pytest.mark.parametrize(
    ("profile", "path"), [("video", "/a.epub"), ("audio", "/a.mkv"), ("books", "/a.mkv"), ("all", "/a.exe")]
)
def test_nothing_of_the_kind_is_nothing(profile: Files, path: str) -> None:
    assert chosen(profile, path) == []


def test_other_profiles() -> None:
    assert chosen("audio", "/1.flac", "/cover.jpg", "/disc.cue", "/a.mkv") == ["/1.flac", "/cover.jpg", "/disc.cue"]
    assert chosen("books", "/b.epub", "/b.mp3", "/metadata.opf") == ["/b.epub", "/metadata.opf"]


def test_what_importers_are_about() -> None:
    assert main_files(["a.mkv", "a.srt"], "video") == ["a.mkv"]
    assert main_files(["a.srt"], "video") == ["a.srt"] and main_files(["a.x"], "all") == ["a.x"]
    assert is_probed("x/A.MKV") and not is_probed("a.iso") and not is_probed("a.srt")


paths = st.lists(st.text("abS/.mkvprt", max_size=20).map("/".__add__).map(File), max_size=8)


@given(paths, st.sampled_from(get_args(Files)))
def test_a_selection_is_a_part_in_order_and_choosing_again_changes_nothing(files: list[File], profile: Files) -> None:
    found = select(files, profile)
    assert [each for each in files if each in found] == found or len(set(files)) < len(files)
    assert select(found, profile) == found and not any(map(is_junk, found))
