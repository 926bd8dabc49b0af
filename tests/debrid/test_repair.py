"""Repairs against the simulated account: what died comes back under the same key, and nothing else changes."""

import dataclasses
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from faketree import Clock, FakeTree

from debrid import errors
from debrid.budget import Allowance, BudgetSpent
from debrid.client import Client
from debrid.healing import Repairs
from debrid.leaving import Leaving
from debrid.library import Library
from debrid.repair import PAUSES, Mender
from debrid.repairlog import Repair, State
from debrid.simulator import SimTorrent, Simulator
from debrid.store import Store
from debrid.torrents import Torrents
from debrid.transport import Budget, Interrupt
from vfs.budget import DailyBudget

pytestmark = pytest.mark.usefixtures("short_pauses", "no_threads_left")

DATA = bytes(range(256)) * 400
OTHER = b"another one" * 1000
FILES = {"/S/e1.mkv": DATA, "/S/e2.mkv": OTHER, "/S/e3.mkv": b"never selected"}


class World:
    """An account with one published torrent, and all that reads and repairs it."""

    def __init__(self, sim: Simulator, client: Client, store: Store) -> None:
        self.sim, self.client, self.store = sim, client, store
        self.clock, self.tree = Clock(), FakeTree()
        self.leaving = Leaving(client, store, self.tree, delete_after=60, clock=self.clock)
        self.torrents = Torrents(client, store, self.tree, leaving=self.leaving, clock=self.clock)
        self.daily = DailyBudget(background=1000)
        allowance = Allowance(self.daily, "repair")
        self.mender = Mender(client, store, self.tree, allowance, self.clock)
        self.repairs = Repairs(client, store, self.tree, allowance, self.clock)
        self.library = Library(client, store, deadline=10, healer=self.repairs, clock=self.clock)
        self.old: SimTorrent = sim.add_torrent("Show", FILES, selected=[1, 2])
        self.poll()
        self.hash = self.old.hash

    def poll(self) -> None:
        self.torrents.poke()
        self.torrents.poll()
        assert self.torrents.status().error == ""

    def read(self, file: int = 1) -> bytes:
        stream = self.library.stream(("torrent", self.hash, str(file)), 0, 1000)
        data = bytearray(1000)
        got = stream.readinto(memoryview(data))
        stream.close()
        return bytes(data[:got])

    def die(self) -> None:
        """The links age out, and somebody notices."""
        for torrent in self.sim.torrents:
            if torrent.hash == self.hash:
                self.sim.age_links(torrent.id)
        self.store.set_failing(self.hash, 1, "dead", self.clock() + 600)
        self.sim.journal_clear()

    def go_on(self) -> Repair:
        repair = self.store.repairs.get(self.hash) or Repair(self.hash)
        return self.mender.go_on(repair, Budget.of(30))

    @property
    def adds(self) -> int:
        return self.sim.count("POST", "/torrents/addMagnet")

    @property
    def ids(self) -> list[str]:
        return [each.id for each in self.sim.torrents]

    def untouched(self) -> None:
        """The account is as it was, and so is the store's picture of it."""
        assert self.ids == [self.old.id]
        self.poll()
        assert [each.id for each in self.store.torrents()] == [self.old.id]
        assert self.tree.calls == [f"realdebrid:{self.old.id}"]


@pytest.fixture
def world(sim: Simulator, client: Client, store: Store) -> Iterator[World]:
    made = World(sim, client, store)
    yield made
    made.repairs.stop()


# -- a repair that works


def test_the_new_one_takes_the_place_of_the_old(world: World) -> None:
    names = dict(world.tree.entries)
    world.die()
    repair = world.go_on()
    assert (repair.state, repair.problem) == (State.DONE, "")
    (new,) = world.sim.torrents
    assert new.id != world.old.id and new.selected == world.old.selected
    assert world.read(1) == DATA[:1000] and world.read(2) == OTHER[:1000]
    assert [file.problem for file in world.store.files(world.hash)] == ["", "", ""]
    world.poll()
    assert world.tree.entries == names and world.tree.calls == [f"realdebrid:{world.old.id}"]
    (kept,) = world.store.torrents()
    assert (kept.id, kept.path, kept.selection, kept.missing) == (new.id, "torrents/complete/Show", (1, 2), False)


def test_the_old_one_leaves_last(world: World) -> None:
    world.die()
    world.go_on()
    calls = [(each.method, each.path.split("/")[-1] if "delete" in each.path else each.path.split("/")[1])
             for each in world.sim.journal]  # fmt: skip
    assert ("DELETE", world.old.id) == calls[-1]
    assert world.sim.journal[-2].port == "cdn"  # a byte was read before
    assert not any(each.path.endswith("/check") for each in world.sim.journal)


def test_a_late_listing_does_not_bring_the_old_one_back(world: World) -> None:
    item = world.client.torrent(world.old.id)
    world.die()
    world.go_on()
    world.store.saw([item], world.clock())
    assert world.store.torrent(world.old.id) is None


def test_a_name_that_was_removed_does_not_come_back(world: World) -> None:
    for path in [path for path, key in world.tree.entries.items() if key[2] == "2"]:
        del world.tree.entries[path]
    world.die()
    assert world.go_on().state is State.DONE
    world.poll()
    assert [key[2] for key in world.tree.entries.values()] == ["1"]


def test_the_links_in_the_account_are_tried_first(world: World) -> None:
    world.store.set_failing(world.hash, 1, "dead", world.clock() + 600)
    assert world.go_on().state is State.DONE
    assert world.adds == 0 and world.ids == [world.old.id]
    assert world.read(1) == DATA[:1000]


def test_another_addition_helps_out(world: World) -> None:
    world.die()
    second = world.sim.add_torrent("Show", FILES, hash=world.hash, selected=[1, 2])
    world.store.saw([world.client.torrent(second.id)], world.clock())
    assert world.go_on().state is State.DONE
    assert world.adds == 0
    assert world.read(1) == DATA[:1000]


@pytest.mark.parametrize("fault", [{"links_shuffled": True}, {"link_form": "26"}, {"settle_seconds": 0.5}])
def test_odd_but_whole_answers_are_repaired(world: World, fault: dict[str, Any]) -> None:
    world.die()
    with world.sim.faults.set(**fault):
        repair = world.go_on()
        if "links_shuffled" in fault:  # as many links as files, in the wrong order: seen by the sizes
            assert repair.state is State.DUE and world.ids == [world.old.id]
            return
        assert repair.state is State.DONE
    assert world.read(1) == DATA[:1000]


def test_what_is_not_cached_is_waited_for(world: World) -> None:
    world.sim.evict(world.hash)
    world.store.set_failing(world.hash, 1, "evicted", world.clock() + 600)
    repair = world.go_on()
    assert repair.state is State.FETCHING and "downloading" in repair.problem
    assert world.old.id in world.ids and len(world.ids) == 2
    world.poll()
    assert world.tree.calls == [f"realdebrid:{world.old.id}"]
    world.sim.advance(61)
    assert world.go_on().state is State.DONE
    assert world.read(1) == DATA[:1000] and world.adds == 1


def test_what_takes_longer_than_a_day_is_given_up(world: World) -> None:
    world.sim.evict(world.hash)
    world.sim.faults.download_outcome = "stalled"
    world.store.set_failing(world.hash, 1, "evicted", world.clock() + 600)
    world.go_on()
    world.clock.now += 25 * 3600
    repair = world.go_on()
    assert repair.state is State.DUE and "within a day" in repair.problem
    world.untouched()


# -- a repair that does not


@pytest.mark.parametrize(
    ("faults", "why"),
    [
        ({"same_links": True}, "dead"),
        ({"links_empty": True}, "no link"),
        ({"links_missing": [0]}, "no link"),
        ({"link_verdicts": {"e1.mkv": "wrong_size"}}, "bytes, not"),
        ({"magnet_outcome": "error"}, "gave the new one up"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_is_no_better_is_removed_again(world: World, faults: dict[str, Any], why: str) -> None:
    world.die()
    with world.sim.faults.set(**faults):
        repair = world.go_on()
        if repair.state is State.FETCHING:  # links may come late
            world.clock.now += 61
            repair = world.go_on()
    assert (repair.state, repair.tries, repair.new) == (State.DUE, 1, "")
    assert why in repair.problem
    assert repair.retry_at == pytest.approx(world.clock() + PAUSES[0])
    world.untouched()


def test_another_content_of_that_hash_is_never_taken(world: World) -> None:
    world.die()
    world.sim.offer("Show", {"/S/e1.mkv": DATA + b"!", "/S/e2.mkv": OTHER, "/S/e3.mkv": b"x"}, hash=world.hash)
    repair = world.go_on()
    assert "another file in the place of /S/e1.mkv" in repair.problem
    assert world.sim.count("POST", "/torrents/selectFiles") == 0
    world.untouched()


def test_tries_grow_rare_and_end(world: World) -> None:
    world.die()
    world.sim.faults.same_links = True
    world.sim.add_torrent("Show", FILES, hash=world.hash, selected=[1, 2])  # made before: these links come back
    world.sim.age_links(world.sim.torrents[0].id)
    world.sim.remove_torrent(world.sim.torrents[0].id)
    pauses = []
    for _ in range(len(PAUSES)):
        repair = world.go_on()
        pauses.append(repair.retry_at - world.clock())
        world.clock.now = repair.retry_at + 1
    assert pauses == pytest.approx(list(PAUSES))
    assert world.go_on().state is State.GIVEN_UP
    assert world.adds == len(PAUSES) + 1
    world.untouched()


def test_a_release_that_is_refused_is_not_asked_for_again(world: World) -> None:
    world.die()
    with world.sim.faults.set(api_status=451, api_status_code=35, api_status_prefix="/torrents/addMagnet"):
        repair = world.go_on()
    assert repair.state is State.GIVEN_UP and "infringing" in repair.problem
    world.untouched()


@pytest.mark.parametrize(
    "faults",
    [
        {"slots_full": True},
        {"api_status": 429, "retry_after": 900.0},
        {"api_outage": "maintenance"},
        {"account": "bad_token"},
        {"refuse_active_duplicates": True, "api_status": 400, "api_status_code": 33,
         "api_status_prefix": "/torrents/addMagnet"},
        {"link_verdicts": {"*": "fair_usage_limit"}},
        {"link_verdicts": {"*": "traffic_exhausted"}},
        {"cdn_outage": "html"},
        {"cdn_quota": 0},
    ],
    ids=str,
)  # fmt: skip
def test_what_the_account_lacks_costs_no_try(world: World, faults: dict[str, Any]) -> None:
    world.die()
    with world.sim.faults.set(**faults):
        repair = world.go_on()
    assert repair.tries == 0 and repair.state not in (State.GIVEN_UP, State.DONE)
    assert repair.retry_at >= world.clock() + 299
    assert repair.problem
    assert world.old.id in world.ids


def test_content_without_a_name_is_not_repaired(world: World) -> None:
    world.die()
    world.tree.entries.clear()
    assert world.go_on().state is State.DONE
    assert world.sim.journal == []


def test_what_left_the_account_is_added_again_only_for_a_person(world: World) -> None:
    world.die()
    world.sim.remove_torrent(world.old.id)
    world.poll()
    assert world.go_on().state is State.GIVEN_UP
    assert world.ids == []
    world.repairs.force(world.hash)
    assert world.go_on().state is State.DONE
    assert len(world.ids) == 1 and world.read(1) == DATA[:1000]


# -- an end in the middle


def lost(world: World) -> None:
    world.sim.faults.set(api_lost_reply="/torrents/addMagnet", api_lost_reply_times=1)


def test_an_added_torrent_whose_answer_was_lost_is_found(world: World) -> None:
    world.die()
    lost(world)
    assert world.go_on().state is State.ADDING
    assert len(world.ids) == 2
    world.clock.now += 301
    world.poll()
    assert world.go_on().state is State.DONE
    assert world.adds == 1 and len(world.ids) == 1


def test_one_that_was_not_added_after_all_is_added(world: World) -> None:
    world.die()
    with world.sim.faults.set(api_status=502, api_status_prefix="/torrents/addMagnet"):
        assert world.go_on().state is State.ADDING
    world.clock.now += 301
    assert world.go_on().state is State.DONE


STEPS = ["/torrents/addMagnet", "/torrents/info", "/torrents/selectFiles", "/unrestrict", "/torrents/delete"]


@pytest.mark.parametrize("step", STEPS)
def test_an_end_in_any_step_is_gone_on_from(world: World, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program is killed before a call, once for every call there is; then it starts anew."""
    world.die()
    once = Client._once
    seen: list[str] = []

    def killed(client: Client, method: str, path: str, *rest: Any) -> Any:
        if path.startswith(step):
            seen.append(path)
            if len(seen) in (1, 3):
                raise KeyboardInterrupt
        return once(client, method, path, *rest)

    monkeypatch.setattr(Client, "_once", killed)
    for _ in range(4):
        try:
            repair = world.go_on()
        except KeyboardInterrupt:
            world.poll()
            continue
        if repair.state is State.DONE:
            break
        world.clock.now += 301
    assert repair.state is State.DONE and seen
    assert len(world.ids) == 1 and world.ids != [world.old.id]
    world.poll()
    assert world.tree.calls == [f"realdebrid:{world.old.id}"]
    assert world.read(1) == DATA[:1000]


# -- leaving the account


@pytest.mark.parametrize("ours", [True, False])
def test_whose_it_is_stays(world: World, ours: bool) -> None:
    if ours:
        world.store.mark_added_here(world.old.id, world.hash)
    world.die()
    world.go_on()
    (new,) = world.ids
    assert world.store.added_here(new) == ours and not world.store.added_here(world.old.id)
    world.tree.entries.clear()
    world.leaving.release(("torrent", world.hash, "1"))
    world.clock.now += 61
    world.poll()
    assert world.ids == ([] if ours else [new])


def test_what_lost_its_names_during_a_repair_leaves_with_it(world: World) -> None:
    world.store.mark_added_here(world.old.id, world.hash)
    world.sim.evict(world.hash)
    world.store.set_failing(world.hash, 1, "evicted", world.clock() + 600)
    assert world.go_on().state is State.FETCHING
    world.tree.entries.clear()
    world.leaving.release(("torrent", world.hash, "1"))
    world.clock.now += 61
    world.poll()
    assert world.old.id not in world.ids
    repair = world.go_on()
    assert "has left" in repair.problem
    assert world.ids == []


# -- readers, schedule, people


def test_a_reader_waits_for_the_repair_and_gets_its_bytes(world: World) -> None:
    world.repairs.start()
    world.sim.age_links(world.old.id)
    assert world.read(1) == DATA[:1000]
    assert world.ids != [world.old.id]


def test_a_stream_that_is_open_goes_on_after_the_repair(world: World) -> None:
    world.repairs.start()
    stream = world.library.stream(("torrent", world.hash, "1"), 0, len(DATA))
    data = bytearray(len(DATA))
    with world.sim.faults.set(cdn_reset_after=1000, cdn_reset_times=1):
        got = stream.readinto(memoryview(data)[:1000])
    world.sim.revoke_urls()
    world.sim.age_links(world.old.id)
    world.sim.faults.set(cdn_reset_after=20_000, cdn_reset_times=1)
    while got < len(data):
        got += stream.readinto(memoryview(data)[got:])
    stream.close()
    assert data == DATA


def test_what_is_known_to_be_dead_fails_at_once(world: World) -> None:
    world.repairs.start()
    world.sim.age_links(world.old.id)
    world.sim.faults.slots_full = True
    with pytest.raises(OSError, match="dead"):
        world.read(1)
    asked = len(world.sim.journal)
    for _ in range(5):
        with pytest.raises(OSError, match="asked again later"):
            world.read(1)
    assert len(world.sim.journal) == asked


def test_many_readers_share_one_repair(world: World) -> None:
    world.repairs.start()
    world.sim.age_links(world.old.id)
    results: list[bytes] = []
    threads = [threading.Thread(target=lambda n=n: results.append(world.read(1 + n % 2))) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(set(results)) == sorted({DATA[:1000], OTHER[:1000]}) and len(results) == 8
    assert world.adds == 1


def test_a_slow_repair_ends_a_read_at_its_deadline(world: World) -> None:
    world.repairs.start()
    world.library = Library(world.client, world.store, deadline=0.5, healer=world.repairs, clock=world.clock)
    world.sim.age_links(world.old.id)
    begun = time.monotonic()
    with world.sim.faults.set(api_latency_by_prefix={"/torrents/addMagnet": 3.0}), pytest.raises(OSError):
        world.read(1)
    assert time.monotonic() - begun < 2.9
    world.repairs.wait(world.hash, Budget.of(20))
    assert world.read(1) == DATA[:1000]


def test_due_repairs_are_gone_on_with_by_themselves(world: World) -> None:
    world.die()
    world.store.repairs.put(Repair(world.hash, tries=2))
    world.repairs.start()
    until = time.monotonic() + 20
    while world.ids == [world.old.id] or len(world.ids) != 1:
        assert time.monotonic() < until
        time.sleep(0.02)


def test_stopping_ends_a_repair_and_the_readers_that_wait(world: World) -> None:
    world.repairs.start()
    world.library = Library(world.client, world.store, deadline=60, healer=world.repairs, clock=world.clock)
    world.sim.age_links(world.old.id)
    caught: list[BaseException] = []

    def work() -> None:
        try:
            world.read(1)
        except OSError as error:
            caught.append(error)

    with world.sim.faults.set(api_latency_by_prefix={"/torrents/addMagnet": 60.0}):
        thread = threading.Thread(target=work)
        thread.start()
        until = time.monotonic() + 20
        while not world.adds and time.monotonic() < until:
            time.sleep(0.01)
        world.repairs.stop()
        thread.join(20)
    assert not thread.is_alive() and len(caught) == 1


def test_content_that_dies_again_at_once_is_not_added_again_and_again(world: World) -> None:
    world.die()
    done = world.go_on()
    assert done.state is State.DONE and done.tries == 1 and done.retry_at == pytest.approx(world.clock() + PAUSES[0])
    world.repairs.start()
    world.die()
    with pytest.raises(OSError, match="dead"):
        world.read(1)
    assert world.adds == 0


def test_the_record_outlives_a_restart(store: Store) -> None:
    repair = Repair("a" * 40, State.FETCHING, "OLD", "NEW", "X,Y", 3, "why", 12.5, 11.0, True)
    store.repairs.put(repair)
    assert store.repairs.get("a" * 40) == repair and store.repairs.all() == [repair]
    assert store.repairs.next([State.FETCHING]) == repair and store.repairs.next([State.DUE]) is None
    store.repairs.put(dataclasses.replace(repair, state=State.DONE))
    store.repairs.drop("a" * 40)
    assert store.repairs.all() == []


# -- the budget of the day


def test_what_nobody_waits_for_has_a_limit_a_day() -> None:
    clock = Clock()
    daily = DailyBudget(background=100, clock=clock)
    allowance = Allowance(daily, "check")
    allowance.take(60)
    with pytest.raises(BudgetSpent) as caught:
        allowance.take(60)
    assert 0 < (caught.value.retry_after or 0) <= 25 * 3600
    allowance.take(60, urgent=True)
    assert daily.status()["background"] == {"check": 120}
    clock.now += caught.value.retry_after or 0
    assert daily.status()["background"] == {}
    allowance.take(100)


def test_what_nobody_waits_for_gives_way_to_players() -> None:
    daily = DailyBudget()
    looks = iter([True, True, False])
    daily.busy = lambda: next(looks)
    allowance = Allowance(daily, "check")
    allowance.give_way(Interrupt())
    assert next(looks, None) is None
    daily.busy = lambda: True
    interrupt = Interrupt()
    interrupt.set()
    with pytest.raises(errors.Interrupted):
        allowance.give_way(interrupt)


def test_a_spent_budget_puts_repairs_off(world: World) -> None:
    world.die()
    world.daily.spend("warm", 1000)
    repair = world.go_on()
    assert repair.tries == 0 and "used up" in repair.problem
    assert world.old.id in world.ids


def test_interrupting_a_try_leaves_it_to_be_gone_on_with(world: World) -> None:
    world.die()
    interrupt = Interrupt()
    interrupt.set()
    with pytest.raises(errors.Interrupted):
        world.mender.go_on(Repair(world.hash), Budget.of(30, interrupt=interrupt))
    assert world.go_on().state is State.DONE
