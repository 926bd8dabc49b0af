"""What the repository promises of itself: sizes, docstrings, names, versions, and nothing foreign in it."""

import ast
import importlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from mounting import ROOT

PACKAGES = ("vfs", "debrid", "placement", "indexer", "cli")
MODULES = [path for top in PACKAGES for path in sorted((ROOT / top).rglob("*.py"))]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LONGEST_FILE = 400
LONGEST_FUNCTION = 60


def trees() -> Iterator[tuple[Path, ast.Module]]:
    for path in MODULES:
        yield path, ast.parse(path.read_text())


def tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).exists()]


def test_files_and_functions_are_short() -> None:
    long_files = [path.name for path in MODULES if len(path.read_text().splitlines()) > LONGEST_FILE]
    functions = [
        (path.name, node.name, (node.end_lineno or 0) - node.lineno + 1)
        for path, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    assert long_files == []
    assert [function for function in functions if function[2] > LONGEST_FUNCTION] == []
    lengths = sorted(length for *_, length in functions)
    assert lengths[len(lengths) // 2] <= 10 and lengths[len(lengths) * 9 // 10] <= 30


def test_every_module_says_what_it_is() -> None:
    assert [path.name for path, tree in trees() if not ast.get_docstring(tree)] == []


def test_no_module_is_called_like_another_one() -> None:
    taken = {*sys.stdlib_module_names, *PACKAGES}
    # Inside a package a name like a library's is only a risk when the file is run as a script; ours never are.
    top = {path.stem for path in MODULES if path.parent.name in PACKAGES and path.stem != "__init__"}
    assert {name for name in top if name in PACKAGES} == set()
    assert {name for name in top & taken if (ROOT / "cli" / f"{name}.py").exists()} == set()


@pytest.mark.parametrize("name", PACKAGES)
def test_the_packages_are_ours(name: str) -> None:
    # Another wheel with a top-level `cli` would overwrite ours without a word from pip.
    assert Path(importlib.import_module(name).__file__ or "").parent == ROOT / name


def test_tests_are_no_packages() -> None:
    assert list((ROOT / "tests").rglob("__init__.py")) == []


def test_constraints_name_an_exact_version_of_every_requirement() -> None:
    lines = (ROOT / "scripts/constraints.txt").read_text().splitlines()
    exact = {re.split("[=;]", line)[0].strip().lower(): line for line in lines if line and not line.startswith("#")}
    assert all("==" in line for line in exact.values())
    wanted = [*PROJECT["dependencies"], *(one for extra in PROJECT["optional-dependencies"].values() for one in extra)]
    names = {re.split("[<>=;\\[ ]", requirement)[0].lower() for requirement in wanted}
    assert names - set(exact) == set()


def test_the_repository_speaks_of_itself_alone() -> None:
    # Spelt in pieces, or this file would find itself.
    words = ("/wo" + "rk/", "bash_" + "jobs", "index-" + "url", "pypi" + r"\.org", "deb" + r"\.debian\.org")
    foreign = re.compile("|".join(words))
    found = []
    for path in tracked():
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        found += [f"{path.name}:{number}" for number, line in enumerate(text.splitlines(), 1) if foreign.search(line)]
    assert found == []


def test_the_top_level_is_as_designed() -> None:
    top = {path.relative_to(ROOT).parts[0] for path in tracked()}
    files = {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", ".gitignore"}
    assert top == {*PACKAGES, *files, "tests", "scripts", "docs", ".ci", ".github"}


def test_documents_link_to_what_exists() -> None:
    broken = []
    for document in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
            if "://" not in target and not (document.parent / target).exists():
                broken.append((document.name, target))
    assert broken == []
