"""Threads are used again, and each thing has one of its own at once."""

import threading
from functools import partial

import pytest
from remote_bytes import eventually

from vfs.workers import Workers


def named(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == name]


def test_each_thing_runs_at_once_whatever_the_others_wait_for() -> None:
    workers = Workers("at-once")
    together = threading.Barrier(6)
    for _ in range(5):
        workers.run(lambda: together.wait(20))
    together.wait(20)
    workers.close(20)
    assert not named("at-once")


def test_a_thread_that_rests_is_used_again_and_survives_a_failure(caplog: pytest.LogCaptureFixture) -> None:
    workers = Workers("again")
    seen: list[int | None] = []

    def act(fails: bool) -> None:
        seen.append(threading.current_thread().ident)
        if fails:
            raise ValueError("no good")

    for number in range(4):
        workers.run(partial(act, number == 1))
        eventually(lambda count=number + 1: len(seen) == count and workers._resting == 1)
    assert len(set(seen)) == 1
    assert "no good" in caplog.text
    workers.close(20)
    assert not named("again")


def test_a_thread_without_work_ends_and_closing_waits_for_what_is_under_way() -> None:
    workers = Workers("ends", idle=0.01)
    workers.run(lambda: None)
    eventually(lambda: not named("ends"))
    gate, done = threading.Event(), []
    workers.run(lambda: done.append(gate.wait(20)))
    workers.close(0.01)
    assert len(named("ends")) == 1, "patience ends"
    gate.set()
    workers.close(20)
    assert done == [True] and not named("ends")
