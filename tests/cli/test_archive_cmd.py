"""`mediapool archive` and `mediapool jobs`: from a plan over two drives to discs that are verified, and back."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from mounting import Mounted

from cli.main import main
from indexer import archived, gathering
from indexer.archive import Build
from indexer.volumes import Archive
from placement.identity import initialise


class Pool:
    """Two drives with photos, and commands with their configuration."""

    def __init__(self, base: Path) -> None:
        self.mounted = Mounted(base, drives=2)
        self.one, self.two = self.mounted.drive_paths
        for number, path in enumerate(self.mounted.drive_paths, 1):
            initialise(path, path.name, number)
        for n in range(6):
            self.add(self.one, f"media/photos/2019/0{n + 1}/IMG_{n}.jpg", bytes([n]) * 400_000)
            self.add(self.two, f"media/photos/2020/IMG_{n}\udcff.jpg", bytes([n + 100]) * 100_000)
        self.add(self.two, "media/photos/2020/again.jpg", bytes([3]) * 400_000)
        self.archive = self.two / "Archive"

    def add(self, drive: Path, name: str, data: bytes) -> None:
        (drive / name).parent.mkdir(parents=True, exist_ok=True)
        (drive / name).write_bytes(data)

    def run(self, *words: object) -> Result:
        return CliRunner().invoke(main, [*map(str, words), "--config", str(self.mounted.config)])

    def json(self, *words: object, code: int = 0) -> Any:
        done = self.run(*words, "--json")
        assert done.exit_code == code, done.output
        return json.loads(done.stdout)

    def photos(self) -> dict[str, bytes]:
        return {
            str(path.relative_to(drive)): path.read_bytes()
            for drive in (self.one, self.two)
            for path in drive.glob("media/**/*")
            if path.is_file()
        }


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    return Pool(tmp_path)


def test_from_the_plan_to_verified_discs_and_back(pool: Pool, tmp_path: Path) -> None:
    before = pool.photos()
    tree, medium = pool.mounted.path / "media/photos", "--media=2MB"
    planned = pool.json("archive", "plan", tree, medium, "--archive", pool.archive)
    assert planned["prices"]["ffd"]["discs"] == len(planned["volumes"]) == 3 and planned["prices"]["ffd"]["split"] == 0
    assert [one["path"] for one in planned["copies"]] == [str(pool.two / "media/photos/2020/again.jpg")]
    text = pool.run("archive", "plan", tree, medium, "--archive", pool.archive)
    assert text.exit_code == 0 and "0003" in text.stdout and "1 files stay" in text.stdout
    assert pool.run("archive", "build", tree, medium, "--archive", pool.archive, "--dry-run").exit_code == 0
    asked = pool.run("archive", "build", tree, medium, "--archive", pool.archive)
    assert asked.exit_code == 2 and "--yes" in asked.stderr and pool.photos() == before
    built = pool.json("archive", "build", tree, medium, "--archive", pool.archive, "--yes")
    assert (built["job"], built["volumes"], built["files"]) == ("a1", ["0001", "0002", "0003"], 12)
    assert list(pool.photos()) == ["media/photos/2020/again.jpg"]
    # The archive is remembered; without the memory it is named.
    assert [one["state"] for one in pool.json("archive", "status")["volumes"]] == ["unburned"] * 3
    (pool.mounted.state / "archive.json").unlink()
    assert "--archive DIR" in pool.run("archive", "status").stderr
    assert len(pool.json("archive", "status", "--archive", pool.archive)["volumes"]) == 3
    # Told by content: the copy is archived, what is new is not.
    pool.add(pool.one, "media/photos/new.jpg", b"new")
    files = {os.path.basename(one["path"]): one["archived"] for one in pool.json("archive", "status", tree)["files"]}
    assert files == {"again.jpg": True, "new.jpg": False}
    assert "not yet: " + str(pool.one / "media/photos/new.jpg") in pool.run("archive", "status", tree).stdout
    found = pool.json("archive", "find", "img_3")
    assert len(found) == 2 and {one["state"] for one in found} == {"unburned"}
    assert pool.json("archive", "find", "*.cr2", code=1) == []
    burn(pool, tmp_path)


def burn(pool: Pool, room: Path) -> None:
    for name in ("0001", "2", "0003"):
        image = room / f"{name}.iso"
        assert pool.json("archive", "image", name, "--to", image, "--dry-run")["size"] == 0 and not image.exists()
        assert pool.json("archive", "image", name, "--to", image)["size"] == image.stat().st_size
        assert "--yes" in pool.run("archive", "image", name, "--to", image).stderr
        assert pool.json("archive", "mark", name, "--burned", "--disc", "blue")["state"] == "burned"
        verified = pool.json("archive", "verify", image)
        assert verified["bad"] == [] and verified["kept"]
    data = bytearray((room / "2.iso").read_bytes())
    at = data.index(Path(next(pool.archive.glob("0002/media/**/IMG*"))).read_bytes()[:9000])
    data[at + 4321] ^= 4
    (room / "2.iso").write_bytes(data)
    bad = pool.run("archive", "verify", room / "2.iso")
    assert bad.exit_code == 1 and "archive image 0002" in bad.stderr and "1 of" in bad.stderr
    assert [one["volume"] for one in pool.json("archive", "plan")] == ["0002"]
    assert "Volume 0002 is to be burned again" in pool.run("archive", "plan").stdout
    states = [one["state"] for one in pool.json("archive", "status")["volumes"]]
    assert states == ["verified", "bad", "verified"]
    refused = pool.run("jobs", "undo", "a1", "--yes")
    assert refused.exit_code == 1 and "burned" in refused.stderr
    for name in ("0001", "0002", "0003"):
        pool.json("archive", "mark", name, "--unburned")
    assert [(one["id"], one["state"]) for one in pool.json("jobs", "list")] == [("a1", "built")]
    assert pool.json("jobs", "undo", "a1", "--dry-run")["back"] == 0
    assert pool.json("jobs", "undo", "a1", "--yes")["back"] == 12
    assert len(pool.photos()) == 14 and pool.json("archive", "status")["volumes"] == []
    assert "undone" in pool.run("jobs", "list").stdout


def test_what_leaves_a_full_drive_is_the_oldest(pool: Pool) -> None:
    planned = pool.json("archive", "plan", "--from-drive", "drive1", "--free", "700KB", "--media", "2MB")
    assert [one["path"] for volume in planned["volumes"] for one in volume["files"]] == [
        "media/photos/2019/01/IMG_0.jpg", "media/photos/2019/02/IMG_1.jpg",
    ]  # fmt: skip
    assert planned["freed"] == 800_000 and {one["reason"] for one in planned["left"]} >= {"not among the oldest"}
    short = pool.run(
        "archive", "plan", "media/photos/2019/06", "--from-drive", "drive1", "--free", "5MB", "--media=2MB"
    )
    assert short.exit_code == 0 and "only 390.6 KiB can leave" in short.stderr


def test_an_interrupted_build_is_gone_on_with(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = pool.photos()
    bring = Build._bring

    def interrupted(self: Build, item: Any, *rest: Any) -> None:
        if item.number == 3:
            raise KeyboardInterrupt
        bring(self, item, *rest)

    build = ("archive", "build", pool.one / "media", "--media=2MB", "--archive", pool.archive, "--yes")
    monkeypatch.setattr(Build, "_bring", interrupted)
    stopped = pool.run(*build)
    assert stopped.exit_code == 1 and "Go on with: mediapool archive build" in stopped.stderr
    monkeypatch.undo()
    assert "a1 was interrupted" in pool.run(*build).stderr
    assert "a1 was interrupted" in pool.run("archive", "image", "1").stderr
    assert "3 of 6" in pool.run("archive", "build", "--dry-run").stdout
    assert pool.json("archive", "build", "--yes")["files"] == 6
    assert "No build was interrupted" in pool.run("archive", "build", "--yes").stderr
    archived = {file.path for volume in Archive(pool.archive).volumes.values() for file in volume.manifest.files}
    assert archived == {name for name in wanted if "/2019/" in name}


def test_wrong_words_are_refused_with_a_remedy(pool: Pool, tmp_path: Path) -> None:
    def said(*words: object) -> str:
        done = pool.run("archive", *words)
        assert done.exit_code != 0 and "Traceback" not in done.output
        return done.stderr

    media = pool.one / "media"
    assert "bd25, bd50" in said("plan", media, "--media", "bd26")
    assert "--ecc 20%" in said("plan", media, "--ecc", "much")
    assert "--from-drive" in said("plan", media, "--free", "1GB")
    assert "pool status" in said("plan", "--from-drive", "drive9")
    assert "no folder" in said("plan", tmp_path / "nothing")
    assert "No drive that is there" in said("plan", pool.mounted.path / "nothing")
    assert "--media" in said("plan", media, "--media", "800KB") and "IMG_0.jpg" in said("plan", media, "--media=800KB")
    assert "mounted tree" in said("build", media, "--archive", pool.mounted.path / "Archive", "--yes")
    assert "no archive" in said("status", "--archive", tmp_path / "nothing")
    assert "There is no volume" in said("image", "7", "--archive", pool.two)
    text = pool.mounted.config.read_text()
    pool.mounted.config.write_text(text.replace('name = "drive1"', 'name = "drive1"\nmode = "ro"'))
    assert "read-only" in said("build", media, "--archive", pool.archive, "--yes")
    assert "read-only" in said("build", pool.two / "media", "--archive", pool.one / "Archive", "--yes")


def test_what_the_index_read_is_not_read_again(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    tree, medium = pool.mounted.path / "media/photos", "--media=2MB"
    assert pool.run("index", "crawl").exit_code == 0
    changed = pool.one / "media/photos/2019/01/IMG_0.jpg"
    changed.write_bytes(bytes([77]) * 400_000)  # of the same size, with a time of its own
    read: list[str] = []

    def counted(gathered: Any, file: Any, known: Any) -> str:
        found: str | None = known.hash_of(gathered.origin(file), file.size, file.mtime_ns)
        read.extend([] if found else [gathered.origin(file)])
        return hashed(gathered, file, known)

    hashed = gathering.content_hash
    monkeypatch.setattr(archived, "content_hash", counted)
    assert pool.json("archive", "build", tree, medium, "--archive", pool.archive, "--yes")["files"] == 12
    read.clear()
    status = pool.json("archive", "status", tree, "--archive", pool.archive)
    assert [one["archived"] for one in status["files"]] == [True] and read == []
    pool.add(pool.one, "media/photos/2021/new.jpg", bytes([3]) * 400_000)
    status = pool.json("archive", "status", tree, "--archive", pool.archive)
    assert [one["archived"] for one in status["files"]] == [True, True]
    assert read == [str(pool.one / "media/photos/2021/new.jpg")], "the index has not read it yet"
