"""Routes of categories and tags."""

from collections.abc import Iterable
from typing import Any

from debrid.downloads.words import check_category
from debrid.qbittorrent.call import Bad, Call
from debrid.qbittorrent.desk import Desk
from debrid.qbittorrent.torrents import hashes_of
from debrid.qbittorrent.views import category


def categories(desk: Desk, call: Call) -> dict[str, Any]:
    """All categories, by name."""
    return {name: category(name, desk.paths) for name in desk.words.categories}


def create_category(desk: Desk, call: Call) -> str:
    """A new one; where its files lie is not up to the client."""
    name = call.text("category")
    if not name:
        raise Bad(400, "category is missing")
    if desk.words.has(check_category(name)):
        raise Bad(409, "there is this category")
    desk.make_category(name)
    return ""


def remove_categories(desk: Desk, call: Call) -> str:
    """Forget categories; their downloads have none then."""
    gone = desk.words.remove_categories(call.words("categories", "\n"))
    desk.downloads.set_category([each.hash for each in desk.downloads.all() if each.category in gone], "")
    return ""


def set_category(desk: Desk, call: Call) -> str:
    """Of the named downloads only; '' takes it away."""
    hashes, name = hashes_of(desk, call), call.need("category")
    if name and not desk.words.has(name):
        raise Bad(409, "there is no such category")
    desk.downloads.set_category(hashes, name)
    return ""


def tags(desk: Desk, call: Call) -> list[str]:
    """All tags."""
    return desk.words.tags


def create_tags(desk: Desk, call: Call) -> str:
    """New ones."""
    desk.words.add_tags(call.words("tags", ","))
    return ""


def delete_tags(desk: Desk, call: Call) -> str:
    """Forget tags, also at downloads."""
    names = call.words("tags", ",")
    desk.words.remove_tags(names)
    desk.downloads.set_tags([each.hash for each in desk.downloads.all()], lambda have: _without(have, names))
    return ""


def add_tags(desk: Desk, call: Call) -> str:
    """To the named downloads."""
    hashes, names = hashes_of(desk, call), call.words("tags", ",")
    desk.words.add_tags(names)
    desk.downloads.set_tags(hashes, lambda have: tuple(sorted({*have, *names})))
    return ""


def remove_tags(desk: Desk, call: Call) -> str:
    """From the named downloads; all tags if none is named."""
    hashes = hashes_of(desk, call)
    names = [word.strip() for word in call.text("tags").split(",") if word.strip()]
    desk.downloads.set_tags(hashes, lambda have: _without(have, names) if names else ())
    return ""


def _without(have: Iterable[str], names: Iterable[str]) -> tuple[str, ...]:
    return tuple(each for each in have if each not in set(names))
