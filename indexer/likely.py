"""Which files are likely films or music: by their names, or by their first bytes. Pure, and imports nothing big."""

import os

# Bytes of the beginning that `by_head` looks at.
HEAD = 256

SUFFIXES = frozenset(
    b".mkv .mka .mk3d .webm .mp4 .m4v .mov .qt .3gp .3g2 .avi .divx .mts .m2ts .ts .mpg .mpeg .m2v .vob .wmv .asf .flv "
    b".f4v .ogv .ogm .rm .rmvb .mxf .wtv .mp3 .m4a .m4b .flac .wav .w64 .ogg .oga .opus .wma .aac .ac3 .eac3 .dts .thd "
    b".ape .wv .aif .aiff .caf .dsf .tta .mpc .tak .amr .au".split()
)
# Names of program texts as well, none of which is as large as the smallest film.
_TEXTS_TOO = frozenset((b".ts", b".mts"))
_LEAST = 1 << 20

_MAGIC = (b"\x1a\x45\xdf\xa3", b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", b"FLV\x01", b"OggS", b"fLaC", b"ID3", b".RMF",
          b"\x00\x00\x01\xba", b"\x06\x0e\x2b\x34\x02\x05\x01\x01", b"wvpk", b"MAC ")  # fmt: skip
# Brands (ISO/IEC 14496-12) of pictures, which lie in the same boxes as films.
_PICTURES = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1", b"avif", b"avis", b"crx ", b"jxl ")
_TS_PACKET, _M2TS_PACKET, _SYNC = 188, 192, 0x47


def by_name(path: bytes, size: int) -> bool:
    """Whether a file of this name and size in bytes is likely a film or music."""
    suffix = os.path.splitext(path)[1].lower()
    return suffix in SUFFIXES and (size >= _LEAST or suffix not in _TEXTS_TOO) and size > 0


def by_head(head: bytes) -> bool:
    """Whether a file that begins with these bytes is; `HEAD` of them, or all that it has."""
    if head.startswith(_MAGIC):
        return True
    if head[4:8] == b"ftyp":
        return head[8:12] not in _PICTURES
    if head[:4] == b"RIFF":
        return head[8:12] in (b"AVI ", b"WAVE")
    return _syncs(head, 0, _TS_PACKET) or _syncs(head, 4, _M2TS_PACKET)


def _syncs(head: bytes, first: int, packet: int) -> bool:
    return len(head) > first + packet and head[first] == head[first + packet] == _SYNC
