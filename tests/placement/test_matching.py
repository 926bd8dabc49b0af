"""Patterns of rules and the folders that are kept together."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placement.matching import group_folder, matches


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("media/tv/**", ["media/tv", "media/tv/a", "media/tv/a/b/c.mkv"], ["media", "media/tvx", "x/media/tv/a", ""]),
        ("**", ["", "a", "a/b", "a\nb"], []),
        ("**/*.mkv", ["x.mkv", "a/b/x.mkv", "a/.mkv"], ["x.mkv/a", "xmkv"]),
        ("media/*", ["media/x", "media/a b"], ["media", "media/x/y"]),
        ("a/**/z", ["a/z", "a/b/z", "a/b/c/z"], ["az", "a/zz", "z"]),
        ("media/t?/x", ["media/tv/x"], ["media/t/x", "media/t//x", "media/tvv/x"]),
        ("[ab]*/x", ["a/x", "beta/x"], ["c/x", "/x"]),
        ("[!ab]/x", ["c/x"], ["a/x", "//x"]),
        ("a.b+(c)/^x$", ["a.b+(c)/^x$"], ["aXb+(c)/^x$"]),
        ("[", ["["], ["x"]),
    ],
)
def test_patterns(pattern: str, yes: list[str], no: list[str]) -> None:
    assert [path for path in yes if not matches(pattern, path)] == []
    assert [path for path in no if matches(pattern, path)] == []


@given(st.text(), st.text())
def test_any_pattern_can_be_asked(pattern: str, path: str) -> None:
    assert matches(pattern, path) in (True, False)


@pytest.mark.parametrize(
    ("pattern", "keep", "path", "folder"),
    [
        ("media/movies/**", "folder", "media/movies/Film (2020)/film.mkv", "media/movies/Film (2020)"),
        ("media/movies/**", "folder", "media/movies/Film (2020)/Subs/en.srt", "media/movies/Film (2020)"),
        ("media/movies/**", "folder", "media/movies/film.mkv", ""),
        ("media/tv/**", "season", "media/tv/Show/Season 01/e.mkv", "media/tv/Show/Season 01"),
        ("media/tv/**", "season", "media/tv/Show/Season 01/Subs/e.srt", "media/tv/Show/Season 01"),
        ("media/tv/**", "season", "media/tv/Show/S02/e.mkv", "media/tv/Show/S02"),
        ("media/tv/**", "season", "media/tv/Show/Specials/e.mkv", "media/tv/Show/Specials"),
        ("media/tv/**", "season", "media/tv/Show/Staffel 3/e.mkv", "media/tv/Show/Staffel 3"),
        ("media/tv/**", "season", "media/tv/Show/e.mkv", "media/tv/Show"),
        ("media/tv/**", "season", "media/tv/Show.S01.1080p/e.mkv", "media/tv/Show.S01.1080p"),
        ("media/tv/**", "folder", "media/tv/Show/Season 01/e.mkv", "media/tv/Show"),
        ("**", "folder", "a/b/c/d", "a"),
        ("**", "season", "media/tv/Show/Season 1/e", "media/tv/Show/Season 1"),
        ("media/*/*/*", "folder", "media/tv/Show/e.mkv", "media/tv/Show"),
        ("media/tv/**", "season", "media/tv", ""),
    ],
)
def test_what_is_kept_together(pattern: str, keep: str, path: str, folder: str) -> None:
    assert group_folder(pattern, keep, path) == folder  # type: ignore[arg-type]
