"""Whether a file is all there, by what its own header claims in bytes; and what fakes are made of.

Some reads of a few bytes each, at the beginning, the end, and where the parts of an mp4 or AVI file begin.
"""

from collections.abc import Callable
from typing import NamedTuple

from indexer.verdicts import NotMedia

# Bytes of the end that must not all be zero, and of an mp4's index in which encryption shows; and parts of a file
# looked at before its length is taken as right: fragmented ones have thousands.
_PIECE, _PARTS = 1 << 16, 64
# What ASF (wmv, wma) begins with, and its file properties.
_ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")


class Bytes(NamedTuple):
    """A file that can be read: its size, and `read(count, offset)`, which gives less at its end only. OSError."""

    size: int
    read: Callable[[int, int], bytes]


def refuse_other_kinds(file: Bytes) -> None:
    """NotMedia for what fakes are made of. Layouts as in APPNOTE.TXT (zip), technote.txt (rar), 7zFormat.txt."""
    head = file.read(64, 0)
    for magic, name in ((b"PK\x03\x04", "ZIP"), (b"Rar!\x1a\x07", "RAR"), (b"7z\xbc\xaf\x27\x1c", "7z")):
        if head.startswith(magic):
            lock = " with a password" if _has_password(head) else ""
            raise NotMedia(f"it is a {name} archive{lock}, not a film or music")
    if head.startswith((b"MZ", b"\x7fELF")):
        raise NotMedia("it is a program, not a film or music")


def _has_password(head: bytes) -> bool:
    if head.startswith(b"PK"):
        return bool(head[6] & 1)
    if head.startswith(b"Rar!\x1a\x07\x01\x00"):
        # After the checksum: size and type of the first header, one byte each for such small numbers.
        return head[13] == 4
    if head.startswith(b"Rar!\x1a\x07\x00") and len(head) > 26:
        # Either all headers are encrypted (main header), or the first file is.
        return bool(head[10] & 0x80) or (head[22] == 0x74 and bool(head[23] & 4))
    return False


def refuse_cut(file: Bytes, check: Callable[[], None]) -> None:
    """NotMedia if the file is shorter than its own header says, or its end was never written. OSError.

    `check` is called now and then and may raise.
    """
    size = file.size
    head = file.read(256, 0)
    claimed = 0
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        claimed = _matroska_end(head)
    elif head[4:8] in (b"ftyp", b"moov", b"mdat", b"free", b"wide", b"skip"):
        claimed = _mp4_end(file, check)
    elif head[:4] in (b"RIFF", b"RIFX") and head[8:12] in (b"AVI ", b"WAVE"):
        claimed = _riff_end(file)
    elif head.startswith(_ASF):
        claimed = _asf_size(file.read(_PIECE, 0))
    if claimed > size:
        raise NotMedia(f"it is cut off: it has {size} of the {claimed} bytes that its header claims")
    check()
    if size > 4 * _PIECE and not any(file.read(_PIECE, size - _PIECE)):
        raise NotMedia("it is cut off: its end is empty")


def _matroska_end(head: bytes) -> int:
    """Where the segment ends by its header, in bytes; 0 if that is not said (RFC 8794, RFC 9559)."""
    length, width = _vint(head, 4)
    at = 4 + width + length
    if head[at : at + 4] != b"\x18\x53\x80\x67":
        return 0
    length, width = _vint(head, at + 4)
    return at + 4 + width + length if width and length != (1 << (7 * width)) - 1 else 0


def _vint(data: bytes, at: int) -> tuple[int, int]:
    """An EBML number and how many bytes it takes; (0, 0) where there is none."""
    first = data[at] if at < len(data) else 0
    width = 9 - first.bit_length()
    if not first or at + width > len(data):
        return 0, 0
    return int.from_bytes(data[at : at + width], "big") & ((1 << (7 * width)) - 1), width


def _mp4_end(file: Bytes, check: Callable[[], None]) -> int:
    """Where the last box that is looked at ends, in bytes (ISO/IEC 14496-12); NotMedia if it is encrypted."""
    at = 0
    for _ in range(_PARTS):
        check()
        head = file.read(16, at)
        if len(head) < 8 or not head[4:8].isalnum():
            break
        length = int.from_bytes(head[:4], "big")
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        if head[4:8] == b"moov":
            _refuse_encrypted(file.read(min(length, _PIECE), at))
        if length < 8:  # it goes on to the end of the file
            return file.size
        at += length
    return at


def _asf_size(head: bytes) -> int:
    """The file size in the file properties, which a broadcast leaves open (flag 1), in bytes (ASF 01.20.03, 3.2)."""
    at = head.find(_ASF_PROPERTIES)
    if at < 0 or len(head) < at + 92 or head[at + 88] & 1:
        return 0
    return int.from_bytes(head[at + 40 : at + 48], "little")


def _refuse_encrypted(index: bytes) -> None:
    # ffprobe shows the codec below the encryption as if there were none.
    if b"sinf" in index and (b"encv" in index or b"enca" in index):
        raise NotMedia("it is encrypted (DRM)")


def _riff_end(file: Bytes) -> int:
    """Where the last of the RIFF chunks that follow one another ends, in bytes; large AVI files have several."""
    at = 0
    for _ in range(_PARTS):
        head = file.read(8, at)
        length = int.from_bytes(head[4:8], "little")
        # What is written to a pipe says 0 or the largest number.
        if head[:4] != b"RIFF" or length in (0, 0xFFFFFFFF) or at >= file.size:
            break
        at += 8 + length
    # Some writers count the header twice.
    return at - 8
