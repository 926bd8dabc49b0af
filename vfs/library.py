"""`RemoteLibrary`: the small interface that reading needs from whoever delivers remote bytes."""

from typing import Protocol

# (kind, id, part): ("torrent", info hash, file id or "file id/inner path") or ("link", hash of the link, "").
# A plain tuple, so that the siblings `vfs` and `debrid` share it without importing each other.
Key = tuple[str, str, str]


class ByteStream(Protocol):
    """Bytes of one remote file in order, from the offset the stream was opened at."""

    def readinto(self, buffer: memoryview) -> int:
        """Fill up to len(buffer) bytes and return how many; 0 only after the last byte asked for.

        Resets of the connection are resumed inside. Raises OSError (EIO, ETIMEDOUT) when they cannot be.
        """
        ...

    def close(self) -> None:
        """Give the connection back; may be called from another thread and more than once.

        A readinto that waits in another thread then raises OSError soon.
        """
        ...


class RemoteLibrary(Protocol):
    """Delivers the bytes of remote files. Raises OSError and nothing else."""

    def stream(self, key: Key, offset: int, length: int) -> ByteStream:
        """Open bytes [offset, offset + length) of `key`; the range lies inside the file.

        Never waits longer than the library's own deadline. EIO: the content cannot be had now.
        """
        ...
