"""Pages of /torrents and /downloads: `page` (from 1) beats `offset`, X-Total-Count, 204 past the end."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from debrid.simulator.faults import Faults
from debrid.simulator.wire import ApiError, Reply

DEFAULT_LIMIT = 100
LARGEST_LIMIT = 5000


@dataclass(frozen=True, slots=True)
class Window:
    """Rows [first, last) of a list."""

    first: int
    last: int


def window(query: Mapping[str, str], total: int, faults: Faults) -> Window:
    limit = _number(query, "limit", DEFAULT_LIMIT, 0)
    if limit > LARGEST_LIMIT:
        raise ApiError(2, "{limit} is too large")
    first = _number(query, "offset", 0, 0)
    if "page" in query:
        first = (_number(query, "page", 1, 1) - 1) * limit
    if first > total and faults.past_end_status == 400:
        raise ApiError(2, "{offset} is too large")
    return Window(first, first + limit)


def _number(query: Mapping[str, str], name: str, default: int, least: int) -> int:
    try:
        value = int(query.get(name) or default)
    except ValueError as problem:
        raise ApiError(2, f"{{{name}}} is invalid") from problem
    if value < least:
        raise ApiError(2, f"{{{name}}} is too small")
    return value


def paged(rows: Sequence[object], total: int, faults: Faults) -> Reply:
    """200 with the rows and the total, or 204 if there are none."""
    count = {"X-Total-Count": str(total)}
    if not rows:
        return Reply(204, headers=count if faults.total_count_on_204 else {})
    return Reply(value=list(rows), headers=count)
