"""`Memory`: how many bytes the blocks of all remote files may hold, and which of them go when room is needed."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vfs.stream import Block


class Memory:
    """The blocks that hold bytes, at most `limit` bytes of them.

    Complete ones are dropped when room is needed: first those that a sequential reader has left behind, then
    others that were read, then those fetched ahead, each used longest ago first. Of what was read an eighth of
    `limit` stays at most, and of what was left behind a sixteenth: the kernel and the disk cache have it too. A block
    that is being filled stays until its stream has finished or failed.
    """

    def __init__(self, limit: int) -> None:
        self.lock = threading.Lock()
        self.limit = limit
        self.used = 0
        self._room = threading.Condition(self.lock)
        self._spent: OrderedDict[Block, None] = OrderedDict()
        self._fresh: OrderedDict[Block, None] = OrderedDict()
        self._ahead: OrderedDict[Block, None] = OrderedDict()
        self._read = 0  # bytes of the spent and the fresh ones
        self._left = 0  # bytes of the spent ones

    def _make_room(self, size: int) -> bool:
        while self.used + size > self.limit:
            if not self._drop():
                return False
        return True

    def _drop(self) -> bool:
        blocks = self._spent or self._fresh or self._ahead
        if not blocks:
            return False
        self._remove(next(iter(blocks)), blocks)
        return True

    def _remove(self, block: "Block", blocks: "OrderedDict[Block, None]") -> None:
        del blocks[block]
        if blocks is not self._ahead:
            self._read -= block.extent.size
        if blocks is self._spent:
            self._left -= block.extent.size
        block.unregister()
        self.used -= block.extent.size

    def take(self, size: int, wanted: Callable[[], bool]) -> bool:
        """Locked. Wait for room for `size` bytes and take it; False once they are no longer `wanted`."""
        while not self._make_room(size):
            if not wanted():
                return False
            self._room.wait()
        self.used += size
        return True

    def give_back(self, size: int) -> None:
        """Locked. Return room that was taken for a block that will not be complete."""
        self.used -= size
        self._room.notify_all()

    def keep(self, block: "Block") -> None:
        """Locked. A block that was filled: from now on it may be dropped."""
        self._ahead[block] = None
        self._room.notify_all()

    def adopt(self, block: "Block") -> None:
        """Locked. Take in a complete block if there is room; else it serves its reader and is forgotten."""
        if self._make_room(block.extent.size):
            self.used += block.extent.size
            self._ahead[block] = None
            block.register()

    def touch(self, block: "Block", spent: bool) -> None:
        """Locked. A block was read, to its end by a reader that goes on if `spent`."""
        if block in self._ahead:
            del self._ahead[block]
            self._read += block.extent.size
        elif block in self._fresh:
            del self._fresh[block]
        elif block in self._spent:
            del self._spent[block]
            self._left -= block.extent.size
            spent = True  # the parts of one block may be read in any order
        else:
            return
        (self._spent if spent else self._fresh)[block] = None
        self._left += block.extent.size if spent else 0
        if self._read > self.limit // 8 or self._left > self.limit // 16:
            self._drop()
            self._room.notify_all()

    def leave(self, blocks: "Iterable[Block]") -> None:
        """Locked. Nobody reads on in these: drop those that only a reader who goes on would come to."""
        for block in blocks:
            for held in (self._ahead, self._spent):
                if block in held:
                    self._remove(block, held)
        self._room.notify_all()

    def wake(self) -> None:
        """Locked. Let streams that wait for room see that they are abandoned."""
        self._room.notify_all()

    def forget(self) -> None:
        """Locked. Drop every complete block."""
        while self._drop():
            pass
