"""`Workers`: threads that are used again, since to start one means to wait until it runs.

Lock order: `Workers._lock` is a leaf; nothing is called with it held.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable

log = logging.getLogger(__name__)


class Workers:
    """Does each thing in a thread of its own, at once; a thread without work ends after `idle` s."""

    def __init__(self, name: str, idle: float = 10.0) -> None:
        self._name, self._idle = name, idle
        self._lock = threading.Lock()
        self._wake = threading.Condition(self._lock)
        self._todo: deque[Callable[[], object]] = deque()
        self._resting = 0
        self._threads: set[threading.Thread] = set()
        self._open = True

    def run(self, act: Callable[[], object]) -> None:
        """Have a thread do `act`. RuntimeError if no more threads can be had."""
        with self._lock:
            if self._resting > len(self._todo):  # of the others, each has something to wake up for
                self._todo.append(act)
                self._wake.notify()
                return
        thread = threading.Thread(target=self._work, args=(act,), name=self._name, daemon=True)
        with self._lock:
            self._threads.add(thread)
        try:
            thread.start()
        except RuntimeError:
            with self._lock:
                self._threads.discard(thread)
            raise

    def close(self, patience: float) -> None:
        """Have the threads end that have nothing to do, and wait at most `patience` s for all of them."""
        with self._lock:
            self._open = False
            self._wake.notify_all()
            threads = list(self._threads)
        until = time.monotonic() + patience
        for thread in threads:
            if thread.ident is not None:  # else another thread is just starting it
                thread.join(max(0.0, until - time.monotonic()))

    def _work(self, act: Callable[[], object] | None) -> None:
        while act is not None:
            try:
                act()
            except Exception:
                log.exception("%s failed in an unexpected way", self._name)
            act = None  # what it refers to may be large
            act = self._next()
        with self._lock:
            self._threads.discard(threading.current_thread())

    def _next(self) -> Callable[[], object] | None:
        with self._lock:
            self._resting += 1
            try:
                self._wake.wait_for(lambda: self._todo or not self._open, self._idle)
                return self._todo.popleft() if self._todo else None
            finally:
                self._resting -= 1
