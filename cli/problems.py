"""What is wrong with a configuration, in words: file, key, value, what is wrong, remedy; never a secret."""

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomlkit
from pydantic import ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

SECRET_KEYS = frozenset({"token", "password", "api_key"})
# Sections whose header has a name of the user's: [client.tv].
TABLES = frozenset({"client"})
# Sections that there may be several of, and how one of them is called.
LISTS = {
    "arr": "arr",
    "media_server": "media server",
    "drive": "drive",
    "placement.rule": "rule",
    "placement.mover": "mover",
}
# Someone who pastes a token into the wrong key must not find it in a log either.
_LIKE_A_TOKEN = re.compile(r"[A-Za-z0-9_-]{32,}")
_LONGEST_VALUE = 80

Where = tuple[str | int, ...]
# For each section its keys, and for each key a line that is right.
Known = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class Problem:
    """One thing wrong at `where`: ("debrid", "token"), ("drive", 1, "path"), or () for the whole file."""

    where: Where
    wrong: str
    remedy: str
    value: str = ""
    note: str = ""

    @property
    def place(self) -> str:
        """The place as it is written in TOML: "[debrid] token"."""
        return _title(self.where)

    def __str__(self) -> str:
        value = f" = {self.value}" if self.value else ""
        note = f"  ({self.note})" if self.note else ""
        title = f"{self.place}{value}{note}"
        return "\n  ".join(part for part in (title.strip(), self.wrong, self.remedy) if part)


class ConfigError(Exception):
    """The configuration cannot be used; `str()` of it is the text for people."""

    def __init__(self, file: Path | None, problems: Iterable[Problem]) -> None:
        self.file = file
        self.problems = tuple(problems)
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        super().__init__("\n\n".join([f"{file or 'configuration'}: {count}", *map(str, self.problems)]))


class ConfigMissing(ConfigError):
    """There is no configuration file; `file` is where it was looked for."""


def refuse(wrong: str, remedy: str, **more: Any) -> PydanticCustomError:
    """What a validator raises.

    `more`: `at`, the rest of the place, for a validator of a whole section, with `value`, what to show of it;
    `hide=True` where the value itself may hold a secret.
    """
    # Texts go through the context, as pydantic reads braces in the template itself.
    return PydanticCustomError("refused", "{wrong}", {"wrong": wrong, "remedy": remedy, **more})


def from_validation(error: ValidationError, known: Known, notes: Mapping[Where, str]) -> list[Problem]:
    """The problems of a failed validation. `notes`: what to say beside a value that is not from the file."""
    return [_problem(details, known, notes) for details in error.errors(include_url=False)]


def shown(value: object) -> str:
    """`value` as TOML; empty where it is not a plain value or may be a secret."""
    if not isinstance(value, (str, int, float, Path)) or _LIKE_A_TOKEN.fullmatch(str(value)):
        return ""
    text = tomlkit.item(str(value) if isinstance(value, Path) else value).as_string()
    # A path is of no use without its end.
    whole = isinstance(value, Path) or len(text) <= _LONGEST_VALUE
    return text if whole else f"{text[:_LONGEST_VALUE]}..."


def _problem(details: ErrorDetails, known: Known, notes: Mapping[Where, str]) -> Problem:
    context = details.get("ctx", {})
    where = (*details["loc"], *context.get("at", ()))
    note = next((notes[where[:length]] for length in range(len(where), 0, -1) if where[:length] in notes), "")
    if details["type"] == "extra_forbidden":
        # The value of an unknown key stays hidden: it may be a token under a mistyped name.
        return _unknown(where, known, note)
    if details["type"] == "missing":
        return Problem(where, "It is missing.", f"Add it, as in: {_example(where, known)}", note=note)
    wrong = context.get("wrong") or f"{details['msg']}."
    remedy = context.get("remedy") or f"Write it as in: {_example(where, known)}"
    value = "" if context.get("hide") or where[-1] in SECRET_KEYS else shown(context.get("value", details["input"]))
    return Problem(where, wrong, remedy, value, note)


def _unknown(where: Where, known: Known, note: str = "") -> Problem:
    names = list(known) if len(where) == 1 else list(known[_section(where)])
    kind = "section" if len(where) == 1 else "key"
    near = difflib.get_close_matches(str(where[-1]), names, n=1)
    remedy = f'Did you mean "{near[0]}"?' if near else f"Remove it. Known here: {', '.join(names)}."
    return Problem(where, f"mediapool has no such {kind}.", remedy, note=note)


def unknown_section(section: str, known: Known, note: str) -> Problem:
    """The problem of a section that does not exist."""
    return _unknown((section,), known, note)


def _example(where: Where, known: Known) -> str:
    section = known.get(_section(where), {})
    return section.get(str(where[-1]), f"[{where[0]}] with its keys: {', '.join(section)}")


def _section(where: Where) -> str:
    """The section that a place lies in: "placement.rule" for what is in a rule, else its first part."""
    inner = ".".join(str(part) for part in where[:2])
    return inner if inner in LISTS and len(where) > 2 else str(where[0])


def _title(where: Where) -> str:
    """As the place is written in TOML; the second drive's path is `[[drive]] path (drive 2)`."""
    if not where:
        return ""
    tables = _section(where)
    brackets = f"[[{tables}]]" if tables in LISTS else f"[{tables}]"
    number = next((part for part in where if isinstance(part, int)), None)
    keys = [part for part in where[tables.count(".") + 1 :] if isinstance(part, str)]
    if tables in TABLES and keys:
        brackets = f"[{tables}.{keys.pop(0)}]"
    return " ".join([brackets, *keys, *([] if number is None else [f"({LISTS.get(tables, 'entry')} {number + 1})"])])
