"""One open remote file: what the kernel makes of errors."""

import errno
from types import SimpleNamespace

import pytest

from vfs import remotehandle
from vfs.nodes import RemoteFile
from vfs.remotehandle import RemoteHandle


class Slow:
    """A reader that finds nothing, after a while (s)."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, takes: float) -> None:
        self.now, self.takes, self.asked = 100.0, takes, 0
        monkeypatch.setattr(remotehandle, "time", SimpleNamespace(monotonic=lambda: self.now))

    def read(self, size: int, offset: int) -> bytes:
        self.asked += 1
        self.now += self.takes
        raise TimeoutError(errno.EIO, "no bytes")

    def handle(self) -> RemoteHandle:
        file = RemoteFile(7, 0o100644, 0, 0, (0, 0, 0), 1 << 30, ("torrent", "c0ffee", "1"))
        branch = SimpleNamespace(reading=lambda key, offset, size: None, use_twin=lambda node, handle: False)
        return RemoteHandle(branch, file, self)  # type: ignore[arg-type]


def fails(handle: RemoteHandle, size: int, offset: int) -> None:
    with pytest.raises(OSError) as caught:
        handle.read(size, offset)
    assert caught.value.errno == errno.EIO


def test_the_page_that_the_kernel_asks_for_again_does_not_wait_as_long_again(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = Slow(monkeypatch, takes=30)
    handle = reader.handle()
    fails(handle, 131_072, 0)
    fails(handle, 4096, 0)
    fails(handle, 4096, 126_976)
    assert reader.asked == 1
    fails(handle, 4096, 131_072)
    assert reader.asked == 2
    reader.now += 1.1
    fails(handle, 4096, 131_072)
    assert reader.asked == 3


def test_what_fails_at_once_is_tried_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = Slow(monkeypatch, takes=0.01)
    handle = reader.handle()
    fails(handle, 131_072, 0)
    fails(handle, 4096, 0)
    assert reader.asked == 2
