"""What ffprobe says of a file's pictures and sound, and whether the file is the media that its name promises.

A file may be remote, so it is never read whole: ffprobe reads the head and the index, and a few reads of our
own compare what the header claims with what the file has. ffprobe opens nothing but that file: playlists and
lists of parts, which could name others, are not among its formats.

ffmpeg-python describes ffprobe's call, but its `probe` waits for ever and keeps the process to itself, so the
process is run here.
"""

import contextlib
import errno
import json
import stat
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, cast

from placement import system as os

Kind = Literal["video", "audio", "subtitle", "attachment", "data"]
Hdr = Literal["Dolby Vision", "HDR10", "HLG"]
_TRANSFERS: dict[str, Hdr] = {"smpte2084": "HDR10", "arib-std-b67": "HLG"}

# Bytes of the end that must not all be zero, and of an mp4's index in which encryption shows; and parts of a file
# looked at before its length is taken as right: fragmented ones have thousands.
_PIECE, _PARTS = 1 << 16, 64
_NULL, _PIPE = subprocess.DEVNULL, subprocess.PIPE
# What ASF (wmv, wma) begins with, and its file properties.
_ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
# Seconds: how far before the claimed end sound may stop, from where on it is asked for, between looks for a stop.
_EARLY, _LAST, _TICK = 5.0, 10.0, 0.1
# Containers and bare streams of films and music. No playlists, pictures or texts.
_FORMATS = (
    "matroska,webm,mov,mp4,avi,mpegts,mpeg,mpegvideo,asf,flv,live_flv,ogg,rm,mxf,nut,ivf,wtv,dv,h264,hevc,m4v,vc1,obu,"
    "mp3,flac,wav,w64,aac,ac3,eac3,dts,dtshd,truehd,mlp,ape,wv,aiff,caf,dsf,tta,mpc,mpc8,tak,amr,au,voc"
)
_FFPROBE = ("ffprobe", "-v", "error", "-of", "json", "-protocol_whitelist", "file", "-format_whitelist", _FORMATS)
_ASKED = (
    "format=format_name,duration,start_time:format_tags=creation_time,com.apple.quicktime.creationdate"
    ":stream=index,codec_type,codec_name,codec_tag_string,profile,width,height,channels,color_transfer"
    ":stream_tags=language:stream_disposition=default,forced,attached_pic:stream_side_data=side_data_type"
)
# Their duration stands in the header; elsewhere it comes from the end of the file, or is guessed (mp3), or the
# header also says how many bytes there must be.
_CLAIMING = ("flac", "ape", "tta", "wv", "aiff", "caf")
# What ffprobe says when it could not read, which tells nothing of the file.
_TROUBLES = (
    errno.EIO, errno.ETIMEDOUT, errno.ENOTCONN, errno.EACCES, errno.EPERM, errno.ENOENT, errno.ESTALE, errno.ENOMEM,
    errno.EBUSY, errno.EMFILE, errno.ENFILE, errno.ENODEV, errno.EINTR,
)  # fmt: skip


class _Reason(Exception):
    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class NotMedia(_Reason):
    """The file is not what it should be; `reason` says why, for people."""


class ProbeTrouble(_Reason):
    """Nothing was learned of the file: no ffprobe, no answer in time, or it cannot be read now, by `reason`."""


@dataclass(frozen=True, slots=True)
class Stream:
    """One stream. `codec`, `language` as ffprobe calls them ("hevc", "eng"), "" if unknown; sizes in pixels.

    Zero for what does not apply. `is_cover`: a still picture, such as the cover of an album.
    """

    index: int
    kind: Kind
    codec: str
    profile: str = ""
    width: int = 0
    height: int = 0
    hdr: Hdr | None = None
    channels: int = 0
    language: str = ""
    is_default: bool = False
    is_forced: bool = False
    is_cover: bool = False


@dataclass(frozen=True, slots=True)
class MediaFacts:
    """What a file holds, in ffprobe's words; `seconds` None, `created` (ISO 8601) "" where it does not say."""

    container: str
    seconds: float | None
    streams: tuple[Stream, ...]
    created: str = ""

    def of_kind(self, kind: Kind) -> tuple[Stream, ...]:
        """The streams of this kind, covers left out."""
        return tuple(stream for stream in self.streams if stream.kind == kind and not stream.is_cover)

    def languages(self, kind: Kind) -> tuple[str, ...]:
        """The languages of the streams of this kind that name one, each once, in their order."""
        return tuple(dict.fromkeys(stream.language for stream in self.of_kind(kind) if stream.language))

    @property
    def video(self) -> Stream | None:
        """The picture that a player shows: the default one, else the first."""
        found = self.of_kind("video")
        return next((stream for stream in found if stream.is_default), found[0] if found else None)


def probe(path: bytes, *, seconds: float, cancel: threading.Event | None = None) -> MediaFacts:
    """The media facts of the file at `path`, in at most about `seconds`; symbolic links are followed.

    NotMedia: it is something else, cut off, empty or encrypted. ProbeTrouble: nothing can be said now, which
    is no verdict on the file, or `cancel` was set meanwhile. Whatever ends the call also ends ffprobe. A
    single read of our own waits for as long as the filesystem lets it.
    """
    run = _Run(path, time.monotonic() + seconds, cancel or threading.Event())
    try:
        return _verdict(run)
    except OSError as error:
        raise ProbeTrouble(f"it cannot be read: {error.strerror or error}") from error


def _verdict(run: "_Run") -> MediaFacts:
    with _opened(run.path) as fd:
        try:
            facts = run.facts()
        except NotMedia:
            # ffprobe calls a file broken also when a read failed on the way: only what it says twice, of a
            # file that can be read, is a verdict.
            _refuse_other_kinds(fd)
            _refuse_cut(fd, run)
            facts = run.facts()
        _refuse_cut(fd, run)
    if facts.container in _CLAIMING and facts.seconds and facts.seconds > _LAST:
        run.refuse_early_end(facts)
    return facts


@contextlib.contextmanager
def _opened(path: bytes) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # not blocking: it may be a FIFO
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise ProbeTrouble("it is no regular file")
        if not os.pread(fd, 1, 0):
            raise NotMedia("it is empty")
        yield fd
    finally:
        os.close(fd)


class _Run:
    """One probe under way: runs ffprobe, more than once, within one deadline."""

    def __init__(self, path: bytes, deadline: float, cancel: threading.Event) -> None:
        self.path = path
        self._deadline = deadline
        self._cancel = cancel

    def check(self) -> None:
        """ProbeTrouble if time is up, or it is to stop."""
        if self._cancel.is_set():
            raise ProbeTrouble("it was interrupted")
        if time.monotonic() >= self._deadline:
            raise ProbeTrouble("ffprobe gave no answer in time")

    def facts(self) -> MediaFacts:
        """What ffprobe says of the whole; NotMedia, ProbeTrouble."""
        facts = _facts(self._asked("-show_entries", _ASKED))
        if not any(stream.kind in ("video", "audio") and not stream.is_cover for stream in facts.streams):
            raise NotMedia("it holds neither pictures nor sound")
        return facts

    def refuse_early_end(self, facts: MediaFacts) -> None:
        """NotMedia if the last packets that there are end well before the duration in the header."""
        kind = "a:0" if facts.of_kind("audio") else "v:0"
        claimed = facts.seconds or 0.0
        answer = self._asked(
            *("-select_streams", kind, "-read_intervals", f"{claimed - _LAST:.3f}%"),
            *("-show_entries", "packet=pts_time,duration_time"),
        )
        ends = [_number(one.get("pts_time")) + _number(one.get("duration_time")) for one in answer.get("packets", ())]
        if max(ends, default=0.0) < claimed - _EARLY:
            raise NotMedia(f"it is cut off: it claims {claimed:.0f} seconds, and its end is missing")

    def _asked(self, *arguments: str) -> dict[str, Any]:
        self.check()
        # "file:" lets a name begin or look like anything.
        command: list[str | bytes] = [*_FFPROBE, *arguments, b"file:" + self.path]
        try:
            process = subprocess.Popen(command, stdin=_NULL, stdout=_PIPE, stderr=_PIPE)
        except FileNotFoundError:
            raise ProbeTrouble("ffprobe is missing; install ffmpeg") from None
        try:
            out, told = self._waited(process)
        except BaseException:
            _end(process)
            raise
        said = told.decode(errors="replace")
        if _is_trouble(said):
            raise ProbeTrouble(f"it cannot be read: {_last_line(said)}")
        if process.returncode < 0:
            raise ProbeTrouble(f"ffprobe was ended by signal {-process.returncode}")
        if process.returncode:
            raise NotMedia(_words(said))
        if "DRM protected" in said:
            raise NotMedia("it is encrypted (DRM)")
        return cast(dict[str, Any], json.loads(out.decode(errors="replace")))

    def _waited(self, process: subprocess.Popen[bytes]) -> tuple[bytes, bytes]:
        while True:
            try:
                return process.communicate(timeout=_TICK)
            except subprocess.TimeoutExpired:
                self.check()


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
    # In the middle of a read that the filesystem does not answer it ends later, and is reaped by subprocess.
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(1)


def _is_trouble(said: str) -> bool:
    return any(f": {os.strerror(code)}" in said for code in _TROUBLES)


def _last_line(said: str) -> str:
    return (said.strip() or "no reason given").splitlines()[-1].rpartition(": ")[2].strip()


def _words(said: str) -> str:
    """Why ffprobe refuses a file, for people."""
    if "moov atom not found" in said:
        return "it is cut off: the index of the film (moov) is missing"
    if "not on whitelist" in said:
        return "it is no film or music, whatever its name says"
    return f"it is fake or damaged: ffprobe cannot make sense of it ({_last_line(said)})"


def _facts(answer: dict[str, Any]) -> MediaFacts:
    about = answer.get("format", {})
    streams = tuple(_stream(one) for one in answer.get("streams", ()))
    created = str(min(about.get("tags", {}).items(), default=("", ""))[1])  # Apple's, with its zone, goes first
    return MediaFacts(str(about.get("format_name", "")), _number(about.get("duration")) or None, streams, created)


def _stream(told: dict[str, Any]) -> Stream:
    if told.get("codec_tag_string") in ("encv", "enca"):
        raise NotMedia("it is encrypted (DRM)")
    shown = told.get("disposition", {})
    kind = told.get("codec_type")
    language = str(told.get("tags", {}).get("language", ""))
    return Stream(
        index=int(told.get("index", 0)),
        kind=kind if kind in ("video", "audio", "subtitle", "attachment") else "data",
        codec=str(told.get("codec_name", "")),
        profile=str(told.get("profile", "")),
        width=int(told.get("width", 0)),
        height=int(told.get("height", 0)),
        hdr=_hdr(told),
        channels=int(told.get("channels", 0)),
        language="" if language == "und" else language,
        is_default=bool(shown.get("default")),
        is_forced=bool(shown.get("forced")),
        is_cover=bool(shown.get("attached_pic")),
    )


def _hdr(told: dict[str, Any]) -> Hdr | None:
    if "DOVI" in str(told.get("side_data_list")):
        return "Dolby Vision"
    return _TRANSFERS.get(str(told.get("color_transfer")))


def _number(text: object) -> float:
    with contextlib.suppress(ValueError):
        return float(str(text))
    return 0.0


def _refuse_other_kinds(fd: int) -> None:
    """NotMedia for what fakes are made of. Layouts as in APPNOTE.TXT (zip), technote.txt (rar), 7zFormat.txt."""
    head = os.pread(fd, 64, 0)
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


def _refuse_cut(fd: int, run: _Run) -> None:
    """NotMedia if the file is shorter than its own header says, or its end was never written. OSError."""
    size = os.fstat(fd).st_size
    head = os.pread(fd, 256, 0)
    claimed = 0
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        claimed = _matroska_end(head)
    elif head[4:8] in (b"ftyp", b"moov", b"mdat", b"free", b"wide", b"skip"):
        claimed = _mp4_end(fd, size, run)
    elif head[:4] in (b"RIFF", b"RIFX") and head[8:12] in (b"AVI ", b"WAVE"):
        claimed = _riff_end(fd, size)
    elif head.startswith(_ASF):
        claimed = _asf_size(os.pread(fd, _PIECE, 0))
    if claimed > size:
        raise NotMedia(f"it is cut off: it has {size} of the {claimed} bytes that its header claims")
    run.check()
    if size > 4 * _PIECE and not any(os.pread(fd, _PIECE, size - _PIECE)):
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


def _mp4_end(fd: int, size: int, run: _Run) -> int:
    """Where the last box that is looked at ends, in bytes (ISO/IEC 14496-12); NotMedia if it is encrypted."""
    at = 0
    for _ in range(_PARTS):
        run.check()
        head = os.pread(fd, 16, at)
        if len(head) < 8 or not head[4:8].isalnum():
            break
        length = int.from_bytes(head[:4], "big")
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        if head[4:8] == b"moov":
            _refuse_encrypted(os.pread(fd, min(length, _PIECE), at))
        if length < 8:  # it goes on to the end of the file
            return size
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


def _riff_end(fd: int, size: int) -> int:
    """Where the last of the RIFF chunks that follow one another ends, in bytes; large AVI files have several."""
    at = 0
    for _ in range(_PARTS):
        head = os.pread(fd, 8, at)
        length = int.from_bytes(head[4:8], "little")
        # What is written to a pipe says 0 or the largest number.
        if head[:4] != b"RIFF" or length in (0, 0xFFFFFFFF) or at >= size:
            break
        at += 8 + length
    # Some writers count the header twice.
    return at - 8
