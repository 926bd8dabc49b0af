"""The layout is made once and then kept, and each of the four programs can do its work and no more."""

import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from roles import APPS, IMPORTER, SERVER, TORRENT, USENET, attempt, attempts, read, write

from placement.layout import (
    FOLDERS,
    ROLES,
    Access,
    LayoutError,
    Role,
    Step,
    create_layout,
)

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="giving folders to other users needs root")
SCRIPT = Path(__file__).parents[2] / "scripts/create_media_structure.py"

EXPECTED = sorted(
    ["data"]
    + [f"data/{top}" for top in FOLDERS]
    + [f"data/{top}/{name}" for top in ("torrents", "usenet", "ddl") for name in ("incomplete", "complete")]
    + [f"data/media/{name}" for name in ("books", "movies", "music", "tv", "anime")]
    + [f"data/personal/{name}" for name in ("rip", "remux")]
)


@pytest.fixture
def base() -> Iterator[Path]:
    """A folder that every user can reach, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


@pytest.fixture
def data(base: Path) -> Path:
    create_layout(base, APPS)
    return base / "data"


def below(base: Path) -> list[str]:
    return sorted(str(path.relative_to(base)) for path in base.rglob("*"))


def actions(steps: list[Step]) -> set[str]:
    return {step.action for step in steps}


def test_makes_all_and_then_keeps_all(base: Path) -> None:
    steps = create_layout(base)
    assert below(base) == EXPECTED == sorted(str(step.path.relative_to(base)) for step in steps)
    assert actions(steps) == {"made"}
    assert actions(create_layout(base)) == {"kept"}


def test_modes_follow_the_umask(base: Path) -> None:
    old = os.umask(0o027)
    try:
        create_layout(base)
    finally:
        os.umask(old)
    assert {stat.S_IMODE((base / path).stat().st_mode) for path in EXPECTED} == {0o750}


def test_only_what_is_not_there_is_made(base: Path) -> None:
    (base / "data/media/tv").mkdir(parents=True, mode=0o700)
    (base / "data/media/tv/film").write_text("mine")
    os.chmod(base / "data/media/tv", 0o711)
    steps = {str(step.path.relative_to(base)): step.action for step in create_layout(base)}
    assert {path for path, action in steps.items() if action == "kept"} == {
        "data",
        "data/media",
        "data/media/tv",
    }
    assert (base / "data/media/tv/film").read_text() == "mine"
    assert stat.S_IMODE((base / "data/media/tv").stat().st_mode) == 0o711


def test_a_dry_run_says_the_same_and_does_nothing(base: Path) -> None:
    profile = APPS if os.geteuid() == 0 else None
    said = create_layout(base, profile, dry_run=True)
    assert below(base) == []
    assert create_layout(base, profile) == said
    access = {"media": Access(mode=0o700)}
    said = create_layout(base, profile, access=access, dry_run=True)
    assert actions(said) == {"kept", "changed"}
    assert stat.S_IMODE((base / "data/media").stat().st_mode) != 0o700
    assert create_layout(base, profile, access=access) == said


@root_only
def test_overrides_win_over_the_profile(base: Path) -> None:
    create_layout(base, APPS, access={"media": Access(gid=61009), "personal": Access(61010, 61010, 0o700)})
    media, personal = (base / "data/media/tv").stat(), (base / "data/personal/rip").stat()
    assert (media.st_uid, media.st_gid, stat.S_IMODE(media.st_mode)) == (61003, 61009, 0o2775)
    assert (personal.st_uid, personal.st_gid, stat.S_IMODE(personal.st_mode)) == (61010, 61010, 0o700)


@root_only
def test_contents_are_never_touched(base: Path) -> None:
    create_layout(base)
    inner = base / "data/torrents/complete/mine"
    inner.mkdir(mode=0o755)
    (inner / "film").touch()
    before = [os.stat(inner), os.stat(inner / "film")]
    steps = create_layout(base, APPS)
    assert actions(steps) == {"kept", "changed"}
    assert [os.stat(inner), os.stat(inner / "film")] == before
    assert actions(create_layout(base, APPS)) == {"kept"}
    changed = {step.path.name: step.detail for step in steps}
    assert changed["torrents"] == "owner 61001, group 61003, mode 2770"
    assert changed["personal"] == "mode 750"


def test_access_of_an_unknown_folder(base: Path) -> None:
    with pytest.raises(LayoutError, match="There are torrents, usenet, ddl, media, personal"):
        create_layout(base, access={"films": Access()})
    assert below(base) == []


@pytest.mark.parametrize("obstacle", ["file", "link"])
def test_what_is_in_the_way_is_named(base: Path, obstacle: str) -> None:
    (base / "data").mkdir()
    place = base / "data/media"
    place.touch() if obstacle == "file" else place.symlink_to("/tmp")
    for dry_run in (True, False):
        with pytest.raises(LayoutError, match="move it away") as caught:
            create_layout(base, dry_run=dry_run)
        assert caught.value.path == str(place)


def test_a_folder_that_is_not_there_is_not_made(base: Path) -> None:
    with pytest.raises(LayoutError, match="No such file"):
        create_layout(base / "typo")
    assert below(base) == []


@root_only
def test_a_link_put_there_by_a_client_is_not_followed(base: Path) -> None:
    create_layout(base, APPS)
    victim = base / "victim"
    victim.mkdir(mode=0o700)
    (base / "data/torrents/complete").rmdir()
    (base / "data/torrents/complete").symlink_to(victim)
    with pytest.raises(LayoutError, match="Not a directory"):
        create_layout(base, APPS)
    assert victim.stat().st_uid == 0


@root_only
def test_who_is_not_root_is_told_so(base: Path) -> None:
    os.chown(base, 61001, 61001)
    program = (
        "import os, sys; from pathlib import Path; from placement.layout import *;"
        "profile = Profile(*(Role(n, n) for n in range(61001, 61005)));"
        "os.setgroups([]); os.setgid(61001); os.setuid(61001);"
        "create_layout(Path(sys.argv[1]), profile)"
    )
    command = [sys.executable, "-c", program, str(base)]
    done = subprocess.run(command, cwd=SCRIPT.parents[1], capture_output=True, text=True)
    assert f"LayoutError: {base}/data: Operation not permitted. Only root may" in done.stderr


@root_only
def test_a_setgid_bit_that_did_not_stick_is_an_error(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.fchmod
    monkeypatch.setattr(os, "fchmod", lambda fd, mode: real(fd, mode & 0o777))
    with pytest.raises(LayoutError, match="not permitted"):
        create_layout(base, APPS)


# --- what each program may do -------------------------------------------------------------------------


def protected_hardlinks() -> bool:
    return Path("/proc/sys/fs/protected_hardlinks").read_text().strip() == "1"


@root_only
@pytest.mark.parametrize(("client", "top"), [(TORRENT, "torrents"), (USENET, "usenet")])
def test_a_client_works_in_its_own_folder(data: Path, client: Role, top: str) -> None:
    incomplete, complete = data / top / "incomplete", data / top / "complete"
    assert attempt(client, "mkdir", incomplete / "Show") == "ok"
    assert write(client, incomplete / "Show/film") == "ok"
    assert attempt(client, "rename", incomplete / "Show", complete / "Show") == "ok"
    assert read(client, complete / "Show/film") == "ok"
    assert attempt(client, "unlink", complete / "Show/film") == "ok"
    assert attempt(client, "rmdir", complete / "Show") == "ok"


@root_only
@pytest.mark.parametrize(("client", "own"), [(TORRENT, "torrents"), (USENET, "usenet"), (SERVER, "")])
def test_nobody_writes_elsewhere(data: Path, client: Role, own: str) -> None:
    folders = [data.parent / folder for folder in EXPECTED if not own or own not in Path(folder).parts]
    calls: list[tuple[object, ...]] = [("rename", data / "media", data / "mine")]
    for folder in folders:
        calls.append(("open", folder / "new", os.O_WRONLY | os.O_CREAT, 0o666))
        calls.append(("mkdir", folder / "new"))
    assert data in folders and len(folders) > 10
    assert set(attempts(client, *calls)) == {"EACCES"}


@root_only
def test_what_is_not_one_s_own_is_not_even_seen(data: Path) -> None:
    for role, hidden in (
        (SERVER, ["torrents", "usenet", "ddl", "personal"]),
        (TORRENT, ["usenet", "ddl", "personal"]),
        (USENET, ["torrents", "ddl", "personal"]),
        (IMPORTER, ["personal"]),
    ):
        places = [place for top in hidden for place in (data / top, data / top / FOLDERS[top][0])]
        assert set(attempts(role, *(("listdir", place) for place in places))) == {"EACCES"}


@root_only
@pytest.mark.parametrize(("client", "top"), [(TORRENT, "torrents"), (USENET, "usenet")])
def test_the_importer_links_and_the_media_server_reads(data: Path, client: Role, top: str) -> None:
    assert protected_hardlinks(), "without it this test proves less"
    source, target = data / top / "complete/Show", data / "media/tv/Show"
    assert attempt(client, "mkdir", source) == "ok"
    assert write(client, source / "film") == "ok"
    assert attempt(IMPORTER, "mkdir", target) == "ok"
    assert attempt(IMPORTER, "link", source / "film", target / "film") == "ok"
    assert (target / "film").stat().st_nlink == 2
    assert write(IMPORTER, target / "film.nfo") == "ok"

    assert attempt(SERVER, "listdir", data / "media/tv") == "ok"
    for name in ("film", "film.nfo"):
        assert read(SERVER, target / name) == "ok"
        assert write(SERVER, target / name) == "EACCES"
        assert attempt(SERVER, "unlink", target / name) == "EACCES"
    assert read(SERVER, source / "film") == "EACCES"

    assert write(client, source / "film") == "ok", "it goes on seeding"
    assert attempt(client, "unlink", source / "film") == "ok"
    assert read(SERVER, target / "film") == "ok"


@root_only
def test_the_importer_moves_what_the_usenet_client_fetched(data: Path) -> None:
    source = data / "usenet/complete/Show"
    assert attempt(USENET, "mkdir", source) == "ok"
    assert write(USENET, source / "film") == "ok"
    assert attempt(IMPORTER, "rename", source / "film", data / "media/movies/film") == "ok"
    assert attempt(IMPORTER, "rmdir", source) == "ok"
    assert read(SERVER, data / "media/movies/film") == "ok"


@root_only
def test_others_may_not_link(data: Path) -> None:
    assert write(TORRENT, data / "torrents/complete/film") == "ok"
    assert attempt(SERVER, "link", data / "torrents/complete/film", data / "media/tv/film") == "EACCES"
    assert attempt(TORRENT, "link", data / "torrents/complete/film", data / "media/tv/film") == "EACCES"


# --- the script ----------------------------------------------------------------------------------------


def run_script(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def test_the_script_works_in_the_current_folder(base: Path) -> None:
    said = run_script(base)
    assert said.returncode == 0 and said.stderr == ""
    assert below(base) == EXPECTED
    assert len(said.stdout.splitlines()) == len(EXPECTED)
    assert "made    data/media/tv" in said.stdout
    assert "kept    data/media/tv" in run_script(base).stdout


def test_the_script_reports_errors(base: Path) -> None:
    failed = run_script(base, "--path", "typo")
    assert failed.returncode == 1
    assert failed.stderr == "typo: No such file or directory. Create the folder, or name another one\n"
    assert run_script(base, "--profile", "apps", "--importer", "1:1").returncode == 1
    assert run_script(base, "--wrong").returncode == 2


@root_only
def test_the_script_has_the_profile(base: Path) -> None:
    roles = [f"--{role.replace('_', '-')}={n}:{n}" for n, role in enumerate(ROLES, 61001)]
    options = ["--path", str(base), "--profile", "apps", *roles, "--access", "personal=61010::"]
    said = run_script(Path("/"), *options, "--dry-run")
    assert said.returncode == 0 and below(base) == []
    assert run_script(Path("/"), *options).stdout == said.stdout
    assert (base / "data/torrents").stat().st_uid == 61001
    assert (base / "data/personal").stat().st_uid == 61010
