"""Images of volumes: written, mounted, compared, read again past the page cache, damaged, recovered."""

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from indexer import jobs
from indexer.archive import Build, prepare
from indexer.discs import SECTOR, Medium, file_cost, folder_cost
from indexer.gathering import Source
from indexer.images import label, write_image
from indexer.manifest import NAME, RECOVERY, Manifest
from indexer.planning import plan
from indexer.verifying import RawDisc, Verdict, open_disc, record, replan, verify
from indexer.volumes import Archive, ArchiveError, State

DISC = Medium("small", 3 << 20)
ODD = [
    "new\nline.jpg",
    "\udcff\udcfe.jpg",
    "quo'\"'te",
    " lead",
    "e\u0301.jpg",
    "\u00e9.jpg",
    "b\\s.jpg",
    "-dash",
    "*?[x]",
]
BURNED = State(burned="2026-01-02T03:04:05Z")


def quiet(*_: object) -> None:
    pass


def noise(seed: str, size: int) -> bytes:
    return hashlib.shake_128(seed.encode(errors="surrogateescape")).digest(size)


def build(base: Path, medium: Medium, size: int = 180_001) -> Archive:
    """An archive of three volumes, or what the medium makes of it."""
    source = base / "photos"
    for folder in ("2019/01", "2019/02", "2020/deep/er/and/deeper/still/so/deep/that/it/moves"):
        (source / folder).mkdir(parents=True)
        for n in range(9):
            (source / folder / f"IMG_{n}.jpg").write_bytes(noise(f"{folder}{n}", size + n))
    for name in [*ODD, "UNBURNED", "n" * 230, "empty"]:
        (source / "2019" / name).write_bytes(b"" if name == "empty" else noise(name, 999))
    archive = Archive(base / "Archive", make=True)
    with archive.locked():
        gathered = prepare([Source.plain(str(source))], archive)
        made = plan([file.entry() for file in gathered.files], medium)
        job = jobs.begin(archive, gathered, made, (medium.name, medium.capacity, medium.ecc))
        Build(archive, job).run()
    assert not job.left
    return archive


@contextmanager
def mounted(image: Path, place: Path) -> Iterator[Path]:
    """The image, loop-mounted by the kernel, or by fuseiso where the kernel does not know ISO 9660."""
    place.mkdir()
    kernel = "iso9660" in Path("/proc/filesystems").read_text() and os.geteuid() == 0
    mount = ["mount", "-t", "iso9660", "-o", "ro,loop", image, place] if kernel else ["fuseiso", image, place]
    subprocess.run(mount, check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", place] if kernel else ["fusermount3", "-u", place], check=True)


def checked(image: Path, archive: Archive | None) -> Verdict:
    disc = open_disc(str(image))
    try:
        return verify(disc, archive, quiet)
    finally:
        disc.close()


def flip(image: Path, at: int) -> None:
    with image.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 1]))


@pytest.mark.mount
def test_three_images_hold_what_was_archived_and_one_flipped_byte_is_found(tmp_path: Path) -> None:
    archive = build(tmp_path, DISC)
    assert len(archive.volumes) == 3
    images = {}
    for name, volume in archive.volumes.items():
        images[name] = tmp_path / f"{name}.iso"
        size = write_image(archive, volume, images[name], quiet)
        assert size == images[name].stat().st_size <= DISC.capacity and label(volume) == f"ARCHIVE_{name}"
        planned = cost(volume.manifest)
        # What was planned is enough, and little too much.
        assert size <= planned + (512 << 10) and size >= planned - (128 << 10)
        with mounted(images[name], tmp_path / f"disc{name}") as place:
            compare(place, Path(archive.path, name))
            seen = checked(place, archive)
            assert seen.manifest == volume.manifest and not seen.extra and set(seen.bad) <= {long_name(place)}
        assert checked(images[name], archive) == Verdict(volume.manifest, seen.files, seen.size, {}, ())
        archive.set_state(name, BURNED)
    damaged = archive.volumes["0002"].manifest.files[3]
    raw = RawDisc(str(images["0002"]))
    (start, _), *_ = raw._files[damaged.path][1]
    raw.close()
    flip(images["0002"], start + damaged.size - 1)
    for image in images.values():
        verdict = checked(image, archive)
        record(archive, verdict)
        found = {damaged.path: "its content is not what was archived"} if image is images["0002"] else {}
        assert verdict.bad == found
    states = {name: volume.state.word for name, volume in Archive(archive.path).volumes.items()}
    assert states == {"0001": "verified", "0002": "bad", "0003": "verified"}
    (again,) = replan(archive)
    assert (again.volume, again.files, again.lacking) == ("0002", len(archive.volumes["0002"].manifest.files), ())
    Path(archive.path, "0002", damaged.path).unlink()
    assert replan(archive)[0].lacking == (damaged.path,)
    with pytest.raises(ArchiveError, match="1 of .* files are not in"):
        write_image(archive, archive.volumes["0002"], tmp_path / "again.iso", quiet)
    assert not list(tmp_path.glob("again*"))


def cost(manifest: Manifest) -> int:
    folders = {"/".join(p[:n]) for f in manifest.files if (p := f.path.split("/")) for n in range(1, len(p))}
    return sum(file_cost(f.path, f.size) for f in manifest.files) + sum(map(folder_cost, folders))


def long_name(place: Path) -> str:
    """fuseiso cuts names that need two fields; the disc itself is read whole by the test beside it."""
    return "photos/2019/" + "n" * 230


def compare(place: Path, folder: Path) -> None:
    there = {str(path.relative_to(place)): path for path in place.rglob("*") if path.is_file()}
    files = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    for name, path in files.items():
        if name != "UNBURNED" and "n" * 230 not in name:
            assert there[name].read_bytes() == path.read_bytes()
            assert int(there[name].stat().st_mtime) == int(path.stat().st_mtime)
    assert "UNBURNED" not in there
    assert len(there) == len(files) - 1


SHAPES = {
    "plain": ("d{}", "IMG_{}.jpg", 1, 2000),
    "no ASCII": ("\u0436" * 60 + "{}", "\u0444" * 90 + "{}", 60, 4),
    "long": ("l" * 240 + "{}", "n" * 245 + "{}", 60, 4),
    "deep": ("x/y" * 12 + "{}", "f{}", 60, 4),
}


@pytest.mark.parametrize(("folder", "name", "folders", "files"), SHAPES.values(), ids=SHAPES)
def test_no_image_is_larger_than_planned(
    tmp_path: Path, folder: str, name: str, folders: int, files: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda fd: None)
    for n in range(folders):
        place = tmp_path / "many" / folder.format(n)
        place.mkdir(parents=True)
        for k in range(files):
            (place / name.format(k)).write_bytes(noise(f"{n} {k}", 37 + k % 4))
    archive = Archive(tmp_path / "Archive", make=True)
    with archive.locked():
        gathered = prepare([Source.plain(str(tmp_path / "many"))], archive)
        medium = Medium("large", 9 << 20)
        made = plan([file.entry() for file in gathered.files], medium)
        Build(archive, jobs.begin(archive, gathered, made, ("large", medium.capacity, 0.0))).run()
    (volume,) = archive.volumes.values()
    size = write_image(archive, volume, tmp_path / "disc.iso", quiet)
    # What every image has, most of it padding, is set aside besides.
    assert made.used[0] - (400 << 10) < size <= made.used[0] + (360 << 10)
    assert checked(tmp_path / "disc.iso", archive).bad == {}


def test_a_disc_without_its_archive_and_a_disc_whose_manifest_is_damaged(tmp_path: Path) -> None:
    archive = build(tmp_path, Medium("large", 30 << 20))
    (volume,) = archive.volumes.values()
    image = tmp_path / "disc.iso"
    write_image(archive, volume, image, quiet)
    assert checked(image, None).manifest == volume.manifest
    # A state folder and an archive that are lost come back from the discs.
    lost = Archive(tmp_path / "Anew", make=True)
    verdict = checked(image, lost)
    record(lost, verdict)
    assert Archive(tmp_path / "Anew").volumes["0001"].manifest == volume.manifest
    assert Archive(tmp_path / "Anew").id == archive.id
    raw = RawDisc(str(image))
    (start, _), *_ = raw._files[NAME][1]
    raw.close()
    flip(image, start + 200)
    assert list(checked(image, archive).bad) == [NAME]
    with pytest.raises(ArchiveError, match="--archive"):
        checked(image, None)
    image.write_bytes(b"no disc at all" * 9999)
    with pytest.raises(ArchiveError, match="no disc"):
        checked(image, archive)


def test_a_disc_is_read_past_the_page_cache_and_one_that_ends_early_is_bad(tmp_path: Path) -> None:
    archive = build(tmp_path, Medium("large", 30 << 20), 20_001)
    (volume,) = archive.volumes.values()
    image = tmp_path / "disc.iso"
    size = write_image(archive, volume, image, quiet)
    raw = RawDisc(str(image))
    try:
        # Not every filesystem of a test machine can; discs can.
        os.close(os.open(image, os.O_RDONLY | os.O_DIRECT))
        assert fcntl.fcntl(raw._fd, fcntl.F_GETFL) & os.O_DIRECT
    except OSError:
        assert not fcntl.fcntl(raw._fd, fcntl.F_GETFL) & os.O_DIRECT
    finally:
        raw.close()
    order = [raw._files[path][1][0][0] for path in raw.paths]
    assert order == sorted(order) and set(raw.paths) == {NAME, *(file.path for file in volume.manifest.files)}
    last = max(start + length for _, parts in raw._files.values() for start, length in parts)
    assert last < size
    os.truncate(image, last - 4096)
    bad = checked(image, archive).bad
    assert 1 <= len(bad) <= 6 and all("cannot be read" in cause for cause in bad.values())


def test_recovery_data_fits_and_brings_a_damaged_file_back(tmp_path: Path) -> None:
    archive = build(tmp_path, Medium("large", 4 << 20, 0.25), 60_001)
    (volume,) = archive.volumes.values()
    image = tmp_path / "disc.iso"
    assert write_image(archive, volume, image, quiet) <= volume.manifest.capacity
    folder = Path(archive.path, volume.name)
    recovery = sum(path.stat().st_size for path in (folder / RECOVERY).iterdir())
    assert 0.1 * volume.manifest.size < recovery < 0.25 * volume.manifest.size
    assert checked(image, archive).bad == {} and checked(image, archive).extra == ()
    assert not Path(archive.path, ".mediapool/recovery").exists()
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    for name in ("new\nline.jpg", "b\\s.jpg"):
        odd = copy / "photos/2019" / name
        odd.rename(odd.with_name(name.replace("\n", "%0A").replace("\\", "%5C")))
    flip(copy / "photos/2019/01/IMG_3.jpg", 77)
    flip(copy / "photos/2019/b%5Cs.jpg", 7)
    repair = ["par2", "repair", "-q", f"-B{copy}", copy / RECOVERY / "recovery.par2"]
    assert subprocess.run(repair, capture_output=True).returncode == 0
    for name, odd_name in (("01/IMG_3.jpg", "01/IMG_3.jpg"), ("b\\s.jpg", "b%5Cs.jpg")):
        assert (copy / "photos/2019" / odd_name).read_bytes() == (folder / "photos/2019" / name).read_bytes()


def test_a_missing_program_is_an_error_with_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = build(tmp_path, Medium("large", 30 << 20, 0.1))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ArchiveError, match="apt-get install par2"):
        write_image(archive, archive.volumes["0001"], tmp_path / "disc.iso", quiet)
    with pytest.raises(ArchiveError, match="apt-get install xorriso"):
        open_disc(str(tmp_path / "Archive/0001/index.json"))
    assert DISC.capacity % SECTOR == 0 and not list(tmp_path.glob("*.iso*"))
