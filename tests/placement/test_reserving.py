"""What is reserved counts once, and only as long as it is wanted."""

from placement.reserving import PROMISED_SECONDS, Reserved


def test_promises_end_by_being_taken_or_by_themselves() -> None:
    now = [0.0]
    reserved = Reserved(lambda: now[0])
    reserved.promise("a", 5)
    reserved.promise("b", 7)
    assert reserved.bytes() == 12
    assert reserved.take("a") == 5 and reserved.take("a") == 0 and reserved.bytes() == 7
    now[0] = PROMISED_SECONDS + 1
    assert reserved.bytes() == 0 and reserved.take("b") == 0


def test_what_is_held_counts_as_it_is_then() -> None:
    reserved, left = Reserved(), [10, 0]
    reserved.growing.append(lambda: left[1])
    with reserved.held(lambda: left[0]):
        assert reserved.bytes() == 10
        left[:] = [-4, 2]
        assert reserved.bytes() == 2, "a copy that is larger than expected gives nothing back"
        left[:] = [4, 2]
        assert reserved.bytes() == 6
    assert reserved.bytes() == 2
