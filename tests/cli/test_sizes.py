"""Sizes and durations as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.sizes import format_size, parse_duration, parse_size

MOST = 2**63 - 1


@given(st.integers(0, MOST))
def test_a_formatted_size_reads_as_the_same(size: int) -> None:
    assert parse_size(format_size(size)) == size
    assert parse_size(size) == parse_size(str(size)) == size


@given(st.integers(0, 999), st.sampled_from("kmgtp"), st.sampled_from(["", " ", "  "]))
def test_units_of_sizes(number: int, letter: str, space: str) -> None:
    power = "kmgtp".index(letter) + 1
    assert parse_size(f"{number}{space}{letter}iB") == number * 1024**power
    assert parse_size(f"{number}{space}{letter.upper()}") == number * 1024**power
    assert parse_size(f"{number}{space}{letter}b") == number * 1000**power


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("10GiB", 10 * 2**30),
        ("500 MB", 500_000_000),
        ("1.5KiB", 1536),
        ("0.1 KiB", 102),
        ("7", 7),
        (" 7 B ", 7),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0B"), (1, "1B"), (1024, "1KiB"), (1000, "1KB"), (10 * 2**30, "10GiB"), (1536, "1536B")],
)
def test_formatted_sizes(size: int, text: str) -> None:
    assert format_size(size) == text


@pytest.mark.parametrize("value", ["", "GiB", "ten", "1 QB", "-1", "1,5 GB", "1e3", True, None, 1.5, [], -1, "9EiB"])
def test_what_is_no_size(value: object) -> None:
    with pytest.raises(ValueError):
        parse_size(value)


@given(st.dictionaries(st.sampled_from(["w", "d", "h", "m", "s"]), st.integers(0, 99), min_size=1))
def test_durations_add_up(parts: dict[str, int]) -> None:
    factors = {"w": 604800, "d": 86400, "h": 3600, "m": 60, "s": 1}
    text = " ".join(f"{number}{unit}" for unit, number in parts.items())
    assert (
        parse_duration(text)
        == parse_duration(text.replace(" ", ""))
        == sum(number * factors[unit] for unit, number in parts.items())
    )


@given(st.floats(0, 3650 * 86400))
def test_numbers_are_seconds(seconds: float) -> None:
    assert parse_duration(seconds) == seconds
    assert parse_duration(f"{seconds:f}") == float(f"{seconds:f}")


@pytest.mark.parametrize(("text", "seconds"), [("250ms", 0.25), ("0.1s", 0.1), ("1.5 h", 5400), ("5 MIN", 300)])
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "value",
    ["", "soon", "1x", "5 10", "s", "-1s", -1, True, None, float("nan"), float("inf"), "1h later", "4000d"],
)
def test_what_is_no_duration(value: object) -> None:
    with pytest.raises(ValueError):
        parse_duration(value)
