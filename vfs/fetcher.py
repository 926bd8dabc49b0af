"""Which streams there are: `Fetcher` opens, joins, bounds and abandons them for all handles of a reader.

Lock order: the reader's one lock (`Memory.lock`). All methods are called with it held, except `settle` and
`close`. Threads are started and responses closed in `settle`, by whoever comes out of the lock next.
"""

import contextlib
import errno
import logging
import time
from collections.abc import Callable, Iterable

from vfs.chunks import CHUNK, GAP, Extent, Run, ceil
from vfs.durations import Durations
from vfs.library import ByteStream
from vfs.memory import Memory
from vfs.stream import OpenFile, Stream, Supply
from vfs.workers import Workers

log = logging.getLogger(__name__)

STREAMS = 32  # open at once to read ahead, of all files together: what one host of the provider allows
STREAMS_AT_EASE = 2  # of a handle that is served in time: one place and its next segment, or two places
SLOW_TO_ANSWER = 0.02  # s before a response: with more of them, half of a handle's streams only wait for theirs
LATELY = 5.0  # s for which a run that does not go on keeps its share of the memory
RESTING = 2.0  # s without work after which a stream makes way for another one


class Fetcher:
    """The streams of all files: `most` for reads that wait, `parallel` that bring bytes to one starved handle."""

    def __init__(self, memory: Memory, most: int, parallel: int) -> None:
        self.memory = memory
        self.supply: Supply
        self.streams: set[Stream] = set()
        self._most = most
        self._most_ahead = min(STREAMS, memory.limit // (4 * CHUNK))
        self._parallel = max(parallel, STREAMS_AT_EASE)
        self.responses = Durations()
        self._opening = 0.0  # s that the library took lately until a response was there
        self._lately: dict[Run, float] = {}  # when (s, monotonic) each run that goes on asked for its share
        self._count_again = 0.0
        self._fetched = 0  # by streams that have ended
        self._todo: list[Callable[[], object]] = []
        self._workers = Workers("stream")

    @property
    def fetched(self) -> int:
        """Bytes that the library delivered."""
        return self._fetched + sum(stream.fetched for stream in self.streams)

    def share(self, run: Run, now: float) -> int:
        """Bytes that `run` may have ahead of its reader: five sevenths of all if it is the only one that reads on.

        Else half are for those that did so lately, together: each has threads and answers of its own.
        """
        if run.reads > 1:
            self._lately[run] = now
        if now >= self._count_again:
            self._count_again = now + 1.0
            self._lately = {each: when for each, when in self._lately.items() if when > now - LATELY}
        if len(self._lately) > 1:
            return self.memory.limit // 2 // len(self._lately)
        return self.memory.limit * 5 // 7

    @property
    def parallel(self) -> int:
        """How many streams a starved handle may have: twice as many where responses are long in coming.

        Ranges are short, as what is fetched ahead has to fit the memory, so those take as long to come as to read.
        """
        return self._parallel * (2 if self._opening > SLOW_TO_ANSWER else 1)

    def opened(self, seconds: float) -> None:
        """What streams call when their response is there, `seconds` after they asked for it."""
        self.responses.add(seconds)
        self._opening += (seconds - self._opening) / 4

    def _check(self) -> None:
        """OSError if there are more calls of the library than any number of patient readers explains."""
        if len(self.streams) >= self._most + self._most_ahead:
            raise OSError(errno.EIO, f"{len(self.streams)} calls of the library have not returned")

    def fetch(self, file: OpenFile, run: Run, runs: Iterable[Run], extent: Extent, ahead: bool) -> None:
        """Have the missing bytes at the start of `extent` filled, by a stream that comes by or a new one.

        A new one goes on beyond `extent` as far as `run` reads on, if the handle with these `runs` may have
        it. `ahead` says that nobody has asked for these bytes yet.
        """
        now = time.monotonic()
        stream = file.joinable(extent.start)
        missing = list(file.missing(*extent))
        segment = run.segment(now, run.window(now, self.share(run, now)), self.parallel)
        stop = ceil(extent.start + segment, run.unit, file.length)
        if segment > GAP and file.length - stop <= GAP:
            stop = file.length  # the rest costs less than another response
        if not stream:
            if not ahead:
                self._check()
            if not segment or not self.may_open(file, run, runs, now):
                stop = 0
            stop = max(missing[-1].stop, file.lacking(extent.start, stop))
            stream = self._open(file, Extent(extent.start, stop), run)
        elif run.starved(now):
            stream.stop = min(stream.stop, max(missing[-1].stop, stop))  # others can begin behind it
        stream.runs.add(run)
        for part in missing:
            if part.start < stream.stop:
                stream.plan(Extent(part.start, min(part.stop, stream.stop)), ahead)

    def may_open(self, file: OpenFile, run: Run, runs: Iterable[Run], now: float) -> bool:
        """Whether a handle with these `runs` may read ahead by one more stream; one at rest makes way."""
        own = [stream for stream in file.streams if not stream.runs.isdisjoint(runs)]
        if len(own) >= (self.parallel if run.starved(now) else STREAMS_AT_EASE):
            return self._make_way(own)
        return len(self.streams) < self._most_ahead or self._make_way(self.streams)

    def _make_way(self, streams: Iterable[Stream]) -> bool:
        resting = [stream for stream in streams if not (stream.waiting or stream.abandoned)]
        longest = max(resting, key=lambda stream: stream.resting, default=None)
        if not longest or longest.resting < RESTING:
            return False
        self.abandon(longest)
        return True

    def _open(self, file: OpenFile, extent: Extent, run: Run) -> Stream:
        stream = Stream(file, extent.start, extent.stop, self.supply, run.probing)
        self.streams.add(stream)
        self._todo.append(lambda: self._start(stream))
        return stream

    def part(self, file: OpenFile, runs: list[Run]) -> None:
        """These runs are over: drop the streams that only they wanted."""
        if not runs:
            return
        for run in runs:
            run.give_up()
            self._lately.pop(run, None)
        for stream in list(file.streams):
            if not stream.runs.isdisjoint(runs):
                stream.runs.difference_update(runs)
                self.drop_unwanted(stream)

    def drop_unwanted(self, stream: Stream) -> None:
        if not (stream.runs or stream.waiting or stream.abandoned):
            self.abandon(stream)

    def abandon(self, stream: Stream) -> None:
        """Let go of a stream, even if its thread hangs in the library."""
        source = stream.abandon()
        if source:
            self._todo.append(lambda: self._hang_up(source))

    def ended(self, stream: Stream) -> None:
        """What streams call when they have ended."""
        self.streams.remove(stream)
        self._fetched += stream.fetched

    # Without the lock

    def settle(self) -> None:
        """Start and close what was decided with the lock held."""
        while self._todo:
            with self.memory.lock:
                todo, self._todo = self._todo, []
            for action in todo:
                action()

    def _start(self, stream: Stream) -> None:
        try:
            self._workers.run(stream.work)
        except RuntimeError as error:  # no more threads to be had
            with self.memory.lock:
                stream.abandon(OSError(errno.EAGAIN, str(error)))
                self.ended(stream)

    def _hang_up(self, source: ByteStream) -> None:
        """Close a response in another thread: nobody who reads or releases waits for that."""

        def close() -> None:
            try:
                source.close()
            except Exception as error:
                log.debug("closing a response: %s", error)

        with contextlib.suppress(RuntimeError):  # no more threads: it ends when its idle thread does
            self._workers.run(close)

    def close(self, patience: float) -> None:
        """Abandon all streams, and wait at most `patience` s for their threads."""
        with self.memory.lock:
            for stream in list(self.streams):
                self.abandon(stream)
        self.settle()
        self._workers.close(patience)
        if self.streams:
            log.warning("%d calls of the library have not returned", len(self.streams))
