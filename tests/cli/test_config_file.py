"""The commented file, and edits of its drives that leave everything else alone."""

import os
import re
import stat
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.config import fields_of, has_default, load, parse, sections
from cli.config_file import add_drive, name_for, remove_drive, render, write_template
from cli.problems import LISTS, TABLES, ConfigError, ConfigMissing

COMMENTED = """\
# my pool
[mount]
path = "{0}/mount"   # where it is

[[drive]]  # the fast one
name = "a"
path = "{0}/a"
# quiet at night

# ---- what may happen ----
[debrid]
poll_seconds = 20

[[drive]]
path = "{0}/b"
name = 'b'
capacity = "1TB"

# ---- where things go ----
[placement]
policy = "ff"  # simple
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A configuration of two drives with comments of its owner."""
    for name in ("mount", "a", "b", "c"):
        (tmp_path / name).mkdir()
    path = tmp_path / "mediapool.toml"
    path.write_text(COMMENTED.format(tmp_path))
    return path


def without_lines(text: str, *unwanted: str) -> str:
    return "".join(line for line in text.splitlines(True) if not line.startswith(unwanted))


def test_the_template_says_nothing_but_defaults() -> None:
    assert parse(render()) == parse("")
    assert not re.search(r"^[^#\[\n]", render(), re.MULTILINE)


def test_each_key_of_the_template_shows_its_default() -> None:
    shown = tomllib.loads(re.sub(r"^# (\w+ = .+|\[\[\w+]].*|\[\w+\.tv].*)$", r"\1", render(), flags=re.MULTILINE))
    for section, model in sections().items():
        values = shown[section][0] if section in LISTS else shown[section]
        values = values["tv"] if section in TABLES else values
        assert list(values) == list(fields_of(model))
        for key, field in fields_of(model).items():
            if has_default(field):
                assert values[key] == field.get_default(call_default_factory=True)


def test_the_template_explains_each_key() -> None:
    lines = render().splitlines()
    for model in sections().values():
        for key, field in fields_of(model).items():
            assert any(
                line == f"# {field.description}" and following.startswith(f"# {key} = ")
                for line, following in zip(lines, lines[1:], strict=False)
            ), key


def test_a_written_template_holds_what_was_given(tmp_path: Path) -> None:
    file = tmp_path / "new" / "folder" / "mediapool.toml"
    drives = [("one", Path('/mnt/"one"')), ("two", Path("/mnt/two é"))]
    write_template(file, token="TOKEN", drives=drives, mount=Path("/srv/data"))
    config = load(file, {})
    assert config.debrid.token is not None
    assert config.debrid.token.get_secret_value() == "TOKEN"
    assert [(drive.name, drive.path) for drive in config.drive] == drives
    assert config.mount.path == Path("/srv/data")
    assert config.warnings == ()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_template_overwrites_nothing(tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.write_text("mine")
    with pytest.raises(ConfigError, match="It exists already") as caught:
        write_template(file)
    assert str(file) in str(caught.value)
    assert file.read_text() == "mine"


def test_a_template_of_wrong_values_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="letters, digits"):
        write_template(tmp_path / "x.toml", drives=[("a b", Path("/a"))])
    with pytest.raises(ConfigError, match="apitoken"):
        write_template(tmp_path / "x.toml", token="a b")
    assert not list(tmp_path.iterdir())


def test_a_template_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="It cannot be written"):
        write_template(tmp_path / "file" / "x.toml")


def test_an_added_drive_follows_the_last_one(file: Path) -> None:
    before = file.read_text()
    config = add_drive(file, "c", file.parent / "c", mode="nc", tier="slow", min_free=5 * 2**30, capacity=10**12)
    assert config == load(file, {})
    added = config.drive[2]
    assert (added.name, added.path, added.mode, added.tier) == ("c", file.parent / "c", "nc", "slow")
    assert (added.min_free, added.capacity) == (5 * 2**30, 10**12)
    block = file.read_text().replace(before.split('capacity = "1TB"\n')[0], "").split("\n# ----")[0]
    assert block.splitlines()[1:3] == ["", "[[drive]]"]
    assert 'min_free = "5GiB"' in block and 'capacity = "1TB"' in block
    remove_drive(file, "c")
    assert file.read_text() == before


def test_a_drive_added_to_the_template_can_be_removed_again(tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    (tmp_path / "a").mkdir()
    write_template(file, mount=tmp_path / "mount")
    before = file.read_text()
    assert [drive.name for drive in add_drive(file, "a", tmp_path / "a").drive] == ["a"]
    assert file.read_text().startswith(before)
    assert remove_drive(file, "a").drive == ()
    assert file.read_text() == before
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("name", "gone"),
    [
        ("a", ("[[drive]]  # the fast one", 'name = "a"')),
        ("b", ("name = 'b'", 'capacity = "1TB"')),
    ],
)
def test_a_removed_drive_leaves_all_comments(name: str, gone: tuple[str, ...], file: Path) -> None:
    before = file.read_text()
    config = remove_drive(file, name)
    assert name not in [drive.name for drive in config.drive]
    after = file.read_text()
    assert config == load(file, {})
    for line in before.splitlines():
        if line.startswith("# ") or "where it is" in line or "simple" in line:
            assert line in after
    assert not any(line in after for line in gone)


def test_no_drive_is_left(file: Path) -> None:
    remove_drive(file, "a")
    assert remove_drive(file, "b").drive == ()
    assert "[[drive]]" not in file.read_text()


def test_an_unknown_drive_is_refused(file: Path) -> None:
    before = file.read_bytes()
    with pytest.raises(ConfigError, match='no drive "z"') as caught:
        remove_drive(file, "z")
    assert "The drives are: a, b." in str(caught.value)
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("name", "folder", "told"),
    [
        ("a", "c", "Two drives have this name"),
        ("c", "a", "Two drives have this path"),
        ("c", "missing", "It does not exist"),
        ("c", "a/inside", 'It lies inside drive "a"'),
        ("c", ".", "It holds"),
        ("c c", "c", "letters, digits"),
    ],
)
def test_a_drive_that_does_not_fit_is_not_written(name: str, folder: str, told: str, file: Path) -> None:
    (file.parent / "a" / "inside").mkdir()
    before = file.read_bytes()
    with pytest.raises(ConfigError, match=told):
        add_drive(file, name, file.parent / folder)
    assert file.read_bytes() == before
    assert not list(file.parent.glob(".*"))


def test_another_drive_that_is_away_does_not_matter(file: Path) -> None:
    (file.parent / "b").rmdir()
    assert len(add_drive(file, "c", file.parent / "c").drive) == 3
    assert len(remove_drive(file, "b").drive) == 2


def test_a_list_of_inline_drives(file: Path) -> None:
    base = file.parent
    before = f'# mine\ndrive = [{{name = "a", path = "{base}/a"}}] # all\n[mount]\npath = "{base}/mount"\n'
    file.write_text(before)
    assert [drive.name for drive in add_drive(file, "c", base / "c").drive] == ["a", "c"]
    assert "# mine\ndrive = [" in file.read_text() and "] # all" in file.read_text()
    assert [drive.name for drive in remove_drive(file, "a").drive] == ["c"]
    assert remove_drive(file, "c").drive == ()
    assert "# mine" in file.read_text() and "[mount]" in file.read_text()


def test_a_text_that_looks_like_a_header_is_no_drive(file: Path) -> None:
    file.write_text(
        f"[http]\nusername = '''\n[[drive]]\n'''\npassword = 'x'\n[[drive]]\nname='a'\npath='{file.parent}/a'"
    )
    before = file.read_bytes()
    with pytest.raises(ConfigError, match="Edit its .* by hand"):
        remove_drive(file, "a")
    assert file.read_bytes() == before


def test_lines_end_as_they_did(file: Path) -> None:
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    before = file.read_bytes()
    add_drive(file, "c", file.parent / "c")
    assert file.read_bytes().count(b"\n") == file.read_bytes().count(b"\r\n") == before.count(b"\n") + 4
    remove_drive(file, "c")
    assert file.read_bytes() == before


def test_mode_and_links_stay(file: Path) -> None:
    file.chmod(0o640)
    link = file.with_name("link.toml")
    link.symlink_to(file)
    add_drive(link, "c", file.parent / "c")
    assert link.is_symlink()
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert len(load(file, {}).drive) == 3


def test_a_failed_replacement_leaves_nothing_behind(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def replace(source: str, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", replace)
    before = file.read_bytes()
    with pytest.raises(ConfigError, match="It cannot be written: No space left on device"):
        add_drive(file, "c", file.parent / "c")
    assert file.read_bytes() == before
    assert not list(file.parent.glob(".mediapool*"))


def test_without_a_file_there_is_nothing_to_edit(tmp_path: Path) -> None:
    with pytest.raises(ConfigMissing):
        add_drive(tmp_path / "x.toml", "a", tmp_path)


@pytest.mark.parametrize(
    ("folder", "taken", "name"),
    [
        ("/mnt/disk1", (), "disk1"),
        ("/mnt/my disk!", (), "my-disk"),
        ("/", (), "disk"),
        ("/a/b", ("b", "b2"), "b3"),
    ],
)
def test_names_for_folders(folder: str, taken: tuple[str, ...], name: str) -> None:
    assert name_for(Path(folder), taken) == name


@given(st.text(min_size=1), st.sets(st.sampled_from(["disk", "disk2", "a", "a2", "a3"])))
def test_any_folder_gets_a_valid_free_name(folder: str, taken: set[str]) -> None:
    name = name_for(Path(folder), taken)
    assert name not in taken
    parse(f'[[drive]]\nname = "{name}"\npath = "/x"')
