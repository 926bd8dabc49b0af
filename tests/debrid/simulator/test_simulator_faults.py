"""The switches themselves."""

import threading
from dataclasses import fields
from pathlib import Path

import pytest

import debrid.simulator
from debrid.simulator import ALWAYS, Faults
from debrid.simulator.switches import COUNTED, Switches


def test_a_switch_is_turned_by_assigning() -> None:
    faults = Faults()
    faults.cdn_rate = 5
    assert faults.cdn_rate == 5
    faults.clear()
    assert faults.cdn_rate is None


def test_switches_are_turned_for_a_while() -> None:
    faults = Faults(api_latency=1.0)
    with faults.set(api_latency=2.0, cdn_reset_after=10) as same:
        assert same is faults
        assert (faults.api_latency, faults.cdn_reset_after) == (2.0, 10)
    assert (faults.api_latency, faults.cdn_reset_after) == (1.0, None)


def test_they_come_back_after_an_exception() -> None:
    faults = Faults()
    with pytest.raises(KeyError), faults.set(slots_full=True):
        raise KeyError
    assert not faults.slots_full


def test_without_with_they_stay() -> None:
    faults = Faults()
    faults.set(slots_full=True)
    assert faults.slots_full


def test_an_unknown_switch_raises() -> None:
    faults = Faults()
    with pytest.raises(AttributeError):
        faults.cdn_reset_afer = 10
    with pytest.raises(AttributeError):
        faults.set(cdn_reset_afer=10)
    with pytest.raises(TypeError):
        Faults(cdn_reset_afer=10)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("api_outage", "refusd"),
        ("cdn_reset_after", "10"),
        ("cdn_reset_after", 1.5),
        ("cdn_rate", True),
        ("slots_full", 1),
        ("link_verdicts", {"*": "gone"}),
        ("link_verdicts", ["*"]),
        ("links_missing", [0, "1"]),
        ("links_missing", 1),
        ("api_latency", None),
        ("cdn_over_limit", 500),
    ],
)
def test_a_value_that_does_not_fit_raises_and_changes_nothing(name, value) -> None:
    faults = Faults()
    before = faults.values()
    with pytest.raises(TypeError):
        setattr(faults, name, value)
    with pytest.raises(TypeError):
        faults.set(account="free", **{name: value})
    assert faults.values() == before


def test_a_counted_switch_is_spent() -> None:
    faults = Faults(api_status=500, api_status_times=2)
    assert [faults.take("api_status") for _ in range(3)] == [500, 500, None]
    assert (faults.api_status, faults.api_status_times) == (None, ALWAYS)


def test_without_a_count_it_acts_always() -> None:
    faults = Faults(api_status=500)
    assert [faults.take("api_status") for _ in range(3)] == [500, 500, 500]


def test_a_count_of_zero_is_off() -> None:
    faults = Faults(api_status=500, api_status_times=0)
    assert faults.take("api_status") is None


def test_a_spent_switch_is_on_again_when_turned_again() -> None:
    faults = Faults()
    with faults.set(cdn_reset_after=10, cdn_reset_times=1):
        faults.take("cdn_reset_after")
    faults.cdn_reset_after = 20
    assert faults.take("cdn_reset_after") == 20


def test_many_threads_spend_exactly_the_count() -> None:
    faults = Faults(api_status=500, api_status_times=500)
    taken: list[object] = []
    threads = [
        threading.Thread(target=lambda: taken.extend(faults.take("api_status") for _ in range(200))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert taken.count(500) == 500


def test_listeners_hear_of_changes() -> None:
    faults, heard = Faults(), []
    faults.listen(heard.append)
    faults.set(api_outage="html")
    assert heard == ["api_outage"]


def test_each_counted_switch_and_its_counter_exist() -> None:
    names = {field.name for field in fields(Switches)}
    assert set(COUNTED) | set(COUNTED.values()) <= names
    assert {name for name in names if name.endswith("_times")} == set(COUNTED.values())


def test_the_simulator_imports_nothing_of_the_project_but_itself() -> None:
    folder = Path(debrid.simulator.__file__).parent
    for path in folder.glob("*.py"):
        for line in path.read_text().splitlines():
            if line.startswith(("from debrid", "import debrid")):
                assert line.startswith("from debrid.simulator"), f"{path.name}: {line}"
            assert not line.startswith(("from vfs", "from cli", "from indexer", "from placement")), path.name


def test_every_switch_is_turned_in_some_test() -> None:
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    untested = [
        field.name
        for field in fields(Switches)
        if f"{field.name}=" not in tests and f"faults.{field.name}" not in tests
    ]
    assert untested == []
