import pytest
from hypothesis import given
from hypothesis import strategies as st

from vfs.safenames import LONGEST, original, safe, safe_path, unclash

# What a JSON answer can hold, lone surrogates included.
names = st.text(st.characters(codec=None), max_size=300)


@given(names)
def test_any_name_becomes_one_that_a_directory_can_hold(name: str) -> None:
    made = safe(name)
    assert 0 < len(made.encode()) <= LONGEST
    assert "/" not in made and "\0" not in made and made not in (".", "..", ".mediapool")
    assert all(ord(char) >= 32 and not 0x7F <= ord(char) <= 0x9F for char in made)


@given(names)
def test_the_rule_is_reversible_unless_it_had_to_cut(name: str) -> None:
    made = safe(name)
    if "%~" not in made:
        assert original(made) == name


@given(names, names)
def test_two_names_never_become_one(one: str, other: str) -> None:
    assert (safe(one) == safe(other)) == (one == other)


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="/%"), min_size=1))
def test_ordinary_names_stay_as_they_are(name: str) -> None:
    if len(name.encode()) <= LONGEST and name not in (".", "..", ".mediapool"):
        assert safe(name) == name


@pytest.mark.parametrize(
    ("raw", "made"),
    [
        ("..", "%2E%2E"),
        (".", "%2E"),
        ("", "%"),
        ("a/b", "a%2Fb"),
        ("line\nbreak", "line%0Abreak"),
        ("100% sure", "100% sure"),
        ("50%25", "50%2525"),
        ("ends with %", "ends with %25"),
        (".mediapool", "%2Emediapool"),
        ("日本語.mkv", "日本語.mkv"),
    ],
)
def test_examples(raw: str, made: str) -> None:
    assert safe(raw) == made
    assert original(made) == raw


def test_a_long_name_keeps_its_ending_and_whole_characters() -> None:
    made = safe("ü" * 200 + ".mkv")
    assert made.endswith(".mkv") and "%~" in made and len(made.encode()) <= LONGEST
    made.encode().decode()
    assert made != safe("ü" * 201 + ".mkv")


def test_paths_cannot_climb() -> None:
    assert safe_path("/../../etc/passwd") == ("%2E%2E", "%2E%2E", "etc", "passwd")
    assert safe_path("//Season 1//e01.mkv") == ("Season 1", "e01.mkv")


def test_clashes_get_a_mark_before_the_ending() -> None:
    taken = {"film.mkv"}
    marked = unclash("film.mkv", "hash", taken)
    assert marked.startswith("film%+") and marked.endswith(".mkv") and marked not in taken
    assert unclash("film.mkv", "hash", taken) == marked
    assert unclash("film.mkv", "hash", {*taken, marked}) not in {*taken, marked}
    assert unclash("film.mkv", "other", taken) != marked
    assert unclash("free.mkv", "hash", taken) == "free.mkv"
