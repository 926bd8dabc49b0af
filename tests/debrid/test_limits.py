"""Pace, priority, pauses and holds, on a clock that only moves when somebody sleeps."""

import threading
import time
from datetime import UTC, datetime

import pytest

from debrid.errors import AuthError, DebridError, FairUse, RateLimited, TrafficExhausted, Unavailable
from debrid.holds import ANY, CDN, UNRESTRICT, Holds, seconds_to_reset
from debrid.limits import RATES, Limits, Pauses, Rate


class Clock:
    """Seconds; sleeping moves it."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._lock = threading.Lock()

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def limits(clock: Clock) -> Limits:
    return Limits(clock=clock, sleep=clock.sleep, spread=lambda: 1.0)


def calls_within(limits: Limits, clock: Clock, kind: str, seconds: float) -> int:
    """How many calls of a kind a greedy caller gets through in a time."""
    end, count = clock.now + seconds, 0
    while True:
        try:
            limits.wait(kind, end)
        except RateLimited:
            return count
        count += 1


def test_never_more_than_the_allowance_of_a_minute(limits: Limits, clock: Clock) -> None:
    assert 230 <= calls_within(limits, clock, ANY, 60) <= 250


@pytest.mark.parametrize(("kind", "seconds", "most"), [("list", 60, 75), ("change", 10, 22), (UNRESTRICT, 60, 65)])
def test_smaller_allowances(limits: Limits, clock: Clock, kind: str, seconds: float, most: int) -> None:
    assert most * 0.8 <= calls_within(limits, clock, kind, seconds) <= most


def test_a_small_burst_does_not_wait(limits: Limits, clock: Clock) -> None:
    for _ in range(RATES[UNRESTRICT].burst):
        limits.wait(UNRESTRICT, clock.now)
    assert clock.now == 1000.0


def test_raises_at_once_when_the_deadline_would_pass(limits: Limits, clock: Clock) -> None:
    for _ in range(RATES[UNRESTRICT].burst):
        limits.wait(UNRESTRICT, clock.now + 10)
    with pytest.raises(RateLimited) as caught:
        limits.wait(UNRESTRICT, clock.now + 0.5)
    assert clock.now == 1000.0
    assert caught.value.retry_after == pytest.approx(1.0)


def test_who_gave_up_leaves_nothing_behind(limits: Limits, clock: Clock) -> None:
    for _ in range(RATES[UNRESTRICT].burst):
        limits.wait(UNRESTRICT, clock.now + 10)
    for _ in range(50):
        with pytest.raises(RateLimited):
            limits.wait(UNRESTRICT, clock.now + 0.5)
    limits.wait(UNRESTRICT, clock.now + 2)
    assert clock.now <= 1001.01


def test_a_read_goes_ahead_of_polls_that_came_first(clock: Clock) -> None:
    limits = Limits({ANY: Rate(1, 1), "list": Rate(1, 10), UNRESTRICT: Rate(1, 10)}, clock=clock)
    limits.wait(ANY, clock.now)
    order: list[str] = []
    asleep = threading.Semaphore(0)

    def call(kind: str, urgent: bool, name: str) -> None:
        def sleep(_: float) -> None:
            asleep.release()
            time.sleep(0.002)

        limits.wait(kind, float("inf"), urgent=urgent, sleep=sleep)
        order.append(name)

    threads = []
    for kind, urgent, name in [("list", False, f"poll{n}") for n in range(4)] + [(UNRESTRICT, True, "read")]:
        threads.append(threading.Thread(target=call, args=(kind, urgent, name)))
        threads[-1].start()
        asleep.acquire()  # it stands in the queue
    for count in range(1, 6):
        clock.sleep(1)
        while len(order) < count:
            time.sleep(0.001)
    for thread in threads:
        thread.join()
    assert order == ["read", "poll0", "poll1", "poll2", "poll3"]


def test_urgent_waiters_of_a_slow_bucket_do_not_starve_the_others(clock: Clock) -> None:
    limits = Limits({ANY: Rate(100, 10), "list": Rate(10, 5), UNRESTRICT: Rate(0.01, 1)}, clock=clock)
    limits.wait(UNRESTRICT, clock.now)
    stop = threading.Event()

    def blocked() -> None:
        with pytest.raises(RateLimited):
            limits.wait(UNRESTRICT, float("inf"), urgent=True, sleep=lambda _: _until(stop))

    waiters = [threading.Thread(target=blocked) for _ in range(20)]
    for waiter in waiters:
        waiter.start()
    for _ in range(5):
        limits.wait("list", clock.now)
    stop.set()
    for waiter in waiters:
        waiter.join()


def _until(stop: threading.Event) -> None:
    stop.wait()
    raise RateLimited("enough")


def test_one_refusal_stops_everybody_for_as_long_as_was_asked(limits: Limits, clock: Clock) -> None:
    assert limits.refused(17) == 17
    assert limits.paused_for() == 17
    for kind in (ANY, "list", UNRESTRICT):
        with pytest.raises(RateLimited):
            limits.wait(kind, clock.now + 16)
    limits.wait(UNRESTRICT, clock.now + 30, urgent=True)
    assert clock.now >= 1017
    assert limits.refused_within(30)


def test_pauses_grow_and_the_breaker_opens(limits: Limits, clock: Clock) -> None:
    pauses = []
    for _ in range(5):
        pauses.append(limits.refused())
        clock.sleep(limits.paused_for())
    assert pauses[:2] == [1, pytest.approx(2, rel=0.1)]
    assert pauses[2] >= 120
    assert max(pauses) <= 600


def test_refusals_of_calls_already_under_way_count_once(limits: Limits) -> None:
    for _ in range(30):
        limits.refused()
    assert limits.paused_for() == pytest.approx(1)


def test_old_refusals_are_forgiven(limits: Limits, clock: Clock) -> None:
    for _ in range(3):
        limits.refused()
        clock.sleep(limits.paused_for())
    clock.sleep(3600)
    assert limits.refused() == 1
    assert not Limits(clock=clock).refused_within(30)


def test_pauses_are_spread_so_that_clients_do_not_march_in_step(clock: Clock) -> None:
    pauses = {Limits(clock=clock).refused(10) for _ in range(20)}
    assert len(pauses) > 10
    assert all(10 <= pause <= 12 for pause in pauses)


def test_no_burst_right_after_a_pause(limits: Limits, clock: Clock) -> None:
    limits.refused(10)
    clock.sleep(10)
    assert calls_within(limits, clock, UNRESTRICT, 1.5) <= 2


def test_a_breaker_can_be_asked_for(limits: Limits) -> None:
    assert limits.refused(at_least=Pauses().breaker) >= 120


def test_sleeping_can_be_ended_by_the_caller(limits: Limits) -> None:
    limits.refused(10)

    def ended(_: float) -> None:
        raise Unavailable("stop")

    with pytest.raises(Unavailable, match="stop"):
        limits.wait(ANY, float("inf"), sleep=ended)
    assert not limits._waiting


# -- holds


def test_fair_use_holds_unrestricts_longer_and_longer(clock: Clock) -> None:
    holds = Holds(clock=clock)
    lengths = []
    for _ in range(3):
        holds.note(FairUse("too much", code=36), UNRESTRICT)
        error = holds.of(UNRESTRICT)
        assert isinstance(error, FairUse)
        lengths.append(error.retry_after)
        assert holds.of(ANY) is None and holds.of(CDN) is None
        clock.sleep(error.retry_after or 0)
        assert holds.of(UNRESTRICT) is None
    longest = seconds_to_reset()
    assert lengths == pytest.approx([min(300, longest), min(600, longest), min(1200, longest)], abs=2)


def test_a_hold_is_not_prolonged_by_answers_to_earlier_calls(clock: Clock) -> None:
    holds = Holds(clock=clock)
    for _ in range(10):
        holds.note(FairUse("too much"), UNRESTRICT)
    error = holds.of(UNRESTRICT)
    assert error is not None and (error.retry_after or 0) <= 300


def test_traffic_holds_until_midnight_in_paris(clock: Clock) -> None:
    holds = Holds(clock=clock)
    holds.note(TrafficExhausted("used up"), CDN)
    error = holds.of(CDN)
    assert error is not None and error.retry_after == pytest.approx(seconds_to_reset(), abs=5)
    assert seconds_to_reset(datetime(2026, 1, 1, 22, 0, tzinfo=UTC)) == 3600
    assert seconds_to_reset(datetime(2026, 7, 1, 21, 0, tzinfo=UTC)) == 3600


def test_a_refused_token_holds_everything_other_refusals_only_their_kind(clock: Clock) -> None:
    holds = Holds(clock=clock)
    holds.note(AuthError("no VPN", code=22), UNRESTRICT)
    holds.check(ANY, "list")
    with pytest.raises(AuthError):
        holds.check(UNRESTRICT)
    holds.note(AuthError("bad token", code=8), "list")
    with pytest.raises(AuthError, match="bad token"):
        holds.check(ANY)


@pytest.mark.parametrize("error", [Unavailable("x"), RateLimited("x"), DebridError("x")])
def test_what_concerns_one_call_holds_nothing(clock: Clock, error: DebridError) -> None:
    holds = Holds(clock=clock)
    holds.note(error, UNRESTRICT)
    holds.check(ANY, UNRESTRICT, CDN)


def test_a_held_kind_is_refused_by_the_limiter_without_waiting(limits: Limits, clock: Clock) -> None:
    limits.holds.note(FairUse("too much", code=36), UNRESTRICT)
    with pytest.raises(FairUse, match="too much") as caught:
        limits.wait(UNRESTRICT, clock.now + 10_000, urgent=True)
    assert caught.value.code == 36
    limits.wait("list", clock.now)
