"""What answers at a path of the daemon; apart from it, as commands know its paths and need none of its libraries."""

from collections.abc import Callable
from typing import Any

# What a route answers to GET; and to POST, given the JSON body: ValueError says what is wrong with that.
Get = Callable[[], Any]
Post = Callable[[object], Any]
