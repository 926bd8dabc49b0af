"""Moves of files that others change, hold, link or move meanwhile."""

import errno
import mmap
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from moving import Pool

from placement.copying import Allowance
from placement.linkgroup import STAGING
from placement.relocation import TRIES
from placement.staging import Original


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Pool]:
    made = Pool(tmp_path)
    yield made
    made.close()


def at(step: str, when: str, act: Callable[[], object], *, times: int = 1) -> Callable[[str, str], None]:
    """A hook that acts the first so many times the step is reached."""
    left = [times]

    def hook(name: str, now: str) -> None:
        if (name, now) == (step, when) and left[0]:
            left[0] -= 1
            act()

    return hook


def append(path: Path, data: bytes = b"+") -> None:
    with path.open("ab") as file:
        file.write(data)


def busy(pool: Pool, path: str, hook: Callable[[str, str], None] | None = None, *, held: bool = False) -> str:
    with pytest.raises(OSError) as caught:
        pool.mover(on_step=hook).move(pool.d1, path, pool.d2, held=held)
    assert caught.value.errno == errno.EBUSY
    return str(caught.value)


# The content changes.


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", ["copied", "copy synced", "compared"])
def test_a_change_while_it_is_copied_is_copied_too(pool: Pool, step: str, when: str) -> None:
    names = pool.group("a", "b")
    copies: list[str] = []

    def hook(name: str, now: str) -> None:
        copies.append(name)
        change(name, now)

    change = at(step, when, lambda: append(pool.one / "b"))
    pool.mover(on_step=hook).move(pool.d1, "a", pool.d2)
    pool.assert_whole(pool.two, names, b"content+")
    assert copies.count("copied") == (2 if (step, when) == ("copied", "before") else 4)


def test_a_change_in_the_middle_of_the_copy(pool: Pool) -> None:
    pool.group("a", content=b"x" * (3 << 20))
    seen: list[int] = []

    def progress(path: str, phase: str, done: int, size: int) -> None:
        if not seen:
            with (pool.one / "a").open("r+b") as file:
                file.write(b"y")
        seen.append(done)

    pool.mover(progress=progress).move(pool.d1, "a", pool.d2)
    pool.assert_whole(pool.two, ["a"], b"y" + b"x" * ((3 << 20) - 1))


@pytest.mark.parametrize("size", [0, 1 << 20, (1 << 20) + 5])
def test_it_becomes_shorter_while_it_is_copied(pool: Pool, size: int) -> None:
    pool.group("a", content=b"x" * (3 << 20))
    once = at("", "", lambda: os.truncate(pool.one / "a", size))
    pool.mover(progress=lambda *_: once("", "")).move(pool.d1, "a", pool.d2)
    pool.assert_whole(pool.two, ["a"], b"x" * size)


def test_stores_through_a_mapping_are_noticed(pool: Pool) -> None:
    """The page is dirty when the copy begins, so the second store changes no time by itself."""
    pool.group("a", content=b"x" * 4096)
    with (pool.one / "a").open("r+b") as file, mmap.mmap(file.fileno(), 4096) as mapped:
        mapped[0:1] = b"1"

        def store() -> None:
            mapped[1:2] = b"2"

        pool.mover(on_step=at("copy synced", "before", store)).move(pool.d1, "a", pool.d2)
    pool.assert_whole(pool.two, ["a"], b"12" + b"x" * 4094)


def test_one_that_keeps_changing_is_left(pool: Pool) -> None:
    names = pool.group("a", "b")
    hook = at("copied", "after", lambda: append(pool.one / "b"), times=99)
    assert "changed while it was copied" in busy(pool, "a", hook)
    pool.assert_whole(pool.one, names, b"content" + b"+" * TRIES)
    assert pool.tree.calls == [], "it was not frozen for that"


def test_a_change_just_before_the_freeze(pool: Pool) -> None:
    names = pool.group("a", "b")
    pool.tree.on_freeze = lambda: append(pool.one / "a")
    pool.move("a", rate=1 << 30)
    pool.assert_whole(pool.two, names, b"content+")


def test_others_do_not_wait_for_the_pace(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    pool.group("a")
    paces: set[tuple[bool, int | None]] = set()
    real = Allowance.spend

    def spend(allowance: Allowance, count: int = 0) -> None:
        paces.add((bool(pool.tree.frozen), allowance._rate))
        real(allowance, count)

    monkeypatch.setattr(Allowance, "spend", spend)
    pool.tree.on_freeze = lambda: append(pool.one / "a")
    pool.move("a", rate=1 << 30)
    assert paces == {(False, 1 << 30), (True, None)}


def test_a_change_of_this_moment_is_waited_out(pool: Pool) -> None:
    """Where clocks tick every few ms, the next change may carry the same time."""
    pool.group("a")
    with Original(pool.d1, "a") as original:
        append(pool.one / "a")
        changed = original.stamp().ctime_ns
        original.settle()
        assert time.time_ns() - changed >= 20_000_000


def test_a_held_file_that_changes_all_the_same(pool: Pool) -> None:
    pool.group("a", content=b"x" * (2 << 20))
    once = at("", "", lambda: append(pool.one / "a"))
    with pytest.raises(OSError, match="changed") as caught:
        pool.mover(progress=lambda *_: once("", "")).move(pool.d1, "a", pool.d2, held=True)
    assert caught.value.errno == errno.EBUSY
    pool.assert_whole(pool.one, ["a"], b"x" * (2 << 20) + b"+")


def test_a_held_file_is_not_frozen(pool: Pool) -> None:
    names = pool.group("a", "b")
    pool.tree.names = lambda: ["b", "a"]
    pool.move("a", held=True)
    pool.assert_whole(pool.two, names)
    assert [call[0] for call in pool.tree.calls] == ["swap"]


def test_attributes_that_change_are_copied_too(pool: Pool) -> None:
    pool.group("a")
    hook = at(
        "compared", "after", lambda: (os.setxattr(pool.one / "a", "user.x", b"1"), (pool.one / "a").chmod(0o4711))
    )
    pool.mover(on_step=hook).move(pool.d1, "a", pool.d2)
    assert os.getxattr(pool.two / "a", "user.x") == b"1"
    assert (pool.two / "a").stat().st_mode & 0o7777 == 0o4711


def test_an_attribute_removed_meanwhile(pool: Pool) -> None:
    pool.group("a")
    os.setxattr(pool.one / "a", "user.x", b"1")
    hook = at("compared", "after", lambda: os.removexattr(pool.one / "a", "user.x"))
    pool.mover(on_step=hook).move(pool.d1, "a", pool.d2)
    assert os.listxattr(pool.two / "a") == []


# The names change.


def test_a_link_made_meanwhile_is_found(pool: Pool) -> None:
    pool.group("a", "b")
    once = at("", "", lambda: os.link(pool.one / "a", pool.one / "c"))
    pool.tree.on_freeze = lambda: once("", "")
    moved = pool.move("a")
    assert moved.paths == ("a", "b", "c")
    pool.assert_whole(pool.two, ["a", "b", "c"])
    assert [call[0] for call in pool.tree.calls] == ["freeze", "freeze", "swap"]


def test_a_renamed_file_is_found(pool: Pool) -> None:
    pool.group("a")
    once = at("", "", lambda: os.rename(pool.one / "a", pool.one / "new name"))
    pool.tree.on_freeze = lambda: once("", "")
    pool.move("a")
    pool.assert_whole(pool.two, ["new name"])


def test_names_that_keep_changing(pool: Pool) -> None:
    pool.group("a")
    number = iter(range(99))
    pool.tree.on_freeze = lambda: os.link(pool.one / "a", pool.one / f"link{next(number)}")
    assert "names" in busy(pool, "a")
    pool.assert_whole(pool.one, ["a", "link0", "link1"])


@pytest.mark.parametrize("known", [[], ["a"], ["a", "a"], ["a", "other"], ["a", "b", "gone"], ["gone/a", "b"]])
def test_what_the_tree_knows_wrongly_is_looked_up(pool: Pool, known: list[str]) -> None:
    pool.group("other")
    names = pool.group("a", "b")
    pool.tree.names = lambda: known
    pool.move("a")
    pool.assert_whole(pool.two, names)


def test_the_tree_is_believed_where_it_is_right(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    names = pool.group("a", "b")
    pool.tree.names = lambda: names
    monkeypatch.setattr("placement.relocation.find_names", lambda *_: pytest.fail("walked"))
    pool.move("a")
    pool.assert_whole(pool.two, names)


def test_a_name_that_cannot_be_found_keeps_all_in_place(pool: Pool) -> None:
    """One lies where nobody looks: in the copy of a move that waits."""
    pool.group("a")
    (pool.one / STAGING).mkdir()
    os.link(pool.one / "a", pool.one / STAGING / "0123")
    assert "names cannot be found" in busy(pool, "a")
    (pool.one / STAGING / "0123").unlink()
    pool.assert_whole(pool.one, ["a"])


def test_removed_while_it_is_copied(pool: Pool) -> None:
    pool.group("a")
    hook = at("compared", "after", lambda: os.unlink(pool.one / "a"))
    with pytest.raises(FileNotFoundError):
        pool.mover(on_step=hook).move(pool.d1, "a", pool.d2)
    pool.assert_tidy()
    assert pool.files(pool.two) == {}


def test_replaced_by_another_file_while_it_is_copied(pool: Pool) -> None:
    pool.group("a", "keeps it alive")

    def replace() -> None:
        (pool.one / "new").write_bytes(b"another")
        os.replace(pool.one / "new", pool.one / "a")

    pool.mover(on_step=at("compared", "after", replace)).move(pool.d1, "a", pool.d2)
    pool.assert_whole(pool.two, ["keeps it alive"])
    assert (pool.one / "a").read_bytes() == b"another"


# Others.


def test_one_that_cannot_be_frozen(pool: Pool) -> None:
    pool.group("a", "b")

    def fail() -> None:
        raise OSError(errno.EBUSY, "a program writes to it directly")

    pool.tree.on_freeze = fail
    assert "a program writes to it directly" in busy(pool, "a")
    pool.assert_whole(pool.one, ["a", "b"])


def test_a_file_appears_on_the_target_at_the_last_moment(pool: Pool) -> None:
    names = pool.group("new/a", "new/b")

    def appear() -> None:
        (pool.two / "new").mkdir()
        (pool.two / "new/b").write_text("another")

    with pytest.raises(FileExistsError, match="new/b"):
        pool.mover(on_step=at("names journaled", "after", appear)).move(pool.d1, "new/a", pool.d2)
    assert (pool.two / "new/b").read_text() == "another"
    (pool.two / "new/b").unlink()
    pool.assert_whole(pool.one, names)


def test_the_same_file_twice_at_once(pool: Pool) -> None:
    names = pool.group("a", "b")
    mover = pool.mover(on_step=lambda *step: second() if step == ("copied", "after") else None)
    refusals: list[OSError] = []

    def second() -> None:
        with pytest.raises(OSError, match="being moved already") as caught:
            mover.move(pool.d1, "b", pool.d2)
        refusals.append(caught.value)

    mover.move(pool.d1, "a", pool.d2)
    assert [refusal.errno for refusal in refusals] == [errno.EBUSY]
    pool.assert_whole(pool.two, names)


def test_recovery_leaves_moves_under_way_alone(pool: Pool) -> None:
    names = pool.group("a", "b")
    results: list[object] = []
    mover = pool.mover(on_step=lambda *step: results.extend(mover.recover()) if step[0] != "strays removed" else None)
    mover.move(pool.d1, "a", pool.d2)
    assert results == []
    pool.assert_whole(pool.two, names)


def test_many_at_once_into_the_same_new_folders(pool: Pool) -> None:
    """Some of them fail, and take no folder away from the others."""
    for number in range(24):
        pool.group(f"deep/er/{number}")
        if number % 3 == 0:
            pool.group(f"clash/{number}")
            os.link(pool.one / f"deep/er/{number}", pool.one / f"clash/{number}.link")
    lates = iter(range(1000))

    def late(name: str, when: str) -> None:
        if (name, when) == ("folders synced", "before") and next(lates) % 3 == 0:
            raise OSError(errno.EIO, "fails late")

    mover = pool.mover(on_step=late)
    errors: list[OSError] = []

    def move(number: int) -> None:
        try:
            mover.move(pool.d1, f"deep/er/{number}", pool.d2)
        except OSError as error:
            errors.append(error)

    threads = [threading.Thread(target=move, args=(number,)) for number in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [str(error) for error in errors if "fails late" not in str(error)] == []
    assert len(errors) == 8
    there = [number for number in range(24) if (pool.two / f"deep/er/{number}").exists()]
    assert len(there) == 16
    assert all((pool.one / f"deep/er/{number}").exists() != (number in there) for number in range(24))
    pool.assert_tidy()
