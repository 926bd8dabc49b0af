"""`Faults`: the switches, safe to turn from any thread while the simulator runs."""

import copy
import threading
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, fields
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from debrid.simulator.switches import ALWAYS, COUNTED, Switches

_HINTS = get_type_hints(Switches)


class Faults(Switches):
    """Turn a switch by assigning to it, or for a while with `with faults.set(cdn_reset_after=100_000):`.

    A name or a value that no switch has raises at once (AttributeError, TypeError): a misspelt fault would
    make a test pass for the wrong reason.
    """

    def __init__(self, **values: Any) -> None:
        object.__setattr__(self, "_lock", threading.RLock())
        object.__setattr__(self, "_listeners", [])
        super().__init__(**values)

    def __setattr__(self, name: str, value: Any) -> None:
        self.put({name: value})

    def clear(self) -> None:
        """Every switch back to its default."""
        self.put(asdict(Switches()))

    def put(self, values: Mapping[str, Any]) -> None:
        """Turn several switches at once; none is turned if one of them does not fit."""
        for name, value in values.items():
            if name not in _HINTS:
                raise AttributeError(f"no such switch: {name}")
            if not fits(value, _HINTS[name]):
                raise TypeError(f"{name} cannot be {value!r}")
        with self._lock:
            for name, value in values.items():
                object.__setattr__(self, name, value)
            for name in values:
                self._tell(name)

    @contextmanager
    def _restoring(self, before: dict[str, Any]) -> Iterator["Faults"]:
        try:
            yield self
        finally:
            self.put(before)

    def set(self, **values: Any) -> Any:
        """Turn switches now; used as a context manager, the old values come back at the end of the block."""
        names = set(values) | {COUNTED[name] for name in values if name in COUNTED}
        with self._lock:
            before = {name: copy.copy(getattr(self, name)) for name in names if name in _HINTS}
            self.put(values)
        return self._restoring(before)

    def take(self, name: str) -> Any:
        """The value of a counted switch for one use, its default if it is off; a spent one goes off."""
        default, times = _DEFAULTS[name], COUNTED[name]
        with self._lock:
            value, left = getattr(self, name), getattr(self, times)
            if value == default or left == 0:
                return default
            if left > 0:
                object.__setattr__(self, times, left - 1)
            if left == 1:
                object.__setattr__(self, times, ALWAYS)
                setattr(self, name, default)
            return value

    def spend(self, name: str) -> bool:
        """Count a plain counter down by one; False if it is at zero."""
        with self._lock:
            left = getattr(self, name)
            if left <= 0:
                return False
            setattr(self, name, left - 1)
            return True

    def values(self) -> dict[str, Any]:
        """All switches, as plain data."""
        with self._lock:
            return {item.name: copy.copy(getattr(self, item.name)) for item in fields(Switches)}

    def listen(self, listener: Callable[[str], None]) -> None:
        """Call `listener(name)` after each change, in the thread that made it, with all switches held."""
        self._listeners.append(listener)

    def _tell(self, name: str) -> None:
        for listener in self._listeners:
            listener(name)

    _lock: threading.RLock
    _listeners: list[Callable[[str], None]]


_DEFAULTS = asdict(Switches())


def fits(value: Any, hint: Any) -> bool:
    """Is `value` of the type that a switch is declared with?"""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(fits(value, one) for one in inner)
    if origin is Literal:
        return any(value == one and type(value) is type(one) for one in inner)
    if origin is dict:
        return isinstance(value, dict) and all(
            fits(key, inner[0]) and fits(item, inner[1]) for key, item in value.items()
        )
    if origin is list:
        return isinstance(value, list) and all(fits(item, inner[0]) for item in value)
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint)
