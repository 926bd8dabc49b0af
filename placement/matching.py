"""Patterns of rules, and which folder of a path is kept together on one drive."""

import functools
import re
from typing import Literal

Keep = Literal["season", "folder"]

# How people and programs call the folder of a season; specials count as one.
_SEASON = re.compile(
    r"(season|series|staffel|saison|temporada|stagione|sezon|seizoen)[ ._-]*\d+\b.*|s\d{1,4}|specials?", re.IGNORECASE
)


@functools.lru_cache(maxsize=1024)
def compiled(pattern: str) -> re.Pattern[str]:
    """`pattern` as a regular expression for whole paths, each name with a slash before it.

    `**` stands for any number of folders, `*` and `?` for what is in one name, `[ab]` for one of these letters.
    "media/tv/**" also means the folder media/tv itself.
    """
    parts = [part for part in pattern.split("/") if part]
    text = "".join("(?:/[^/]+)*" if part == "**" else f"/{_name(part)}" for part in parts)
    return re.compile(text, re.DOTALL)


def _name(part: str) -> str:
    """One name of a pattern as a regular expression."""
    found = re.split(r"(\*+|\?|\[!?\]?[^\]]*\])", part)
    return "".join(_piece(piece) for piece in found)


def _piece(piece: str) -> str:
    if piece.startswith("*"):
        return "[^/]*"
    if piece == "?":
        return "[^/]"
    if len(piece) > 2 and piece.startswith("[") and piece.endswith("]"):
        negated = piece.startswith("[!")
        inner = piece[2 if negated else 1 : -1].replace("\\", r"\\").replace("[", r"\[").replace("^", r"\^")
        return f"(?!/)[{'^' if negated else ''}{inner}]"
    return re.escape(piece)


def matches(pattern: str, path: str) -> bool:
    """Whether `path` is one that `pattern` names."""
    return compiled(pattern).fullmatch(f"/{path}" if path else "") is not None


def group_folder(pattern: str, keep: Keep, path: str) -> str:
    """The folder whose files are kept together with `path`, which `pattern` names; "" if there is none.

    For "folder" that is the folder right below what the pattern says before its `**` (of "media/movies/**" that of a
    film), or else the one that `path` lies in. For "season" it is the season's folder below that, if there is one.
    """
    above = path.split("/")[:-1]
    parts = [part for part in pattern.split("/") if part]
    fixed = parts.index("**") if "**" in parts else len(above) - 1
    if not 0 <= fixed < len(above):
        return ""
    length = fixed + 1
    if keep == "season":
        seasons = [number for number, name in enumerate(above) if number >= fixed and _SEASON.fullmatch(name)]
        length = seasons[0] + 1 if seasons else length
    return "/".join(above[:length])
