#!/usr/bin/env python3
"""Mounts a pool of two new drives for real and uses it as Windows programs do: python scripts/windows-smoke.py LETTER

Everything lies in a temporary folder. With the path of an empty folder instead of a letter it runs on Linux too,
without what only Windows has. Exit code 0 if all of it is as it should be.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ON_WINDOWS = sys.platform == "win32"
_SIZE = 48 << 20


def run(*command: str, ok: bool = True) -> str:
    """What a program says; AssertionError unless it ends as wanted."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=180)
    said = done.stdout + done.stderr
    assert (done.returncode == 0) == ok, f"{' '.join(command)} ended with {done.returncode}: {said}"
    return said


def cmd(line: str, ok: bool = True) -> str:
    """A line of cmd.exe."""
    return run("cmd", "/d", "/c", line, ok=ok)


def config_of(base: Path, mount: str) -> Path:
    drives = [base / "one", base / "two"]
    for drive in drives:
        drive.mkdir()
    parts = [f"[mount]\npath = '{mount}'", "[http]\nlisten = '127.0.0.1:0'", f"[state]\npath = '{base / 'state'}'"]
    parts += [f"[cache]\npath = '{base / 'cache'}'\nsize = '100MiB'\nmin_free = '1MiB'"]
    parts += ["[placement]\npolicy = 'rand'\nmin_free = '1MiB'"]
    parts += [f"[[drive]]\nname = '{drive.name}'\npath = '{drive}'" for drive in drives]
    file = base / "mediapool.toml"
    file.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return file


def use_by_python(tree: Path, base: Path) -> None:
    folder = tree / "media" / "Sérié (2020)"
    folder.mkdir(parents=True)
    film, data = folder / "film.mkv", os.urandom(_SIZE)
    film.write_bytes(data)
    assert film.stat().st_size == _SIZE and hashlib.md5(film.read_bytes()).digest() == hashlib.md5(data).digest()
    with film.open("r+b") as file:
        file.seek(1_000_001)
        assert file.read(10) == data[1_000_001:1_000_011]
        file.seek(0, os.SEEK_END)
        file.write(b"more")
        file.truncate(_SIZE + 2)
    assert film.read_bytes()[-2:] == b"mo"
    partial = folder / "film.mkv.partial~"
    partial.write_bytes(b"new")
    os.replace(partial, film)
    assert film.read_bytes() == b"new" and not partial.exists()
    film.rename(folder / "FILM.mkv")
    assert os.listdir(folder) == ["FILM.mkv"]
    os.utime(folder / "FILM.mkv", ns=(10**18, 1_600_000_000_000_000_000))
    assert (folder / "FILM.mkv").stat().st_mtime_ns == 1_600_000_000_000_000_000
    many = tree / "many"
    many.mkdir()
    for number in range(2000):
        (many / f"{number:04}.txt").touch()
    assert sorted(os.listdir(many)) == [f"{number:04}.txt" for number in range(2000)]
    on_drives = [path for drive in ("one", "two") for path in (base / drive / "many").glob("*.txt")]
    assert len(on_drives) == 2000, "each lies on one drive, under its own name"
    for path in many.iterdir():
        path.unlink()
    many.rmdir()


def use_by_windows(tree: Path) -> None:
    top = str(tree)
    cmd(f"mkdir {top}dir\\below && echo hello> {top}dir\\a.txt")
    assert "a.txt" in cmd(f"dir {top}dir") and "hello" in cmd(f"type {top}DIR\\A.TXT")
    cmd(f"copy {top}dir\\a.txt {top}dir\\b.txt")
    cmd(f"copy C:\\Windows\\notepad.exe {top}dir\\notepad.exe")
    cmd(f"fc /b C:\\Windows\\notepad.exe {top}dir\\notepad.exe")
    cmd(f"ren {top}dir\\b.txt C.txt")
    assert cmd(f"dir /b {top}dir").split() == ["a.txt", "below", "C.txt", "notepad.exe"]
    cmd(f"move /y {top}dir\\C.txt {top}dir\\a.txt")
    cmd(f"del {top}dir\\a.txt && rmdir {top}dir\\below")
    assert "mediapool" in cmd(f"vol {top[:2]}")
    powershell = ("powershell", "-NoProfile", "-Command")
    said = run(*powershell, f"(Get-ChildItem -Recurse {top} | Measure-Object).Count; Get-PSDrive {top[0]}")
    assert int(said.split()[0]) >= 2, said
    run(*powershell, f"Set-Content {top}dir\\ps.txt x; Remove-Item -Recurse {top}dir")
    assert not (tree / "dir").exists()
    (tree / "linked").write_bytes(b"x")
    try:
        os.link(tree / "linked", tree / "other")
    except OSError as cause:
        print("hard links are refused, as expected:", cause)
    else:
        raise AssertionError("a hard link was made, which WinFsp never could: tell README")


def wait_for(true: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + 60
    while not true():
        assert time.monotonic() < until, f"{what} takes more than a minute"
        time.sleep(0.1)


def main(where: str) -> None:
    tree = Path(f"{where[0]}:\\") if ON_WINDOWS else Path(where)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        base = Path(temporary)
        config = ("--config", str(config_of(base, str(tree))))
        mediapool = (sys.executable, "-m", "cli")
        print(run(*mediapool, "mount", "--background", *config))
        try:
            use_by_python(tree, base)
            if ON_WINDOWS:
                use_by_windows(tree)
            print(run(*mediapool, "status", *config))
            print(run(*mediapool, "doctor", *config) if ON_WINDOWS else "")
        finally:
            print(run(*mediapool, "unmount", *config))
            log = (base / "state" / "mediapool.log").read_text(encoding="utf-8", errors="replace")
            print("\n".join(line for line in log.splitlines() if " INFO placement." not in line))
        wait_for(lambda: not ON_WINDOWS or not tree.exists(), "unmounting")
    print("all of it is as it should be")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
