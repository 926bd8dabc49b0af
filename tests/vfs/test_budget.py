"""Remote bytes of a day: counted by program and by work in the background, kept over restarts, capped."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vfs.budget import UNKNOWN, DailyBudget, Metered, program_of
from vfs.library import Key

DAY = 86_400.0
FILM: Key = ("torrent", "c0ffee", "1")


class Library:
    """Streams of zeros."""

    def stream(self, key: Key, offset: int, length: int) -> "Library":
        return self

    def readinto(self, buffer: memoryview) -> int:
        return len(buffer)

    def close(self) -> None:
        return None


def read(budget: DailyBudget, count: int) -> None:
    budget.reading(FILM)
    assert Metered(Library(), budget).stream(FILM, 0, count).readinto(memoryview(bytearray(count))) == count


def test_a_program_is_charged_and_capped_until_midnight(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    now = [1_000_000 * DAY]
    me = program_of(os.getpid())
    budget = DailyBudget(tmp_path / "b.json", {me: 1000}, clock=lambda: now[0])
    budget.pid = os.getpid
    read(budget, 600)
    read(budget, 600)
    for _ in range(2):
        with pytest.raises(OSError) as caught:
            read(budget, 1)
        assert caught.value.errno == errno.EIO
    assert caplog.text.count("[debrid.program_limits]") == 1
    budget.close()
    later = DailyBudget(tmp_path / "b.json", {me: 1000}, clock=lambda: now[0])
    later.pid = os.getpid
    assert later.status()["programs"] == {me: {"bytes": 1200, "limit": 1000}}
    with pytest.raises(OSError):
        read(later, 1)
    now[0] += DAY
    read(later, 1)
    assert later.status()["programs"][me]["bytes"] == 1


def test_work_in_the_background_shares_one_budget() -> None:
    now = [1_000_000 * DAY]
    budget = DailyBudget(background=1000, clock=lambda: now[0])
    assert budget.allows(1000) and not budget.allows(1001)
    budget.working(FILM, "warm")
    account = budget.account_of(FILM)
    budget.charge(account, 700)
    assert budget.allows(300) and not budget.allows(301)
    budget.spend("check", 300)
    assert not budget.allows()
    assert budget.status()["background"] == {"warm": 700, "check": 300} and budget.status()["programs"] == {}
    read(budget, 50)  # a program reads what is being warmed
    assert budget.status()["programs"] == {UNKNOWN: {"bytes": 50, "limit": None}}
    now[0] += budget.ends_in() - 1
    assert not budget.allows()
    now[0] += 1
    assert budget.allows(1000)
    free = DailyBudget()
    free.spend("warm", 1 << 50)
    assert free.allows(1 << 50)


def test_a_file_that_is_damaged_or_of_yesterday_counts_for_nothing(tmp_path: Path) -> None:
    file = tmp_path / "b.json"
    file.write_bytes(b'{"day": 3')
    assert DailyBudget(file).status()["programs"] == {}
    file.write_text('{"day": "1999-01-01", "programs": {"dd": 5}, "background": {}}')
    assert DailyBudget(file).status()["programs"] == {}


def test_threads_count_for_their_program() -> None:
    code = "import threading,time,sys; threading.Thread(target=time.sleep, args=(60,), daemon=True).start();"
    code += "print(*__import__('os').listdir('/proc/self/task'), flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=-1, stdout=-1, text=True) as process:
        assert process.stdout is not None
        threads = [int(word) for word in process.stdout.readline().split()]
        assert len(threads) == 2 and {program_of(thread) for thread in threads} == {program_of(process.pid)}
        process.communicate("")
    assert program_of(process.pid) == program_of(0) == UNKNOWN
