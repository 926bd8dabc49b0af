"""Byte sizes and durations as people write them: "10GiB", "500 MB", "1h30m"."""

import re
from fractions import Fraction

# "10G" means GiB, as df, cp and mergerfs read it.
_BYTES = {"": 1, "b": 1}
for _power, _letter in enumerate("kmgtpe", start=1):
    _BYTES |= {_letter: 1024**_power, f"{_letter}ib": 1024**_power, f"{_letter}b": 1000**_power}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)", re.ASCII)
# SQLite and off_t hold no larger number.
_MOST_BYTES = 2**63 - 1

_SECONDS = {
    "ms": Fraction(1, 1000),
    "s": Fraction(1),
    "min": Fraction(60),
    "m": Fraction(60),
    "h": Fraction(3600),
    "d": Fraction(86400),
    "w": Fraction(604800),
}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|min|m|h|d|w)\s*", re.ASCII)
_NUMBER = re.compile(r"\d+(?:\.\d+)?", re.ASCII)
# Past ten years a number is a slip, and far past it time.sleep overflows.
_LONGEST = 3650 * 86400


def parse_size(value: object) -> int:
    """Bytes of `value`, a whole number or a text with a unit; ValueError if it is neither."""
    match = _SIZE.fullmatch(str(value).strip().lower())
    if isinstance(value, bool) or not isinstance(value, (int, str)) or not match:
        raise ValueError("is not a size")
    number, unit = match.groups()
    if unit not in _BYTES:
        raise ValueError(f'has the unknown unit "{unit}"')
    size = int(Fraction(number) * _BYTES[unit])
    if size > _MOST_BYTES:
        raise ValueError("is more than any disk holds")
    return size


def format_size(size: int) -> str:
    """The shortest text that `parse_size` reads as exactly `size`; for people see `output.human_size`."""
    named = {unit: factor for unit, factor in _BYTES.items() if unit.endswith("b")}
    unit = max((unit for unit in named if size % named[unit] == 0 and size), key=named.__getitem__, default="b")
    return f"{size // named[unit]}{unit.upper().replace('IB', 'iB')}"


def parse_duration(value: object) -> float:
    """Seconds of `value`, a number or a text such as "90", "30s" or "1h30m"; ValueError if it is neither."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        seconds = float(value)
    elif isinstance(value, str):
        seconds = _text_seconds(value.strip().lower())
    else:
        raise ValueError("is not a duration")
    if not 0 <= seconds <= _LONGEST:
        raise ValueError("is not between 0 and ten years")
    return seconds


def _text_seconds(text: str) -> float:
    if _NUMBER.fullmatch(text):
        return float(text)
    parts = _PART.findall(text)
    if not parts or _PART.sub("", text):
        raise ValueError("is not a duration")
    return float(sum(Fraction(number) * _SECONDS[unit] for number, unit in parts))
