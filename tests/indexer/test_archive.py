"""Building volumes and undoing that: every content is there at every moment, whatever is cut off where."""

import contextlib
import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import xxhash
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from indexer import jobs
from indexer.archive import Build, prepare
from indexer.discs import Medium
from indexer.gathering import Gathered, Source, date_of
from indexer.jobs import Job
from indexer.manifest import Manifest, ManifestDamaged, path_of
from indexer.planning import plan
from indexer.shifting import STEPS
from indexer.volumes import Archive, ArchiveError, State

# Children do nothing but the build, so threads of other tests do not matter to them.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")

DISC = Medium("small", 2 << 20)
ODD = ["new\nline.jpg", "\udcff\udcfe.jpg", "quo'te\"s", " lead", "e\u0301.jpg", "\u00e9.jpg", "b\\s.jpg", "n" * 200]
DONE: Callable[[str], None] = lambda name: None  # noqa: E731


def digest(data: bytes) -> str:
    return xxhash.xxh3_128(data).hexdigest()


def fill(folder: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def contents(*folders: Path) -> set[str]:
    """The hashes of all files, those of a copy that is under way left out."""
    return {
        digest(Path(path, name).read_bytes())
        for folder in folders
        for path, _, names in os.walk(folder)
        if ".mediapool" not in path
        for name in names
    }


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


class Catalog:
    """Knows the hashes of some files, by their names."""

    def __init__(self, **hashes: str) -> None:
        self.hashes = hashes

    def hash_of(self, path: str, size: int, mtime_ns: int) -> str | None:
        assert os.stat(path).st_size == size and os.stat(path).st_mtime_ns == mtime_ns
        return self.hashes.get(os.path.basename(path))


def begin(archive: Archive, *sources: Path, known: Catalog | None = None) -> tuple[Job, Gathered]:
    gathered = prepare([Source.plain(str(source)) for source in sources], archive, known=known)
    made = plan([file.entry() for file in gathered.files], DISC)
    return jobs.begin(archive, gathered, made, (DISC.name, DISC.capacity, DISC.ecc)), gathered


def build(folder: Path, *sources: Path, on_step: Callable[[str], None] = DONE) -> Job:
    archive = Archive(folder, make=True)
    with archive.locked():
        job = jobs.unfinished(archive) or begin(archive, *sources)[0]
        Build(archive, job, on_step=on_step).run()
    return job


def undo(folder: Path, ident: str, on_step: Callable[[str], None] = DONE) -> Job:
    archive = Archive(folder)
    with archive.locked():
        job = jobs.job(archive, ident)
        Build(archive, job, on_step=on_step).undo()
    return job


@pytest.fixture
def other_disk() -> Iterator[Path]:
    """A folder on another filesystem than the tests' own."""
    place = Path("/dev/shm") / f"archive-{os.getpid()}"
    place.mkdir()
    yield place
    for path in sorted(place.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    place.rmdir()


def photos() -> dict[str, bytes]:
    files = {f"2019/{month:02}/IMG_{n}.jpg": bytes([month, n]) * 50_000 for month in range(1, 10) for n in range(5)}
    return {**files, **{f"odd/{name}": os.fsencode(name) * 9 for name in ODD}, "odd/empty": b"", "odd/empty too": b""}


@pytest.mark.parametrize("where", ["same disk", "other disk"])
def test_files_go_into_volumes_with_their_folders_and_back(tmp_path: Path, other_disk: Path, where: str) -> None:
    source = (tmp_path if where == "same disk" else other_disk) / "photos"
    archived, wanted = tmp_path / "Archive", photos()
    fill(source, wanted)
    os.utime(source / "2019/01/IMG_0.jpg", ns=(1, 1_500_000_000_123_456_789))
    os.setxattr(source / "2019/01/IMG_0.jpg", "user.rating", b"5")
    (source / "2019/02").chmod(0o700)
    before = (source / "2019/01/IMG_0.jpg").stat()
    job = build(archived, source)
    assert job.phase == "built" and not job.left and tree(source) == {}
    archive = Archive(archived)
    assert list(archive.volumes) == job.volumes and len(job.volumes) >= 3
    for name, volume in archive.volumes.items():
        there = tree(archived / name)
        assert set(there) == {f.path for f in volume.manifest.files} | {"index.json", "UNBURNED"}
        assert all(digest(there[f.path]) == f.hash and len(there[f.path]) == f.size for f in volume.manifest.files)
        assert Manifest.parse((archived / name / "index.json").read_bytes()) == volume.manifest
    merged = {name: data for one in job.volumes for name, data in tree(archived / one).items()}
    assert {name[7:]: data for name, data in merged.items() if name.startswith("photos/")} == wanted
    moved = next(archived.glob("*/photos/2019/01/IMG_0.jpg"))
    assert (moved.stat().st_mtime_ns, moved.stat().st_mode) == (before.st_mtime_ns, before.st_mode)
    assert os.getxattr(moved, "user.rating") == b"5" and (moved.stat().st_ino == before.st_ino) == (
        where == "same disk"
    )
    assert next(archived.glob("*/photos/2019/02")).stat().st_mode & 0o777 == 0o700
    index = json.loads((archived / "index.json").read_bytes())
    assert {(one["volume"], path_of(one), one["hash"]) for one in index["files"]} == {
        (name, file.path, file.hash) for name, volume in archive.volumes.items() for file in volume.manifest.files
    }
    assert undo(archived, job.id).phase == "undone"
    assert tree(source) == wanted and Archive(archived).volumes == {} and not (source / ".mediapool").exists()
    assert (source / "2019/01/IMG_0.jpg").stat().st_mtime_ns == before.st_mtime_ns
    assert [path.name for path in archived.iterdir() if path.name[0].isdigit()] == []
    assert build(archived, source).volumes and tree(source) == {}


def test_a_lost_index_is_made_anew_from_the_volumes(tmp_path: Path) -> None:
    fill(tmp_path / "photos", photos())
    archived = tmp_path / "Archive"
    build(archived, tmp_path / "photos")
    archive = Archive(archived)
    archive.set_state("0001", State(burned="2026-01-02T03:04:05Z", disc="blue", bad=("photos/\udcff",)))
    archive.set_state("0002", State(burned="2026-01-02T03:04:05Z", verified="2026-02-02T03:04:05Z"))
    known = Archive(archived).volumes
    assert [volume.state.word for volume in known.values()][:3] == ["bad", "verified", "unburned"]
    assert (archived / "0001/UNBURNED").exists() and (archived / "0002/BURNED").exists()
    (archived / "index.json").unlink()
    assert Archive(archived).volumes == known and Archive(archived).id == archive.id
    with archive.locked():
        text = (archived / "index.json").read_text()
    (archived / "index.json").write_text(text.replace('"size": 100000', '"size": 100001', 1))
    assert Archive(archived).volumes == known and (archived / "index.json.damaged").exists()
    (archived / "index.json").write_text("{}")
    assert Archive(archived).volumes == known and (archived / "index.json.damaged").read_text() == "{}"
    shutil.rmtree(archived / "0001")
    (archived / "index.json").unlink(missing_ok=True)
    # A disc of that number is somewhere.
    assert "0001" not in Archive(archived).volumes and jobs.next_volume(Archive(archived)) > max(known)


def test_a_changed_manifest_is_not_believed(tmp_path: Path) -> None:
    fill(tmp_path / "photos", photos())
    build(tmp_path / "Archive", tmp_path / "photos")
    text = (tmp_path / "Archive/0001/index.json").read_bytes()
    for other in (text.replace(b'"size": 100000', b'"size": 100001', 1), text[:-20], b"[]", b'{"format": "other"}'):
        assert other != text
        with pytest.raises(ManifestDamaged):
            Manifest.parse(other)


def test_the_same_content_is_archived_once_and_said(tmp_path: Path) -> None:
    one, two, archived = tmp_path / "phoneA", tmp_path / "phoneB", tmp_path / "Archive"
    fill(one, {"DCIM/IMG_1.jpg": b"first", "DCIM/IMG_2.jpg": b"other"})
    build(archived, one)
    fill(two, {"DCIM/IMG_1.jpg": b"FIRST", "DCIM/IMG_3.jpg": b"first", "IMG_4.jpg": b"third", "IMG_5.jpg": b"third"})
    os.symlink("IMG_4.jpg", two / "link")
    os.link(two / "IMG_4.jpg", two / "same")
    job = build(archived, two)
    archive = Archive(archived)
    assert {f.path for f in archive.volumes["0002"].manifest.files} == {"phoneB/DCIM/IMG_1.jpg", "phoneB/IMG_4.jpg"}
    assert set(tree(two)) == {"DCIM/IMG_3.jpg", "IMG_5.jpg", "link", "same"} - {"link"}
    assert [(c.origin, c.hash) for c in archive.volumes["0002"].manifest.copies] == [
        (str(two / "IMG_5.jpg"), digest(b"third")),
        (str(two / "DCIM/IMG_3.jpg"), digest(b"first")),
    ]
    # Whoever writes to the other name of a file must not change the archive.
    (two / "same").write_bytes(b"third, changed")
    assert (archived / "0002/phoneB/IMG_4.jpg").read_bytes() == b"third" and job.phase == "built"
    gathered = prepare([Source.plain(str(two))], archive)
    assert {left.reason for left in gathered.left} == {"a symbolic link"}
    assert {os.path.basename(file.rel) for file in gathered.copies} == {"IMG_3.jpg", "IMG_5.jpg"}


def test_names_that_would_meet_in_a_volume_get_others(tmp_path: Path) -> None:
    one, two = tmp_path / "x/photos", tmp_path / "y/photos"
    fill(one, {"a.jpg": b"one", "b": b"1"})
    fill(two, {"a.jpg": b"two", "b": b"2"})
    fill(tmp_path / "PAR2", {"UNBURNED": b"a film of that name"})
    archived = tmp_path / "Archive"
    build(archived, one, two, tmp_path / "PAR2")
    assert {f.path for f in Archive(archived).volumes["0001"].manifest.files} == {
        "photos/a.jpg", "photos/a~2.jpg", "photos/b", "photos/b~2", "PAR2~/UNBURNED",
    }  # fmt: skip
    with pytest.raises(ValueError, match="lies within"):
        prepare([Source.plain(str(tmp_path / "x")), Source.plain(str(one))], None)


def test_what_changed_since_the_plan_stays_and_is_said(tmp_path: Path) -> None:
    source, archived = tmp_path / "photos", tmp_path / "Archive"
    fill(source, {"a": b"1", "b": b"22", "c": b"333"})
    archive = Archive(archived, make=True)
    with archive.locked():
        job, _ = begin(archive, source)
        (source / "a").write_bytes(b"more than was planned")
        (source / "b").unlink()
        fill(archived / "0001/photos", {"c": b"something else"})
        Build(archive, job).run()
    assert job.phase == "built" and archive.volumes == {} and len(jobs.left_of(job)) == 3
    assert tree(source) == {"a": b"more than was planned", "c": b"333"}
    assert tree(archived / "0001") == {"photos/c": b"something else"}
    assert [job.phase for job in jobs.all_jobs(archive)] == ["built"]


@pytest.mark.parametrize("where", ["same disk", "other disk"])
def test_what_others_put_there_or_change_at_the_last_moment_is_never_lost(
    tmp_path: Path, other_disk: Path, where: str
) -> None:
    source = (tmp_path if where == "same disk" else other_disk) / "photos"
    archived = tmp_path / "Archive"
    fill(source, {"a": b"mine"})
    blocked = archived / "0001/photos/a"

    def block(name: str) -> None:
        if name == "folders made":
            blocked.write_bytes(b"theirs")

    assert list(build(archived, source, on_step=block).left.values()) == ["something else stands there"]
    assert blocked.read_bytes() == b"theirs" and tree(source) == {"a": b"mine"}
    undo(archived, "a1")

    def change(name: str) -> None:
        if name in ("read", "compared"):
            with (source / "a").open("ab") as file:
                file.write(b" and more")

    job = build(archived, source, on_step=change)
    assert list(job.left.values()) == ["it changed while it was copied"] and tree(source) == {"a": b"mine and more"}
    assert build(archived, source).left == {} and contents(archived) >= {digest(b"mine and more")}


@pytest.mark.parametrize("where", ["same disk", "other disk"])
def test_what_a_catalog_knows_is_not_read_again_and_rot_is_not_archived(
    tmp_path: Path, other_disk: Path, where: str
) -> None:
    source = (tmp_path if where == "same disk" else other_disk) / "photos"
    fill(source, {"a": b"one", "b": b"two", "c": b"one", "rotten": b"1010"})
    archive = Archive(tmp_path / "Archive", make=True)
    known = Catalog(a=digest(b"one"), b=digest(b"two"), c=digest(b"one"), rotten=digest(b"1011"))
    with archive.locked():
        job, gathered = begin(archive, source, known=known)
        Build(archive, job).run()
    assert [file.rel for file in gathered.copies] == ["c"]
    assert [(os.path.basename(left.path), left.reason[:11]) for left in jobs.left_of(job)] == [
        ("rotten", "its content")
    ]
    assert {file.path for file in archive.volumes["0001"].manifest.files} == {"photos/a", "photos/b"}
    assert tree(source) == {"c": b"one", "rotten": b"1010"}


def test_nothing_is_removed_before_its_copy_is_on_stable_storage(
    tmp_path: Path, other_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, archived, seen = other_disk / "photos", tmp_path / "Archive", list[str]()
    fill(source, {"2019/a": b"1"})
    real = os.fsync

    def fsync(fd: int) -> None:
        seen.append(os.readlink(f"/proc/self/fd/{fd}").removeprefix(str(tmp_path)).removeprefix(str(other_disk)))
        real(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    build(archived, source, on_step=seen.append)
    token = jobs.job(Archive(archived), "a1").token
    compared, placed, removed, sealed = map(seen.index, ("compared", "placed", "removed", "sealed"))
    assert f"/Archive/.mediapool/moving/{token}-0" in seen[:compared]
    assert {"/Archive", "/Archive/0001", "/Archive/0001/photos"} <= set(seen[compared:placed])
    assert {"/Archive/0001/photos/2019", "/Archive/.mediapool/moving"} <= set(seen[placed:removed])
    assert "/photos/2019" in seen[removed:sealed] and "/photos/2019" not in seen[:removed]
    # What is only renamed has its names synced before the manifest tells of it, folder by folder.
    fill(tmp_path / "films", {f"one/{n}": bytes([n]) * n for n in range(1, 9)})
    seen.clear()
    build(archived, tmp_path / "films", on_step=seen.append)
    sealed = seen.index("/Archive/0002/.index.json.new")
    assert seen[:sealed].count("/Archive/0002/films/one") == seen[:sealed].count("/films/one") == 1
    assert max(at for at, what in enumerate(seen) if what == "placed") < seen.index("/films/one") < sealed


def test_undoing_never_overwrites_and_never_empties_a_burned_volume(tmp_path: Path) -> None:
    source, archived = tmp_path / "photos", tmp_path / "Archive"
    fill(source, {"a": b"1", "b": b"22"})
    job = build(archived, source)
    (source / "a").write_bytes(b"new")
    archive = Archive(archived)
    archive.set_state("0001", State(burned="2026-01-02T03:04:05Z"))
    with pytest.raises(ArchiveError, match="0001 is burned"):
        undo(archived, job.id)
    archive.set_state("0001", State())
    assert list(undo(archived, job.id).left.values()) == ["something else stands there"]
    assert tree(source) == {"a": b"new", "b": b"22"}
    assert [file.path for file in Archive(archived).volumes["0001"].manifest.files] == ["photos/a"]
    (source / "a").unlink()
    assert undo(archived, job.id).phase == "undone" and tree(source) == {"a": b"1", "b": b"22"}
    with pytest.raises(ArchiveError, match="undone already"):
        undo(archived, job.id)


def test_a_drive_that_is_another_one_by_now_is_not_touched(tmp_path: Path) -> None:
    fill(tmp_path / "photos", {"a": b"1"})
    archive = Archive(tmp_path / "Archive", make=True)
    with archive.locked():
        job, _ = begin(archive, tmp_path / "photos")
        job.places[0] = (job.places[0][0], "the id of a drive")
        with pytest.raises(OSError, match="not mounted"):
            Build(archive, job).run()
        with pytest.raises(ArchiveError, match="Another mediapool"), Archive(tmp_path / "Archive").locked():
            pass
    assert tree(tmp_path / "photos") == {"a": b"1"}


@pytest.mark.parametrize(
    ("path", "date"),
    [
        ("a/2019/07/IMG.jpg", "2019-07"),
        ("a/2019/07/20190703_101112_ab.jpg", "2019-07-03"),
        ("a/2019-07-03 beach/x", "2019-07-03"),
        ("a/2019/07/03/x", "2019-07-03"),
        ("Blade Runner 2049/1080p/20190231120199.mkv", "1970-01-02"),
    ],
)
def test_dates_come_from_the_path_else_from_the_time(path: str, date: str) -> None:
    assert date_of(path, 100_000 * 10**9) == date


# SIGKILL.


def killed_at(count: int, work: Callable[[Callable[[str], None]], object]) -> bool:
    """Do `work` in a child that is killed at its step number `count`; whether it came that far."""

    def step(name: str) -> None:
        nonlocal count
        if count == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        count -= 1

    child = os.fork()
    if not child:
        code = 1
        with contextlib.suppress(BaseException):
            work(step)
            code = 0
        os._exit(code)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "the child failed"
    return os.WIFSIGNALED(status)


@pytest.mark.parametrize("where", ["same disk", "other disk"])
def test_killed_at_any_step_of_a_build_and_of_its_undoing(
    tmp_path: Path, other_disk: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A process that is killed leaves what it wrote, synced or not.
    monkeypatch.setattr(os, "fsync", lambda fd: None)
    source = (tmp_path if where == "same disk" else other_disk) / "photos"
    wanted = {"2019/a": b"a" * 700_000, "2019/b\udcff": b"b" * 9, "2020/c": b"c" * 1_200_000}
    hashes, steps, reached = {digest(data) for data in wanted.values()}, 0, True
    while reached:
        archived = tmp_path / f"Archive{steps}"
        fill(source, wanted)
        reached = killed_at(steps, lambda step, to=archived: build(to, source, on_step=step))
        assert contents(source, archived) >= hashes
        if reached and steps % 2:
            assert build(archived, source).phase == "built"
        if not reached or steps % 2:
            assert contents(archived) >= hashes and tree(source) == {}
        if jobs.all_jobs(Archive(archived)):
            killed_at(steps, lambda step, to=archived: undo(to, "a1", step))
        assert contents(source, archived) >= hashes
        with contextlib.suppress(ArchiveError):
            undo(archived, "a1")
        assert tree(source) == wanted and contents(archived) <= {digest((archived / "index.json").read_bytes())}
        assert not any((archived / ".mediapool/moving").glob("*"))
        steps += 1
    assert steps > len(STEPS)


def test_what_could_not_be_moved_at_first_is_in_the_manifest_after_a_kill_while_sealing(tmp_path: Path) -> None:
    source, archived = tmp_path / "photos", tmp_path / "Archive"
    fill(source, {"a": b"1", "b": b"22"})
    fill(archived, {"0002/photos/b": b"in the way"})

    def killed(step: Callable[[str], None]) -> None:
        archive = Archive(archived, make=True)
        with archive.locked():
            job, _ = begin(archive, source)
            assert job.volumes == ["0003"]
            fill(archived, {"0003/photos/b": b"in the way"})
            Build(archive, job, on_step=lambda name: step(name) if name == "sealed" else None).run()

    assert killed_at(0, killed)
    assert [file.path for file in Archive(archived).volumes["0003"].manifest.files] == ["photos/a"]
    (archived / "0003/photos/b").unlink()
    assert build(archived).phase == "built"
    assert [file.path for file in Archive(archived).volumes["0003"].manifest.files] == ["photos/a", "photos/b"]


def test_a_log_that_is_ahead_of_the_folders_after_a_power_cut_is_not_believed(tmp_path: Path) -> None:
    source, archived = tmp_path / "photos", tmp_path / "Archive"
    fill(source, {"a": b"1", "b": b"22"})

    def die(name: str) -> None:
        if name == "names synced":
            os.kill(os.getpid(), signal.SIGKILL)

    def cut(work: Callable[[Callable[[str], None]], object]) -> None:
        child = os.fork()
        if not child:
            work(die)
        assert os.WIFSIGNALED(os.waitpid(child, 0)[1])

    cut(lambda step: build(archived, source, on_step=step))
    assert len(jobs.job(Archive(archived), "a1").hashes) == 2
    (archived / "0001/photos/a").rename(source / "a")
    build(archived)
    assert tree(source) == {} and (archived / "0001/photos/a").read_bytes() == b"1"
    cut(lambda step: undo(archived, "a1", step))
    assert len(jobs.job(Archive(archived), "a1").back) == 2
    (source / "b").rename(archived / "0001/photos/b")
    assert undo(archived, "a1").phase == "undone" and tree(source) == {"a": b"1", "b": b"22"}
    assert not (archived / "0001").exists()


class Archiving(RuleBasedStateMachine):
    """Files come, volumes are built and undone, anything is killed anywhere: no content is ever lost."""

    base: Path

    def __init__(self) -> None:
        super().__init__()
        Archiving.count = getattr(Archiving, "count", 0) + 1
        self.room = self.base / str(Archiving.count)
        self.source, self.archived = self.room / "photos", self.room / "Archive"
        self.source.mkdir(parents=True)
        self.known: set[str] = set()
        Archive(self.archived, make=True)

    def phase(self) -> str:
        job = jobs.unfinished(Archive(self.archived))
        return job.phase if job else ""

    def built(self) -> list[str]:
        return [job.id for job in jobs.all_jobs(Archive(self.archived)) if job.phase != "undone"]

    @rule(
        name=st.sampled_from(["a", "2019/b", "2019/c\udcff", "2020/d"]),
        data=st.sampled_from([b"x", b"y", b"zz" * 9]),
        size=st.sampled_from([1, 60_000]),
    )
    def add(self, name: str, data: bytes, size: int) -> None:
        if not (self.source / name).exists():
            fill(self.source, {name: data * size})
            self.known.add(digest(data * size))

    @precondition(lambda self: self.phase() != "undoing")
    @rule(kill=st.integers(0, 60))
    def build(self, kill: int) -> None:
        killed_at(kill, lambda step: build(self.archived, self.source, on_step=step))

    @precondition(lambda self: self.built())
    @rule(kill=st.integers(0, 40), data=st.data())
    def undo(self, kill: int, data: st.DataObject) -> None:
        unfinished = jobs.unfinished(Archive(self.archived))
        chosen = unfinished.id if unfinished else data.draw(st.sampled_from(self.built()))
        killed_at(kill, lambda step: undo(self.archived, chosen, step))

    @precondition(lambda self: self.archived.joinpath("index.json").exists())
    @rule()
    def lose_the_index(self) -> None:
        (self.archived / "index.json").unlink()

    @invariant()
    def nothing_is_lost(self) -> None:
        assert contents(self.source, self.archived) >= self.known

    @invariant()
    def what_the_manifests_say_is_there(self) -> None:
        archive = Archive(self.archived)
        if jobs.unfinished(archive) is None:
            for name, volume in archive.volumes.items():
                for file in volume.manifest.files:
                    assert digest((self.archived / name / file.path).read_bytes()) == file.hash


def test_no_content_is_lost_over_builds_undoing_and_sigkill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda fd: None)
    Archiving.base = tmp_path
    run_state_machine_as_test(Archiving, settings=settings(max_examples=25, stateful_step_count=12, deadline=None))
