"""Writing the configuration file: the commented one at first, later its [[drive]] sections, nothing else.

Drives are added and removed as lines of text. A TOML document model keeps comments too, but it counts a
comment above the next section to the drive before it: removing that drive would take it along. Each result is
parsed and compared with what was meant before it replaces the file.
"""

import re
import stat
import tempfile
import tomllib
from collections.abc import Collection, Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn

import tomlkit
from pydantic.fields import FieldInfo

from cli.config import Config, example_line, fields_of, parse, read, sections
from cli.folders import path_problems
from cli.problems import LISTS, TABLES, ConfigError, Problem
from cli.section import Section
from cli.sizes import format_size
from placement import system as os

_DRIVE_HEADER = re.compile(r'\s*\[\[\s*"?drive"?\s*\]\]\s*(#.*)?')
_ANY_HEADER = re.compile(r"\s*\[")
_CONTENT = re.compile(r"\s*[^\s#]")
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]+")

_INTRODUCTION = """\
# Configuration of mediapool. A line "# key = value" shows a default: remove the "# " to change it.
# Sizes: "10GiB", "500 MB" or bytes. Durations: "1h", "30s" or seconds. Paths are absolute; "~" is your home.
# The environment goes first: MEDIAPOOL_DEBRID__TOKEN=... is [debrid] token.
"""


def write_template(
    path: Path,
    *,
    token: str | None = None,
    drives: Iterable[tuple[str, Path]] = (),
    mount: Path | None = None,
) -> None:
    """Write the commented configuration, readable by its owner alone.

    ConfigError where there is a file already, or where these values make no configuration.
    """
    text = render(token=token, drives=drives, mount=mount)
    parse(text, path)
    if os.path.lexists(path):
        raise ConfigError(path, [Problem((), "It exists already.", "Edit it, or remove it first.")])
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        _not_written(path, error)


def render(*, token: str | None = None, drives: Iterable[tuple[str, Path]] = (), mount: Path | None = None) -> str:
    """The commented configuration: each key with meaning and default; what is given here is not commented."""
    given = {("debrid", "token"): token, ("mount", "path"): None if mount is None else str(mount)}
    models = sections()
    several = {*TABLES, *LISTS}
    single = [_section(name, model, given) for name, model in models.items() if name not in several]
    # None of them is the default, so the header of an example is a comment as well.
    examples = ["# " + _section(name, model, {}) for name, model in models.items() if name in several]
    blocks = [_block({"name": name, "path": str(path)}) for name, path in drives]
    return "\n".join([_INTRODUCTION, *single, *examples, *blocks])


def add_drive(
    file: Path,
    name: str,
    path: Path,
    *,
    mode: str = "rw",
    tier: str | None = None,
    min_free: int | None = None,
    capacity: int | None = None,
) -> Config:
    """Add a [[drive]] section after the last one; the new configuration.

    ConfigError, and the file stays as it is, where the drive cannot be part of the pool.
    """
    sizes = {"min_free": min_free, "capacity": capacity}
    values = {"name": name, "path": str(path)} | ({} if mode == "rw" else {"mode": mode})
    values |= {} if tier is None else {"tier": tier}
    values |= {key: format_size(size) for key, size in sizes.items() if size is not None}
    text = read(file)
    before = path_problems(parse(text, file))
    meant = tomllib.loads(text)
    meant["drive"] = [*meant.get("drive", []), values]
    text = _with_drive(text, values)
    config = _edited(file, text, meant)
    # A disk that is away today is no reason to refuse another one.
    brought = [problem for problem in path_problems(config) if problem not in before]
    if brought:
        raise ConfigError(file, brought)
    _save(file, text)
    return config


def remove_drive(file: Path, name: str) -> Config:
    """Remove the [[drive]] section of this name; the new configuration. The drive itself is not touched."""
    text = read(file)
    names = [drive.name for drive in parse(text, file).drive]
    if name not in names:
        remedy = f"The drives are: {', '.join(names) or 'none'}."
        raise ConfigError(file, [Problem(("drive",), f'There is no drive "{name}".', remedy)])
    meant = tomllib.loads(text)
    del meant["drive"][names.index(name)]
    if not meant["drive"]:
        del meant["drive"]
    text = _without_drive(text, names.index(name))
    config = _edited(file, text, meant)
    _save(file, text)
    return config


def name_for(path: Path, taken: Collection[str]) -> str:
    """A drive name after the folder `path` that is not `taken`."""
    base = _NOT_IN_NAMES.sub("-", path.name).strip("-")[:60] or "disk"
    names = (base if number == 1 else f"{base}{number}" for number in range(1, len(taken) + 2))
    return next(name for name in names if name not in taken)


def _section(name: str, model: type[Section], given: Mapping[tuple[str, str], str | None]) -> str:
    header = f"[[{name}]]" if name in LISTS else f"[{name}.tv]" if name in TABLES else f"[{name}]"
    lines = [f"{header}  # {model.__doc__}"]
    for key, field in fields_of(model).items():
        lines += _explained(key, field, given.get((name, key)))
    return "\n".join(lines) + "\n"


def _explained(key: str, field: FieldInfo, value: str | None) -> list[str]:
    line = f"# {example_line(key, field)}" if value is None else _line(key, value)
    return [f"# {field.description}", line]


def _line(key: str, value: str) -> str:
    return f"{key} = {tomlkit.item(value).as_string()}"


def _block(values: Mapping[str, str]) -> str:
    return "\n".join(["[[drive]]", *(_line(key, value) for key, value in values.items())]) + "\n"


def _with_drive(text: str, values: Mapping[str, str]) -> str:
    lines = text.split("\n")
    spans = _spans(lines)
    if not spans and "drive" in tomllib.loads(text):
        return _with_inline_drive(text, values)
    filled = [number for number, line in enumerate(lines, start=1) if line.strip()]
    end = spans[-1][1] if spans else max(filled, default=0)
    ending = "\r" if "\r\n" in text else ""
    lines[end:end] = [line + ending for line in ["", *_block(values).splitlines()]]
    return "\n".join(lines)


def _without_drive(text: str, index: int) -> str:
    lines = text.split("\n")
    spans = _spans(lines)
    if not spans:
        return _without_inline_drive(text, index)
    start, end = spans[index]
    if start and not lines[start - 1].strip():
        start -= 1
    del lines[start:end]
    return "\n".join(lines)


def _spans(lines: list[str]) -> list[tuple[int, int]]:
    """First line and end of each [[drive]] section; comments after its last key are not part of it."""
    headers = [number for number, line in enumerate(lines) if _ANY_HEADER.match(line)] + [len(lines)]
    return [
        (start, max(number for number in range(start, end) if _CONTENT.match(lines[number])) + 1)
        for start, end in pairwise(headers)
        if _DRIVE_HEADER.fullmatch(lines[start])
    ]


def _with_inline_drive(text: str, values: Mapping[str, str]) -> str:
    document = tomlkit.parse(text)
    table = tomlkit.inline_table()
    table.update(values)
    drives: Any = document["drive"]
    drives.append(table)
    return document.as_string()


def _without_inline_drive(text: str, index: int) -> str:
    document = tomlkit.parse(text)
    drives: Any = document["drive"]
    del drives[index]
    if not drives:
        del document["drive"]
    return document.as_string()


def _edited(file: Path, text: str, meant: dict[str, Any]) -> Config:
    """The configuration in `text`; ConfigError where the edit did not bring what was `meant`."""
    try:
        as_meant = tomllib.loads(text) == meant
    except tomllib.TOMLDecodeError:
        as_meant = False
    if not as_meant:
        remedy = "Edit its [[drive]] sections by hand; docs/using.md shows them."
        raise ConfigError(file, [Problem((), "It is written in a way that cannot be edited for you.", remedy)])
    return parse(text, file)


def _save(file: Path, text: str) -> None:
    try:
        _write_over(Path(os.path.realpath(file)), text)
    except OSError as error:
        _not_written(file, error)


def _write_over(file: Path, text: str) -> None:
    before = file.stat()
    descriptor, temporary = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with open(descriptor, "w", encoding="utf-8", newline="") as out:
            out.write(text)
            os.fchmod(out.fileno(), stat.S_IMODE(before.st_mode))
            if os.geteuid() == 0:
                os.fchown(out.fileno(), before.st_uid, before.st_gid)
            out.flush()
            os.fsync(out.fileno())
        os.replace(temporary, file)
    except OSError:
        os.unlink(temporary)
        raise


def _not_written(file: Path, error: OSError) -> NoReturn:
    problem = Problem((), f"It cannot be written: {error.strerror}.", "Check the folder and its permissions.")
    raise ConfigError(file, [problem]) from None
