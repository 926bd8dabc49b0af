"""The configuration: keys, environment, refusals in words, secrets, and the promises of docs/using.md."""

import json
import os
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from cli import config as config_module
from cli.config import Config, example_line, fields_of, find, load, parse, sections
from cli.problems import LISTS, TABLES, ConfigError, ConfigMissing, Problem

USING = Path(__file__).parents[2] / "docs" / "using.md"
SECRET = "Q7SECRETSECRET"
KEYS = [(section, key) for section, model in sections().items() for key in fields_of(model)]
ARR = '[[arr]]\nkind = "sonarr"\nurl = "http://127.0.0.1:8989"\n'
SERVER = '[[media_server]]\nkind = "plex"\nurl = "http://127.0.0.1:32400"\n'
DRIVE = '[[drive]]\nname = "disk1"\npath = "/mnt/disk1"\n'


def refusal(text: str, environ: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(text, Path("/etc/x.toml"), environ)
    message = str(caught.value)
    assert message.startswith("/etc/x.toml: ")
    return message


def documented() -> dict[tuple[str, str], tuple[str, str, str]]:
    """Unit, default and example of each key in docs/using.md."""
    rows: dict[tuple[str, str], tuple[str, str, str]] = {}
    section = ""
    for line in USING.read_text().splitlines():
        if match := re.fullmatch(r"### \[+(\w+)\]+", line):
            section = match[1]
        if match := re.fullmatch(r"\| `(\w+)` \| .+ \| (.+) \| (.+) \| `(.+)` \|", line):
            rows[section, match[1]] = (match[2], match[3], match[4])
    return rows


def test_defaults_are_those_of_the_issue() -> None:
    config = parse("")
    assert config.mount.path == Path("/data")
    assert (config.mount.uid, config.mount.gid, config.mount.umask) == (os.getuid(), os.getgid(), 0o022)
    assert config.mount.cache_seconds == 1
    assert config.debrid.token is None
    assert config.debrid.api_url == "https://api.real-debrid.com/rest/1.0"
    assert (config.debrid.poll_seconds, config.debrid.read_deadline, config.debrid.delete_after) == (
        15,
        30,
        3600,
    )
    assert (config.placement.policy, config.placement.path_preserving) == ("pfrd", False)
    assert config.placement.min_free == 2**30
    assert (config.cache.size, config.cache.min_free, config.cache.memory) == (
        10 * 2**30,
        2 * 2**30,
        128 * 2**20,
    )
    assert config.http.address == ("127.0.0.1", 8080)
    assert config.drive == ()


@pytest.mark.parametrize("user", [0, 1000])
def test_root_lets_others_in_by_default(user: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: user)
    assert parse("").mount.allow_other is (user == 0)


def test_a_drive_has_defaults_and_values() -> None:
    text = DRIVE + '[[drive]]\nname = "b"\npath = "/b"\nmode = "nc"\ntier = "slow"\nmin_free = "1KB"\ncapacity = "2TB"'
    first, second = parse(text).drive
    assert (first.mode, first.tier, first.min_free, first.capacity) == ("rw", None, None, None)
    assert (second.mode, second.tier, second.min_free, second.capacity) == ("nc", "slow", 1000, 2 * 10**12)


def test_home_is_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    assert parse('[mount]\npath = "~/data"').mount.path == Path("/home/someone/data")


def test_never_is_no_delay() -> None:
    assert parse('[debrid]\ndelete_after = "never"').debrid.delete_after is None


def test_a_blank_token_is_none() -> None:
    assert parse('[debrid]\ntoken = " "').debrid.token is None


def test_a_configuration_cannot_be_changed() -> None:
    config: Any = parse("")
    with pytest.raises(ValueError, match="frozen"):
        config.mount.path = Path("/x")


@pytest.mark.parametrize("listen", ["[::1]:80", "localhost:0", "127.9.9.9:65535"])
def test_loopback_needs_no_password(listen: str) -> None:
    assert parse(f'[http]\nlisten = "{listen}"').http.listen == listen


def test_other_machines_need_a_password() -> None:
    config = parse(f'[http]\nlisten = "0.0.0.0:80"\nusername = "me"\npassword = "{SECRET}"')
    assert config.http.password is not None
    assert config.http.password.get_secret_value() == SECRET


REFUSED = [
    ('[mount]\npath = "data"', '[mount] path = "data"', "Write the whole path"),
    ('[mount]\npath = "~no-such-user/x"', '[mount] path = "~no-such-user/x"', "Write the whole path"),
    ("[mount]\npath = 5", "[mount] path = 5", "absolute path in quotes"),
    ('[mount]\npath = ""', '[mount] path = ""', "absolute path in quotes"),
    ('[mount]\npath = "/a\\u0000b"', "[mount] path", "absolute path in quotes"),
    ('[mount]\nallow_other = "perhaps"', '[mount] allow_other = "perhaps"', "allow_other = "),
    ("[mount]\nuid = true", "[mount] uid = true", "Write a number"),
    ("[mount]\ngid = -1", "[mount] gid = -1", "gid = "),
    ("[mount]\nuid = 4294967295", "[mount] uid = 4294967295", "uid = "),
    ("[mount]\numask = 22", "[mount] umask = 22", 'as in "022"'),
    ('[mount]\numask = "089"', '[mount] umask = "089"', 'as in "022"'),
    ('[mount]\ncache_seconds = "soon"', '[mount] cache_seconds = "soon"', '"30s"'),
    ("[debrid]\npoll_seconds = 0", "[debrid] poll_seconds = 0", "larger value"),
    ("[debrid]\nread_deadline = -5", "[debrid] read_deadline = -5", "Write seconds"),
    ('[debrid]\ndelete_after = "late"', '[debrid] delete_after = "late"', '"1h"'),
    ('[debrid]\napi_url = "ftp://x"', "[debrid] api_url", "https://"),
    ('[debrid]\ntoken = "two words"', "[debrid] token", "https://real-debrid.com/apitoken"),
    ("[debrid]\ntoken = 5", "[debrid] token", "in quotes"),
    ('[placement]\npolicy = "best"', '[placement] policy = "best"', 'policy = "pfrd"'),
    ('[[placement.rule]]\npolicy = "best"', '[[placement.rule]] policy (rule 1) = "best"', "there are: ff"),
    ('[[placement.rule]]\nmatch = "../x"', '[[placement.rule]] match (rule 1) = "../x"', "relative to the tree"),
    ('[[placement.rule]]\nkeep_together = "x"', "[[placement.rule]] keep_together", 'together = "season"'),
    ('[[placement.rule]]\npolcy = "ff"', "[[placement.rule]] polcy (rule 1)", 'Did you mean "policy"?'),
    ('[[placement.rule]]\ntier = "a"\ndrives = ["b"]', '[[placement.rule]] tier (rule 1) = "a"', "Name one"),
    ('[[placement.rule]]\ndrives = ["b"]', '[[placement.rule]] drives (rule 1) = "b"', "The drives are: none."),
    ('[[placement.mover]]\nsource = "ssd"', "[[placement.mover]] target (mover 1)", 'target = "hdd"'),
    (
        '[[placement.mover]]\nsource = "a"\ntarget = "b"\nabove = 101',
        "[[placement.mover]] above (mover 1) = 101",
        "from 0 to 100",
    ),
    ("[placement]\nrule = 5", "[placement] rule = 5", "rule = []"),
    ('[placement]\nmin_free = "much"', '[placement] min_free = "much"', '"10GiB"'),
    ('[cache]\nsize = "0"', '[cache] size = "0"', "larger value"),
    ('[cache]\nmemory = "1 QB"', '[cache] memory = "1 QB"', '"10GiB"'),
    ('[http]\nlisten = "8080"', "[http] listen", '"127.0.0.1:8080"'),
    ('[http]\nlisten = "localhost:99999"', "[http] listen", '"127.0.0.1:8080"'),
    ('[http]\nlisten = "0.0.0.0:8080"', '[http] listen = "0.0.0.0:8080"', "Set [http] username and password"),
    ('[http]\nusername = "me"', "[http] password", "Set username and password, or neither"),
    ('[http]\npassword = "x"', "[http] username", "Set username and password, or neither"),
    ('[state]\npath = "s"', '[state] path = "s"', "Write the whole path"),
    ('[client.tv]\nuncached = "no"', '[client.tv] uncached = "no"', 'uncached = "wait"'),
    ('[client.tv]\nkep = "pin"', "[client.tv] kep", 'Did you mean "keep"?'),
    ('[client.tv]\nimport = "copy"', '[client.tv] import = "copy"', 'import = "link"'),
    ('[client."a//b"]\nfiles = "all"', "[client.a//b]", "single slashes"),
    ('[http]\nhosts = "a b"', "[http] hosts", "media.example.org"),
    ('[[drive]]\nname = "a"', "[[drive]] path (drive 1)", 'path = "/mnt/disk1"'),
    ('[[drive]]\npath = "/a"', "[[drive]] name (drive 1)", 'name = "disk1"'),
    (ARR, "[[arr]] api_key (arr 1)", 'api_key = "YOUR-API-KEY"'),
    (ARR + 'api_key = "two words"', "[[arr]] api_key (arr 1)", "Settings, General"),
    (ARR + 'api_key = ""', "[[arr]] api_key (arr 1)", "Settings, General"),
    (ARR.replace("sonarr", "plex") + 'api_key = "x"', '[[arr]] kind (arr 1) = "plex"', 'kind = "sonarr"'),
    (ARR.replace("http://", "") + 'api_key = "x"', "[[arr]] url (arr 1)", "https://"),
    (SERVER, "[[media_server]] token (media server 1)", 'token = "YOUR-TOKEN"'),
    (SERVER + 'token = "two words"', "[[media_server]] token (media server 1)", "X-Plex-Token"),
    (SERVER.replace("plex", "kodi") + 'token = "x"', 'kind (media server 1) = "kodi"', 'kind = "plex"'),
    (SERVER + 'token = "x"\npaths = "/data"', '[[media_server]] paths (media server 1) = "/data"', 'media = "/media"'),
    (SERVER + 'token = "x"\npaths = { a = "b" }', '[[media_server]] paths a (media server 1) = "b"', '"/" is the'),
    (SERVER + 'token = "x"\npaths = { "../a" = "/b" }', "paths ../a (media server 1)", "no folder of the tree"),
    (SERVER + 'token = "x"\nchanges = "few"', 'changes (media server 1) = "few"', 'changes = "all"'),
    (SERVER + 'token = "x"\ndebounce_seconds = -1', "debounce_seconds (media server 1) = -1", "Write seconds"),
    (DRIVE + 'mode = "x"', '[[drive]] mode (drive 1) = "x"', 'mode = "rw"'),
    (DRIVE + 'capacity = "all"', '[[drive]] capacity (drive 1) = "all"', '"10GiB"'),
    (DRIVE + 'min_free = "all"', '[[drive]] min_free (drive 1) = "all"', '"10GiB"'),
    (DRIVE + 'tier = ""', '[[drive]] tier (drive 1) = ""', "letters, digits"),
    ('[[drive]]\nname = "a/b"\npath = "/a"', '[[drive]] name (drive 1) = "a/b"', "letters, digits"),
    (f'[[drive]]\nname = "{"a " * 33}"\npath = "/a"', "[[drive]] name (drive 1)", "1 to 64"),
    (
        DRIVE + '[[drive]]\nname = "disk1"\npath = "/b"',
        '[[drive]] name (drive 2) = "disk1"',
        "a name of its own",
    ),
    (
        DRIVE + '[[drive]]\nname = "b"\npath = "/mnt/disk1/"',
        '[[drive]] path (drive 2) = "/mnt/disk1"',
        "Remove one",
    ),
    ("[mount]\npaht = 1", "[mount] paht", 'Did you mean "path"?'),
    ("[cache]\nzzz = 1", "[cache] zzz", "Known here: path, size, min_free, memory."),
    ("[debird]", "[debird]", 'Did you mean "debrid"?'),
    ("mount = 5", "[mount] = 5", "[mount] with its keys: path"),
    ('drive = "x"', '[[drive]] = "x"', "[drive] with its keys: name"),
    ("[mount", "It is not valid TOML", "Mend that line"),
]


@pytest.mark.parametrize(("text", "place", "remedy"), REFUSED)
def test_refusals_name_the_key_the_value_and_the_remedy(text: str, place: str, remedy: str) -> None:
    message = refusal(text)
    assert place in message
    assert remedy in message
    assert "1 problem" in message.splitlines()[0]


def test_all_problems_are_told_at_once() -> None:
    message = refusal('[mount]\nuid = "x"\n[cache]\nsize = "y"')
    assert "2 problems" in message
    assert "[mount] uid" in message and "[cache] size" in message


def test_there_is_a_refusal_test_for_each_section() -> None:
    assert {re.sub(r"\W", "", re.split("[ .]", place)[0]) for _, place, _ in REFUSED} >= set(sections())


@pytest.mark.parametrize(
    "text",
    [
        f'[debrid]\ntoken = "{SECRET} x"',
        f'[debrid]\ntokn = "{SECRET}"',
        f'[debird]\ntoken = "{SECRET}"',
        f'debrid = "{SECRET * 4}"',
        f'[debrid]\npoll_seconds = "{SECRET * 4}"',
        f'[debrid]\napi_url = "https://me:{SECRET}@host/x"',
        f'[http]\nlisten = "me:{SECRET}@0.0.0.0:80"',
        f'[http]\npassword = "{SECRET}"',
        f'[http]\npassword = ["{SECRET}"]',
        f'[debrid]\ntoken = "{SECRET}',
        f'[debrid]\ntoken = {{ value = "{SECRET}" }}',
        f'[[arr]]\nkind = "sonarr"\nurl = "http://me:{SECRET}@host"',
        f'{ARR}api_key = "{SECRET} x"',
        f'{ARR}api_key = ["{SECRET}"]',
        f'{SERVER}token = "{SECRET} x"',
        f'{SERVER}token = ["{SECRET}"]',
    ],
)
def test_errors_never_show_a_secret(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text, Path("/etc/x.toml"))
    assert SECRET not in str(caught.value)
    assert SECRET not in repr(caught.value)
    # A traceback prints the exceptions that led here unless they are cut off.
    assert caught.value.__suppress_context__


def test_a_configuration_never_shows_a_secret() -> None:
    config = parse(
        f'{ARR}api_key = "{SECRET}"\n{SERVER}token = "{SECRET}"\n'
        f'[debrid]\ntoken = "{SECRET}"\n[http]\nusername = "me"\npassword = "{SECRET}"'
    )
    for text in (
        str(config),
        repr(config),
        repr(config.debrid),
        str(config.model_dump()),
        config.model_dump_json(),
    ):
        assert SECRET not in text


def test_the_environment_goes_before_the_file() -> None:
    environ = {
        "MEDIAPOOL_DEBRID__TOKEN": "123456",
        "MEDIAPOOL_MOUNT__PATH": "/srv",
        "mediapool_mount__umask": "077",
        "MEDIAPOOL_MOUNT__ALLOW_OTHER": "true",
        "MEDIAPOOL_CACHE__SIZE": "5 GiB",
        "MEDIAPOOL_CACHE__MEMORY": "",
        "PATH": "/usr/bin",
    }
    config = parse('[mount]\npath = "/data"\ncache_seconds = 7\n[cache]\nmemory = "9MiB"', None, environ)
    assert config.debrid.token is not None
    assert config.debrid.token.get_secret_value() == "123456"
    assert (config.mount.path, config.mount.umask, config.mount.allow_other) == (Path("/srv"), 0o077, True)
    assert config.mount.cache_seconds == 7
    assert (config.cache.size, config.cache.memory) == (5 * 2**30, 9 * 2**20)


def test_every_key_can_come_from_the_environment() -> None:
    examples = {key: tomllib.loads(f"x = {example}")["x"] for key, (_, _, example) in documented().items()}
    singles = {place: value for place, value in examples.items() if place[0] not in (*LISTS, *TABLES)}
    environ = {
        f"MEDIAPOOL_{section}__{key}".upper(): json.dumps(value) if isinstance(value, dict | list) else str(value)
        for (section, key), value in singles.items()
    }
    config = parse("", None, environ)
    for section, key in singles:
        assert getattr(getattr(config, section), key) != getattr(getattr(parse(""), section), key) or key in (
            "uid",
            "gid",
            "allow_other",
        ), (section, key)


def test_the_real_environment_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDIAPOOL_MOUNT__PATH", "/elsewhere")
    monkeypatch.setenv("MOUNT", "{}")
    assert parse("").mount.path == Config().mount.path == Path("/data")


def test_drives_from_the_environment_replace_those_of_the_file() -> None:
    config = parse(DRIVE, None, {"MEDIAPOOL_DRIVE": '[{"name": "x", "path": "/x"}]'})
    assert [(drive.name, drive.path) for drive in config.drive] == [("x", Path("/x"))]


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("MEDIAPOOL_DEBRID__POLL_SECONDS", "often", '[debrid] poll_seconds = "often"'),
        ("MEDIAPOOL_DEBRID__TOKN", SECRET, "[debrid] tokn"),
        ("MEDIAPOOL_DEBIRD__TOKEN", SECRET, "[debird]"),
        ("MEDIAPOOL_MOUNT__PATH", "x", '[mount] path = "x"'),
        ("MEDIAPOOL_DRIVE", '[{"name": "a b", "path": "/x"}]', '[[drive]] name (drive 1) = "a b"'),
    ],
)
def test_a_wrong_value_names_its_variable(variable: str, value: str, told: str) -> None:
    message = refusal("", {variable: value})
    assert f"{told}  (from the environment variable {variable})" in message
    assert SECRET not in message


def test_a_variable_that_is_not_json_is_not_quoted() -> None:
    message = refusal("", {"MEDIAPOOL_DEBRID": f"token={SECRET}"})
    assert "is not JSON" in message and "MEDIAPOOL_DRIVE='" in message
    assert SECRET not in message


def test_variables_of_others_are_left_alone() -> None:
    assert parse("", None, {"MEDIAPOOL_CONFIG": "/x", "MEDIAPOOL_SERVICE_HOST": "10.0.0.1"}) == parse("")


def test_a_missing_file_is_told_apart(tmp_path: Path) -> None:
    with pytest.raises(ConfigMissing) as caught:
        load(tmp_path / "none.toml", {})
    assert caught.value.file == tmp_path / "none.toml"
    assert "mediapool init" in str(caught.value) and "--config" in str(caught.value)


def test_the_usual_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert find() == tmp_path / "mediapool" / "mediapool.toml"
    find().parent.mkdir()
    find().write_text('[mount]\npath = "/there"')
    config = load(None, {})
    assert (config.mount.path, config.file) == (Path("/there"), find())


@pytest.mark.parametrize(("content", "told"), [(b"\xff", "not UTF-8"), (b"a = [", "not valid TOML")])
def test_a_file_that_is_no_toml(content: bytes, told: str, tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_bytes(content)
    with pytest.raises(ConfigError, match=told):
        load(tmp_path / "x.toml", {})


def test_a_folder_instead_of_a_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load(tmp_path, {})


def test_a_file_of_windows(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_bytes(b'\xef\xbb\xbf[mount]\r\npath = "/w"\r\n')
    assert load(tmp_path / "x.toml", {}).mount.path == Path("/w")


@pytest.mark.parametrize(
    ("mode", "text", "warned"),
    [
        (0o644, f'[debrid]\ntoken = "{SECRET}"', True),
        (0o640, f'[http]\nusername = "x"\npassword = "{SECRET}"', True),
        (0o600, f'[debrid]\ntoken = "{SECRET}"', False),
        (0o644, f'{ARR}api_key = "{SECRET}"', True),
        (0o644, '[debrid]\ntoken = ""', False),
        (0o644, DRIVE, False),
    ],
)
def test_a_readable_secret_brings_a_warning(mode: int, text: str, warned: bool, tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.write_text(text)
    file.chmod(mode)
    warnings = load(file, {}).warnings
    assert [f"chmod 600 {file}" in warning for warning in warnings] == [True] * warned
    assert SECRET not in str(warnings)


@pytest.mark.parametrize(
    ("url", "warned"), [("http://host/x", True), ("http://127.0.0.1:1", False), ("https://h", False)]
)
def test_a_token_in_the_clear_brings_a_warning(url: str, warned: bool, tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.write_text(f'[debrid]\napi_url = "{url}"')
    warnings = load(file, {"MEDIAPOOL_DEBRID__TOKEN": SECRET}).warnings
    assert ["api_url" in warning for warning in warnings] == [True] * warned


def test_a_problem_of_the_whole_file_has_no_key() -> None:
    assert str(Problem((), "Wrong.", "Right.")) == "Wrong.\n  Right."


def test_the_documentation_has_each_key_and_no_other() -> None:
    assert set(documented()) == set(KEYS)


@pytest.mark.parametrize(("section", "key"), KEYS)
def test_the_documented_default_is_true(section: str, key: str) -> None:
    field = fields_of(sections()[section])[key]
    default = documented()[section, key][1]
    if field.is_required():
        assert default == "must be given"
    elif field.default_factory is None and field.default is not None:
        assert f"{key} = {default.strip('`')}" == example_line(key, field)
    else:
        assert not default.startswith('`"')


@pytest.mark.parametrize("section", sections())
def test_the_documented_examples_are_accepted(section: str) -> None:
    header = f"[[{section}]]" if section in LISTS else f"[{section}.tv]" if section in TABLES else f"[{section}]"
    lines = [f"{key} = {example}" for (of, key), (_, _, example) in documented().items() if of == section]
    assert parse("\n".join([header, *lines])) != parse("")


def test_the_documented_file_is_accepted() -> None:
    match = re.search(r"```toml\n(.*?)```", USING.read_text(), re.DOTALL)
    assert match
    assert [drive.name for drive in parse(match[1]).drive] == ["disk1", "disk2"]


def test_each_key_has_a_short_meaning() -> None:
    for model in sections().values():
        assert model.__doc__
        for field in model.model_fields.values():
            assert field.description and len(field.description) <= 108


def test_the_default_places_are_the_platforms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/s")
    monkeypatch.setenv("XDG_CACHE_HOME", "/c")
    config = config_module.parse("")
    assert (config.state.path, config.cache.path) == (Path("/s/mediapool"), Path("/c/mediapool"))


def test_memory_too_small_to_read_with_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"\[cache\] memory.*\n.*too little.*\n.*8MiB"):
        parse('[cache]\nmemory = "7MiB"\n')
    assert parse('[cache]\nmemory = "8MiB"\n').cache.memory == 8 << 20
