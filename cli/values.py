"""How each kind of value in the configuration is read: sizes, durations, folders, addresses, secrets.

A reader takes what TOML or the environment gives; it answers the value, or refuses it and says the remedy.
"""

import ipaddress
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from cli.problems import refuse
from cli.sizes import parse_duration, parse_size
from debrid.downloads.words import BadWord, check_category
from placement.policies import understood

USUAL_MOUNT_POINT = "X:" if sys.platform == "win32" else "/data"
_LETTER = re.compile(r"[A-Za-z]:\\?")
_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}")
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
# 2**32 - 1 is "no owner" to chown(2).
_MOST_ID = 2**32 - 2


def _size(value: object) -> int:
    try:
        return parse_size(value)
    except ValueError as error:
        raise refuse(f"It {error}.", 'Write a size such as "10GiB", "500 MB", or a whole number of bytes.') from None


def _daily(value: object) -> int:
    text = re.sub(r"\s*/\s*day$", "", value.strip()) if isinstance(value, str) else value
    try:
        return parse_size(text)
    except ValueError as error:
        raise refuse(f"It {error}.", 'Write bytes for a day, such as "20GiB/day".') from None


def _daily_sizes(value: object) -> dict[str, int]:
    if not isinstance(value, dict) or not all(isinstance(name, str) and name for name in value):
        raise refuse("It is not a table of programs.", 'Write it as in { ffmpeg = "20GiB/day" }.')
    return {name: _daily(size) for name, size in value.items()}


def _seconds(value: object) -> float:
    try:
        return parse_duration(value)
    except ValueError as error:
        raise refuse(f"It {error}.", 'Write seconds, as in 15, or a text such as "30s", "10m", "1h".') from None


def _above_zero(value: float) -> float:
    if value <= 0:
        raise refuse("It must be more than zero.", "Write a larger value, or remove the line to use the default.")
    return value


def _unless(word: str | None, read: Callable[[object], object]) -> Callable[[object], object]:
    """A reader that takes `word` for none."""
    return lambda value: None if value in (word, None) else read(value)


def _is_path_text(text: str) -> bool:
    # A name that is not UTF-8 arrives with surrogates and cannot be written to TOML.
    return bool(text) and "\0" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text)


def _folder(value: object) -> Path:
    if not isinstance(value, (str, Path)) or not _is_path_text(str(value)):
        raise refuse("It is not a path.", 'Write an absolute path in quotes, as in "/mnt/disk1".')
    # Path.expanduser raises for an unknown ~user; this leaves it, to be refused below.
    path = Path(os.path.expanduser(value))
    if not path.is_absolute():
        raise refuse("It is not an absolute path.", 'Write the whole path, from the first "/" on.')
    return path


def _mount_point(value: object) -> Path:
    r"""A folder, or on Windows a drive letter, which stands for its root: `X:` is no path from there."""
    if not isinstance(value, (str, Path)) or not _LETTER.fullmatch(str(value)):
        return _folder(value)
    if sys.platform != "win32":
        raise refuse("Only Windows has drive letters.", 'Write an absolute path in quotes, as in "/data".')
    return Path(str(value)[:2].upper() + "\\")


def _policy(value: object) -> str:
    try:
        understood(str(value))
    except ValueError as error:
        raise refuse("There is no such policy.", f'Write it as in policy = "pfrd"; {error}.') from None
    return str(value)


def _pattern(value: object) -> str:
    text = value.strip("/") if isinstance(value, str) and _is_path_text(value) else ""
    if not text or any(part in (".", "..") for part in text.split("/")):
        raise refuse("It is no pattern of paths.", 'Write it as in match = "media/tv/**", relative to the tree.')
    return text


def _umask(value: object) -> int:
    if not isinstance(value, str) or not re.fullmatch(r"0?[0-7]{3}", value):
        raise refuse("It is not an octal mask.", 'Write three octal digits in quotes, as in "022".')
    return int(value, 8)


def _id(value: object) -> object:
    # bool counts as int in Python; `uid = true` is a slip.
    if isinstance(value, bool):
        raise refuse("It is not a number.", "Write a number, as in 1000 (the command `id` shows yours).")
    return value


def _name(value: object) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise refuse("It is not a name.", "Use 1 to 64 letters, digits, dots, dashes and underscores.")
    return value


def _url(value: object) -> str:
    parts = urlsplit(value) if isinstance(value, str) else urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        remedy = "Write an address that starts with https:// and holds no user name or password."
        raise refuse("It is not a web address.", remedy, hide=True)
    return str(value).rstrip("/")


def _secret(value: object) -> object:
    """A token or password. A blank one counts as none: people empty a line rather than remove it."""
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    if text is None or (isinstance(text, str) and not text.strip()):
        return None
    if not isinstance(text, str) or not text.strip().isprintable():
        raise refuse("It is not a plain text.", "Write it in quotes, on one line.", hide=True)
    return text.strip()


def _token(value: object) -> object:
    # It becomes an HTTP header, which takes neither spaces nor letters beyond ASCII.
    text = _secret(value)
    if isinstance(text, str) and (not text.isascii() or " " in text):
        raise refuse("It holds a space or an unusual letter.", "Copy it again from https://real-debrid.com/apitoken .")
    return text


def _api_key(value: object) -> object:
    text = _secret(value)
    if not isinstance(text, str) or not text.isascii() or " " in text:
        raise refuse("It is no api key.", "Copy it from Settings, General of that program.", hide=True)
    return text


def _server_token(value: object) -> object:
    text = _secret(value)
    if not isinstance(text, str) or not text.isascii() or set(text) & set(' "'):
        raise refuse("It is no token.", "Copy the API key of Jellyfin or Emby, or Plex's X-Plex-Token.", hide=True)
    return text


def _server_paths(value: object) -> dict[str, str]:
    remedy = 'Write what the server calls folders of the tree, as in { media = "/media" }; "/" is the whole tree.'
    if not isinstance(value, dict):
        raise refuse("It is not a table of paths.", remedy)
    for folder, told in value.items():
        if not isinstance(told, str) or not _is_path_text(told) or not re.match(r"/|\\\\|[A-Za-z]:[\\/]", told):
            raise refuse("It is not an absolute path.", remedy, at=(folder,), value=told)
        if not _is_path_text(folder) or {".", ".."} & set(folder.split("/")) or "//" in folder:
            raise refuse("It is no folder of the tree.", remedy, at=(folder,))
    return {folder.strip("/"): told for folder, told in value.items()}


def split_address(listen: str) -> tuple[str, int]:
    """Host and port of "host:port" or "[IPv6]:port"; ValueError if it is neither."""
    parts = urlsplit(f"//{listen}")
    if not parts.hostname or parts.port is None or parts.netloc != listen or "@" in listen:
        raise ValueError(listen)
    return parts.hostname, parts.port


def _listen(value: object) -> str:
    try:
        split_address(str(value))
    except ValueError:
        raise refuse("It is not an address with a port.", 'Write it as in "127.0.0.1:8080".', hide=True) from None
    return str(value)


def _hosts(value: object) -> list[str]:
    names = value if isinstance(value, list) else [None]
    if not all(isinstance(each, str) and _HOST.fullmatch(each) for each in names):
        raise refuse("It is not a list of host names.", 'Write names alone, as in ["media.example.org"].')
    return [str(each).lower() for each in names]


def _categories(value: object) -> object:
    """The names of a table of categories; what it holds is checked elsewhere."""
    for name in value if isinstance(value, dict) else ():
        try:
            check_category(name)
        except BadWord:
            remedy = "Use letters and digits, and single slashes between parts; quote it if it has others."
            raise refuse("It cannot be a category.", remedy, at=(name,)) from None
    return value


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


Folder = Annotated[Path, BeforeValidator(_folder)]
MountPoint = Annotated[Path, BeforeValidator(_mount_point)]
Size = Annotated[int, BeforeValidator(_size)]
SomeSize = Annotated[int, BeforeValidator(_size), AfterValidator(_above_zero)]
OwnSize = Annotated[int | None, BeforeValidator(_unless(None, _size))]
DailyOrNone = Annotated[int | None, BeforeValidator(_unless("unlimited", _daily))]
DailySizes = Annotated[dict[str, int], BeforeValidator(_daily_sizes)]
Capacity = Annotated[int | None, BeforeValidator(_unless("auto", _size))]
Seconds = Annotated[float, BeforeValidator(_seconds)]
SomeSeconds = Annotated[float, BeforeValidator(_seconds), AfterValidator(_above_zero)]
Delay = Annotated[float | None, BeforeValidator(_unless("never", _seconds))]
Id = Annotated[int, BeforeValidator(_id), Field(ge=0, le=_MOST_ID)]
Umask = Annotated[int, BeforeValidator(_umask)]
Name = Annotated[str, BeforeValidator(_name)]
Policy = Annotated[str, BeforeValidator(_policy)]
Pattern = Annotated[str, BeforeValidator(_pattern)]
Tier = Annotated[str | None, BeforeValidator(_unless(None, _name))]
Hosts = Annotated[list[str], BeforeValidator(_hosts)]
ByCategory = BeforeValidator(_categories)
Url = Annotated[str, BeforeValidator(_url)]
Listen = Annotated[str, BeforeValidator(_listen)]
Username = Annotated[str | None, BeforeValidator(_secret)]
Password = Annotated[SecretStr | None, BeforeValidator(_secret)]
Title = Annotated[str | None, BeforeValidator(_unless(None, _name))]
ServerToken = Annotated[SecretStr, BeforeValidator(_server_token)]
ServerPaths = Annotated[dict[str, str], BeforeValidator(_server_paths)]
ApiKey = Annotated[SecretStr, BeforeValidator(_api_key)]
Token = Annotated[SecretStr | None, BeforeValidator(_token)]
