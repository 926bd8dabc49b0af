"""The configuration: its keys, where their values come from, and which combinations make no sense.

A TOML file, over it the environment (`MEDIAPOOL_SECTION__KEY`). Nothing here looks at folders: see `folders`.
Defaults are written as a person would write them and are read like any other value, so the commented file
that `config_file` writes shows the same texts.
"""

import os
import shlex
import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlsplit

import platformdirs
import tomlkit
from pydantic import (
    Field,
    PrivateAttr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from cli import values
from cli.config_arr import ArrConfig
from cli.config_client import ClientConfig
from cli.config_servers import MediaServerConfig
from cli.placement_config import MoverConfig, PlacementConfig, RuleConfig
from cli.problems import (
    SECRET_KEYS,
    ConfigError,
    ConfigMissing,
    Known,
    Problem,
    Where,
    from_validation,
    refuse,
    unknown_section,
)
from cli.section import Section, key
from debrid.downloads.record import Wanted

_APP = "mediapool"
# Bytes; with less there is no room for one stream and one reader beside it.
LEAST_MEMORY = 8 << 20
_PREFIX = "MEDIAPOOL_"


def _is_root() -> bool:
    return _user() == 0


# Windows has no such ids.
def _user() -> int:
    return os.getuid() if hasattr(os, "getuid") else 0


def _group() -> int:
    return os.getgid() if hasattr(os, "getgid") else 0


def _state_folder() -> str:
    return platformdirs.user_state_dir(_APP, appauthor=False)


def _cache_folder() -> str:
    return platformdirs.user_cache_dir(_APP, appauthor=False)


class MountConfig(Section):
    """Where the tree appears and how it looks to the system."""

    path: values.MountPoint = key(
        values.USUAL_MOUNT_POINT, "The folder where the tree appears: empty, and outside every drive."
    )
    allow_other: bool = key(_is_root, "Let other users in. Default: true for root, else false.")
    uid: values.Id = key(_user, "User id that owns remote files. Default: the user who mounts.")
    gid: values.Id = key(_group, "Group id that owns remote files. Default: the group of the user who mounts.")
    umask: values.Umask = key("022", "Permissions that remote files lack, three octal digits.")
    cache_seconds: values.Seconds = key(1, "How long the kernel may keep names and attributes; 0: not at all.")
    passthrough: Literal["auto", "off"] = key(
        "auto", "Let the kernel read and write local files by itself where it can, at the speed of the disk."
    )
    passthrough_room: values.Size = key(
        "64GiB", "Files on a drive with less room are written through mediapool, which moves them when it is full."
    )


class DebridConfig(Section):
    """The Real-Debrid account."""

    token: values.Token = key(
        None,
        "From https://real-debrid.com/apitoken . Without one the drives are mounted alone.",
        "YOUR-TOKEN",
    )
    api_url: values.Url = key(
        "https://api.real-debrid.com/rest/1.0",
        "Address of the API. Change it only for the simulator or a proxy.",
    )
    poll_seconds: values.SomeSeconds = key(15, "How often the account is asked for news.")
    read_deadline: values.SomeSeconds = key(30, "A read that takes longer ends with an input/output error.")
    delete_after: values.Delay = key(
        "1h", 'A torrent without any name left leaves the account after this time, or "never".'
    )
    program_limits: values.DailySizes = key(
        {}, 'Remote bytes a day by program, as in { ffmpeg = "20GiB/day" }; more give an input/output error.'
    )
    background_budget: values.DailyOrNone = key(
        "20GiB/day", 'Remote bytes a day for probes, warming, repair and checks together, or "unlimited".'
    )


class CacheConfig(Section):
    """The disk cache of remote files."""

    path: values.Folder = key(_cache_folder, "Folder of the cache, outside the drives and the mount point.")
    size: values.SomeSize = key("10GiB", "The most that the cache holds.")
    min_free: values.Size = key("2GiB", "Free space that the cache leaves on its disk.")
    memory: values.Size = key("128MiB", "The most memory for remote bytes on their way.")

    @field_validator("memory")
    @classmethod
    def _enough(cls, memory: int) -> int:
        if memory < LEAST_MEMORY:
            raise refuse("It is too little to read with.", 'Give at least "8MiB".')
        return memory


class HttpConfig(Section):
    """The page and the API of a running mount, which Sonarr and Radarr talk to as well."""

    listen: values.Listen = key("127.0.0.1:8080", "Address and port. Port 0: any free one.")
    username: values.Username = key(None, "Needed, with password, where other machines reach the address.", "media")
    password: values.Password = key(None, "Goes with username.", "A-LONG-PASSWORD")
    hosts: values.Hosts = key([], "Names with a dot by which this machine is asked, as behind a reverse proxy.")
    torrent_hosts: values.Hosts = key([], "Hosts that .torrent files are fetched from when a client gives an address.")

    @property
    def address(self) -> tuple[str, int]:
        """Host and port to listen on."""
        return values.split_address(self.listen)

    @model_validator(mode="after")
    def _guarded(self) -> "HttpConfig":
        if (self.username is None) != (self.password is None):
            lacking = "username" if self.username is None else "password"
            raise refuse("It is missing.", "Set username and password, or neither.", at=(lacking,))
        if self.password is None and not values.is_loopback(self.address[0]):
            wrong = "Other machines reach this address, and there is no username and password."
            remedy = 'Set [http] username and password, or write listen = "127.0.0.1:8080".'
            raise refuse(wrong, remedy, at=("listen",), value=self.listen)
        return self


class StateConfig(Section):
    """What mediapool has to remember."""

    path: values.Folder = key(_state_folder, "Folder of its databases, outside the drives and the mount point.")


class DriveConfig(Section):
    """One drive of the pool; one such section for each."""

    name: values.Name = Field(description="Short name, used in commands.", examples=["disk1"])
    path: values.Folder = Field(description="Root folder of the drive.", examples=["/mnt/disk1"])
    mode: Literal["rw", "ro", "nc"] = key("rw", "rw read and write, ro read only, nc no new files.")
    tier: values.Tier = key(
        None, "What rules call it: a word of yours, or what it is found to be: ssd, hdd or network.", "fast"
    )
    min_free: values.OwnSize = key(
        None, "Free space that new files leave on this drive. Default: that of [placement].", "5GiB"
    )
    capacity: values.Capacity = key("auto", 'The most that is placed on this drive; "auto": as much as fits.')


class Config(BaseSettings):
    """The whole configuration, made by `load` or `parse`; the names of its fields are those in the file."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", validate_default=True, hide_input_in_errors=True)

    mount: MountConfig = Field(default_factory=MountConfig)
    debrid: DebridConfig = Field(default_factory=DebridConfig)
    placement: PlacementConfig = Field(default_factory=PlacementConfig)
    cache: CacheConfig = Field(default_factory=CacheConfig)
    http: HttpConfig = Field(default_factory=HttpConfig)
    state: StateConfig = Field(default_factory=StateConfig)
    client: Annotated[dict[str, ClientConfig], values.ByCategory] = Field(default_factory=dict)
    arr: tuple[ArrConfig, ...] = ()
    media_server: tuple[MediaServerConfig, ...] = ()
    drive: tuple[DriveConfig, ...] = ()

    _file: Path | None = PrivateAttr(None)
    _warnings: tuple[str, ...] = PrivateAttr(())

    @property
    def file(self) -> Path | None:
        """The file it was read from."""
        return self._file

    @property
    def warnings(self) -> tuple[str, ...]:
        """What people should be told, although the configuration can be used."""
        return self._warnings

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what `parse` passes: the environment is merged there, to say where a wrong value came from."""
        return (init_settings,)

    def wanted(self, category: str) -> Wanted:
        """What is configured for the downloads of a category."""
        found = self.client.get(category) or ClientConfig()
        return Wanted(found.uncached, found.keep, found.import_, found.files)

    @field_validator("drive")
    @classmethod
    def _distinct(cls, drives: tuple[DriveConfig, ...]) -> tuple[DriveConfig, ...]:
        for index, drive in enumerate(drives):
            earlier = drives[:index]
            if any(other.name == drive.name for other in earlier):
                remedy = "Give each drive a name of its own."
                raise refuse("Two drives have this name.", remedy, at=(index, "name"), value=drive.name)
            if any(other.path == drive.path for other in earlier):
                remedy = "Remove one of the two [[drive]] sections."
                raise refuse("Two drives have this path.", remedy, at=(index, "path"), value=drive.path)
        return drives

    @model_validator(mode="after")
    def _named(self) -> "Config":
        known = [drive.name for drive in self.drive]
        for number, rule in enumerate(self.placement.rule):
            unknown = [name for name in rule.drives if name not in known]
            if unknown:
                remedy = f"The drives are: {', '.join(known) or 'none'}."
                at = ("placement", "rule", number, "drives")
                raise refuse("There is no such drive.", remedy, at=at, value=unknown[0])
        return self


def sections() -> dict[str, type[Section]]:
    """The model of each section, in the order of the file."""
    return {name: _section(field) for name, field in Config.model_fields.items()}


def _section(field: FieldInfo) -> type[Section]:
    models = (each for each in (*get_args(field.annotation), field.annotation) if isinstance(each, type))
    return next(each for each in models if issubclass(each, Section))


def fields_of(model: type[Section]) -> dict[str, FieldInfo]:
    """The keys of a section as they are written in the file; some are no names to Python."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def has_default(field: FieldInfo) -> bool:
    """Whether leaving the key out means some value, rather than none."""
    return not field.is_required() and field.get_default(call_default_factory=True) is not None


def example_line(key: str, field: FieldInfo) -> str:
    """`key = value` as TOML, with the default, or an example where there is none."""
    value = field.get_default(call_default_factory=True) if has_default(field) else (field.examples or [""])[0]
    # A table of its own lines would end the section.
    text = "{}" if value == {} else tomlkit.item(value).as_string()
    return f"{key} = {text}"


def _known() -> Known:
    models: dict[str, type[Section]] = {**sections(), "placement.rule": RuleConfig, "placement.mover": MoverConfig}
    return {
        name: {key: example_line(key, field) for key, field in fields_of(model).items()}
        for name, model in models.items()
    }


def find() -> Path:
    """Where the configuration is without `--config`: in the platform's folder for this user, root or not."""
    return Path(platformdirs.user_config_dir(_APP, appauthor=False)) / "mediapool.toml"


def load(path: Path | None, environ: Mapping[str, str]) -> Config:
    """The configuration in `path` (else in `find()`) with the environment over it.

    ConfigMissing without that file; ConfigError names all that is wrong. Folders are not looked at.
    """
    file = path or find()
    text = read(file)
    config = parse(text, file, environ)
    config._warnings = tuple(_warnings(config, tomllib.loads(text), file))
    return config


def parse(text: str, file: Path | None = None, environ: Mapping[str, str] | None = None) -> Config:
    """The configuration in this TOML, which stands in `file`. ConfigError names all that is wrong."""
    data = _toml(text, file)
    overrides = _from_environment(environ or {}, file)
    notes = {where: f"from the environment variable {_variable(where)}" for where in _places(overrides)}
    try:
        config = Config.model_validate(_merged(data, overrides))
    except ValidationError as error:
        raise ConfigError(file, from_validation(error, _known(), notes)) from None
    config._file = file
    return config


def read(file: Path) -> str:
    """The text of `file`; ConfigMissing, or ConfigError where it cannot be read."""
    try:
        # Editors on Windows begin a file with a byte order mark, which TOML does not know.
        return file.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        problem = Problem(
            (), "There is no such file.", "Write one with `mediapool init`, or name one with --config FILE."
        )
        raise ConfigMissing(file, [problem]) from None
    except UnicodeDecodeError:
        raise ConfigError(file, [Problem((), "It is not UTF-8 text.", "Save it as UTF-8.")]) from None
    except OSError as error:
        remedy = "Check the path and its permissions, or name another file with --config FILE."
        raise ConfigError(file, [Problem((), f"It cannot be read: {error.strerror}.", remedy)]) from None


def _toml(text: str, file: Path | None) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        remedy = 'Mend that line; texts stand in quotes, as in path = "/data".'
        raise ConfigError(file, [Problem((), f"It is not valid TOML: {error}.", remedy)]) from None


def _from_environment(environ: Mapping[str, str], file: Path | None) -> dict[str, Any]:
    """What MEDIAPOOL_SECTION__KEY and MEDIAPOOL_DRIVE (JSON) say; other MEDIAPOOL_ names belong to others."""
    known = _known()
    unknown = [
        unknown_section(section.lower(), known, f"from the environment variable {name}")
        for name in sorted(environ)
        for section, delimiter, _ in [name.removeprefix(_PREFIX).partition("__")]
        if name.startswith(_PREFIX) and delimiter and section.lower() not in known
    ]
    if unknown:
        raise ConfigError(file, unknown)
    source = EnvSettingsSource(Config, env_prefix=_PREFIX, env_nested_delimiter="__")
    # An empty variable is an unset one, as compose files pass it.
    source.env_vars = {name.lower(): value for name, value in environ.items() if value}
    try:
        return source()
    except SettingsError:
        # Its text quotes the value, which may hold a token.
        remedy = """Write JSON, as in MEDIAPOOL_DRIVE='[{"name": "disk1", "path": "/mnt/disk1"}]'."""
        wrong = "A variable for a whole section or table (MEDIAPOOL_DRIVE, MEDIAPOOL_MOUNT, ...) is not JSON."
        raise ConfigError(file, [Problem((), wrong, remedy)]) from None


def _merged(data: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    both = {key: {**data[key], **value} for key, value in over.items() if isinstance(data.get(key), dict)}
    return {**data, **over, **both}


def _places(overrides: dict[str, Any]) -> list[Where]:
    return [
        (section, key) if isinstance(value, dict) else (section,)
        for section, value in overrides.items()
        for key in (value if isinstance(value, dict) else [""])
    ]


def _variable(where: Where) -> str:
    return _PREFIX + "__".join(str(part).upper() for part in where)


def _warnings(config: Config, data: dict[str, Any], file: Path) -> list[str]:
    texts = []
    parts = [part for section in data.values() for part in (section if isinstance(section, list) else [section])]
    held = [key for part in parts for key in SECRET_KEYS if isinstance(part, dict) and part.get(key)]
    # Windows shows mode bits that mean nothing.
    if held and os.name == "posix" and file.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
        texts.append(f"Other users can read the {held[0]} in {file}: chmod 600 {shlex.quote(str(file))}")
    address = urlsplit(config.debrid.api_url)
    if config.debrid.token and address.scheme == "http" and not values.is_loopback(address.hostname or ""):
        texts.append(f"[debrid] api_url {config.debrid.api_url} sends the token unencrypted: use https://")
    return texts
