"""What people install: sdist and wheel are built, and the wheel mounts from an empty environment."""

import json
import os
import subprocess
import sys
import tarfile
import urllib.request
import zipfile
from pathlib import Path

import pytest
from checkout import checkout
from mounting import ROOT, Mounted, wait_for

pytestmark = [pytest.mark.mount, pytest.mark.timeout(600)]


def run(*command: object, **options: object) -> None:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, **options)  # type: ignore[call-overload]
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with sdist and wheel, built from what git knows of, as anybody who clones does."""
    source = checkout(tmp_path_factory.mktemp("source"))
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--outdir", out, source)
    return out


def test_both_hold_every_module_and_nothing_else(built: Path) -> None:
    modules = {str(path.relative_to(ROOT)) for top in PACKAGES for path in (ROOT / top).rglob("*.py")}
    wheel = set(zipfile.ZipFile(next(built.glob("*.whl"))).namelist())
    assert {name for name in wheel if name.endswith(".py")} == modules
    assert {f"{top}/py.typed" for top in PACKAGES} <= wheel
    page = {str(path.relative_to(ROOT)) for name in ("templates", "static") for path in files(ROOT / "cli/web" / name)}
    assert len(page) > 15 and page <= wheel
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        sdist = {name.partition("/")[2] for name in archive.getnames()}
    assert modules | page <= sdist and "README.md" in sdist and "LICENSE" in sdist


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


PACKAGES = ("vfs", "debrid", "placement", "indexer", "cli")


def test_the_wheel_mounts_from_an_empty_environment(built: Path, tmp_path: Path) -> None:
    environment = tmp_path / "venv"
    run(sys.executable, "-m", "venv", environment)
    wheel = next(built.glob("*.whl"))
    run(environment / "bin/pip", "install", "--quiet", "-c", ROOT / "scripts/constraints.txt", wheel)
    mounted = Mounted(tmp_path)
    mediapool = environment / "bin/mediapool"
    # Nothing of the checkout may help: another folder, no variables for Python.
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    process = subprocess.Popen([mediapool, "mount", "--config", mounted.config], cwd=tmp_path, env=clean)
    wait_for(lambda: os.path.ismount(mounted.path) or process.poll() is not None, "the mount")
    assert process.poll() is None
    (mounted.path / "file").write_text("by the wheel")
    assert (mounted.path / "file").read_text() == "by the wheel"
    with urllib.request.urlopen(json.loads((mounted.state / "daemon.json").read_text())["url"], timeout=20) as page:
        assert "drive1" in page.read().decode()
    run(mediapool, "unmount", "--config", mounted.config, cwd=tmp_path, env=clean)
    assert process.wait(20) == 0
