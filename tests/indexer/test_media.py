"""Media facts of real files by the real ffprobe, and what is no media, or is not all there."""

import os
import signal
import struct
import subprocess
import sys
import threading
import time
import traceback
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from indexer.media import MediaFacts, probe
from indexer.verdicts import NotMedia, ProbeTrouble

SECONDS = 60.0
_SOURCES = ("-f", "lavfi", "-i", "testsrc=s=320x180:d=30:r=10", "-f", "lavfi", "-i", "sine=d=30")
_CODECS = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-c:a", "aac")


def make(path: Path, *arguments: str) -> Path:
    subprocess.run(["ffmpeg", "-v", "error", "-y", *arguments, str(path)], check=True, stdin=subprocess.DEVNULL)
    return path


def look(path: Path) -> MediaFacts:
    return probe(os.fsencode(path), seconds=SECONDS)


def refusal(path: Path) -> str:
    with pytest.raises(NotMedia) as caught:
        look(path)
    assert str(caught.value) == caught.value.reason
    return caught.value.reason


def cut(path: Path, share: float) -> Path:
    """A copy that ends after this share of the bytes."""
    short = path.with_name(f"cut-{share}-{path.name}")
    short.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    return short


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one film in several containers."""
    folder = tmp_path_factory.mktemp("clips")
    film = make(folder / "film.mkv", *_SOURCES, *_CODECS, "-metadata:s:a:0", "language=ger")
    for name, arguments in {
        "film.mp4": ("-c", "copy"),
        "fast.mp4": ("-c", "copy", "-movflags", "+faststart"),
        "film.avi": ("-c:v", "mpeg4", "-c:a", "mp3"),
        "film.ts": ("-c", "copy"),
        "film.wmv": ("-c:v", "wmv2", "-c:a", "wmav2"),
        "song.flac": ("-vn", "-c:a", "flac"),
        "song.mp3": ("-vn", "-c:a", "libmp3lame"),
        "drm.mp4": ("-c", "copy", "-encryption_scheme", "cenc-aes-ctr", "-encryption_key", "76" * 16,
                    "-encryption_kid", "a7" * 16),
    }.items():  # fmt: skip
        make(folder / name, "-i", str(film), *arguments)
    return folder


def test_the_facts_of_a_film(clips: Path) -> None:
    facts = look(clips / "film.mkv")
    assert facts.container == "matroska,webm"
    assert facts.seconds == pytest.approx(30, abs=0.5)
    assert facts.video is not None
    assert (facts.video.codec, facts.video.width, facts.video.height, facts.video.hdr) == ("h264", 320, 180, None)
    assert [(one.codec, one.channels, one.language) for one in facts.of_kind("audio")] == [("aac", 1, "ger")]
    assert facts.languages("audio") == ("ger",) and facts.languages("video") == ()


@pytest.mark.parametrize("name", ["film.mp4", "fast.mp4", "film.avi", "film.ts", "film.wmv"])
def test_whole_films_pass(clips: Path, name: str) -> None:
    facts = look(clips / name)
    assert facts.video is not None and facts.of_kind("audio")
    assert facts.seconds == pytest.approx(30, abs=1)


@pytest.mark.parametrize("name", ["song.flac", "song.mp3"])
def test_whole_songs_pass(clips: Path, name: str) -> None:
    facts = look(clips / name)
    assert facts.video is None and len(facts.of_kind("audio")) == 1


@pytest.mark.parametrize("name", ["film.mkv", "film.mp4", "fast.mp4", "film.avi", "film.wmv", "song.flac"])
@pytest.mark.parametrize("share", [0.3, 0.8])
def test_what_is_cut_off_is_told(clips: Path, name: str, share: float) -> None:
    assert "cut off" in refusal(cut(clips / name, share))


def test_lengths_that_are_left_open_or_counted_twice_pass(clips: Path) -> None:
    content = bytearray((clips / "fast.mp4").read_bytes())
    at = content.index(b"mdat") - 4
    content[at : at + 4] = bytes(4)  # up to the end of the file
    (clips / "open.mp4").write_bytes(content)
    content = bytearray((clips / "film.avi").read_bytes())
    content[4:8] = len(content).to_bytes(4, "little")
    (clips / "twice.avi").write_bytes(content)
    for name in ("open.mp4", "twice.avi"):
        assert look(clips / name).video is not None


@pytest.mark.parametrize("name", ["film.mkv", "film.mp4", "fast.mp4"])
def test_one_missing_byte_is_told(clips: Path, name: str) -> None:
    content = (clips / name).read_bytes()[:-1]
    short = clips / f"short-{name}"
    short.write_bytes(content)
    assert "cut off" in refusal(short)


def test_an_end_that_was_never_written_is_told(clips: Path) -> None:
    holed = clips / "holed.mp4"
    content = (clips / "fast.mp4").read_bytes()
    holed.write_bytes(content[:300_000] + bytes(len(content) - 300_000))
    assert refusal(holed) == "it is cut off: its end is empty"


def test_a_stream_whose_length_is_not_said_passes(clips: Path) -> None:
    command = ["ffmpeg", "-v", "error", "-i", str(clips / "film.mkv"), "-c", "copy", "-f", "matroska", "-"]
    live = clips / "live.mkv"
    live.write_bytes(subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL).stdout)
    assert look(live).video is not None


def test_hdr_covers_and_languages_are_told(tmp_path: Path) -> None:
    colours = ("-color_primaries", "bt2020", "-color_trc", "smpte2084", "-colorspace", "bt2020nc")
    film = make(tmp_path / "hdr.mkv", *_SOURCES, *_CODECS, *colours, "-t", "1")
    video = look(film).video
    assert video is not None and video.hdr == "HDR10"
    hlg = make(tmp_path / "hlg.mkv", *_SOURCES, *_CODECS, "-color_trc", "arib-std-b67", "-t", "1")
    video = look(hlg).video
    assert video is not None and video.hdr == "HLG"
    picture = make(tmp_path / "cover.png", "-f", "lavfi", "-i", "testsrc=s=64x64", "-frames:v", "1")
    maps = ("-map", "0:a", "-map", "1:v", "-disposition:v", "attached_pic", "-c:a", "flac")
    song = make(tmp_path / "song.flac", "-i", str(film), "-i", str(picture), *maps)
    facts = look(song)
    assert facts.video is None and [one.is_cover for one in facts.streams] == [False, True]


def fakes() -> Iterator[tuple[str, bytes, str]]:
    yield "noise", bytes(range(1, 256)) * 2000, "fake or damaged"
    yield "text", b"Visit us for the password!\n" * 500, ""
    yield "program", b"MZ" + bytes(range(1, 200)) * 100, "it is a program"
    yield "7z", b"7z\xbc\xaf\x27\x1c" + bytes(range(1, 200)) * 10, "it is a 7z archive"
    yield "playlist", b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfilm.ts\n", "no film or music"
    yield "parts", b"ffconcat version 1.0\nfile film.mkv\n", "no film or music"
    main = struct.pack("<HBHH6x", 0, 0x73, 0x80, 13)
    yield "rar4", b"Rar!\x1a\x07\x00" + main + bytes(range(1, 200)), "it is a RAR archive with a password"
    yield "rar5", b"Rar!\x1a\x07\x01\x00" + bytes(4) + b"\x21\x04" + bytes(64), "it is a RAR archive with a password"
    yield "rar", b"Rar!\x1a\x07\x01\x00" + bytes(4) + b"\x0a\x01" + bytes(64), "it is a RAR archive, not"
    yield "zeros", bytes(400_000), ""
    yield "empty", b"", "it is empty"


@pytest.mark.parametrize(("name", "content", "told"), list(fakes()), ids=[name for name, _, _ in fakes()])
def test_fakes_are_told(tmp_path: Path, clips: Path, name: str, content: bytes, told: str) -> None:
    fake = clips / f"fake-{name}.mkv"
    fake.write_bytes(content)
    assert told in refusal(fake)


def test_archives_are_told_by_what_they_are(tmp_path: Path, clips: Path) -> None:
    packed = tmp_path / "film.mkv"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.write(clips / "film.mkv", "film.mkv")
    assert refusal(packed).startswith("it is a ZIP archive, not")
    content = bytearray(packed.read_bytes())
    content[6] |= 1
    packed.write_bytes(content)
    assert refusal(packed).startswith("it is a ZIP archive with a password")


def test_pictures_and_encrypted_films_are_no_films(clips: Path) -> None:
    assert refusal(clips / "drm.mp4") == "it is encrypted (DRM)"
    picture = make(clips / "still.png", "-f", "lavfi", "-i", "testsrc=s=64x64", "-frames:v", "1")
    assert "no film or music" in refusal(picture.rename(clips / "still.mkv"))


def test_any_name_will_do(clips: Path) -> None:
    odd = os.path.join(os.fsencode(clips), b"-i http:x \xff'.mkv")
    os.link(os.fsencode(clips / "film.mkv"), odd)
    assert probe(odd, seconds=SECONDS).video is not None


def trouble(path: bytes, seconds: float = SECONDS) -> str:
    with pytest.raises(ProbeTrouble) as caught:
        probe(path, seconds=seconds)
    return caught.value.reason


def test_what_cannot_be_read_is_no_verdict(tmp_path: Path) -> None:
    assert "No such file" in trouble(os.fsencode(tmp_path / "none.mkv"))
    os.mkfifo(tmp_path / "fifo")
    assert trouble(os.fsencode(tmp_path / "fifo")) == "it is no regular file"
    # Reading at 0 is an input/output error there.
    assert "Input/output error" in trouble(b"/proc/self/mem")


def _pretend(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    program = folder / "ffprobe"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def test_a_read_error_on_the_way_is_no_verdict(tmp_path: Path, clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _pretend(tmp_path, monkeypatch, "echo 'file:x: Input/output error' >&2; exit 1")
    assert trouble(os.fsencode(clips / "film.mkv")) == "it cannot be read: Input/output error"


def test_what_ffprobe_says_only_once_is_no_verdict(
    tmp_path: Path, clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = subprocess.run(["sh", "-c", "command -v ffprobe"], capture_output=True, text=True, check=True).stdout.strip()
    once = tmp_path / "once"
    script = f'[ -e {once} ] && exec {real} "$@"; touch {once}; echo "x: moov atom not found" >&2; exit 1'
    _pretend(tmp_path, monkeypatch, script)
    assert look(clips / "film.mp4").video is not None
    assert once.exists()


def test_without_ffprobe_nothing_is_said(tmp_path: Path, clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert trouble(os.fsencode(clips / "film.mkv")) == "ffprobe is missing; install ffmpeg"


def _is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_ffprobe_is_ended_when_time_is_up(tmp_path: Path, clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _pretend(tmp_path, monkeypatch, f"echo $$ > {tmp_path}/pid; exec sleep 600")
    assert trouble(os.fsencode(clips / "film.mkv"), 2.0) == "ffprobe gave no answer in time"
    assert _is_gone(int((tmp_path / "pid").read_text()))


def _in_popen() -> bool:
    """Whether the main thread is starting a process now."""
    frame = sys._current_frames()[threading.main_thread().ident or 0]
    names = {each.f_code.co_name for each, _ in traceback.walk_stack(frame)}
    return "_execute_child" in names


@pytest.mark.parametrize("by", ["event", "signal"])
def test_ffprobe_is_ended_when_interrupted(
    tmp_path: Path, clips: Path, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    _pretend(tmp_path, monkeypatch, f"echo $$ > {tmp_path}/new; mv {tmp_path}/new {tmp_path}/pid; exec sleep 600")
    cancel = threading.Event()

    def interrupt() -> None:
        deadline = time.monotonic() + 30
        while not (tmp_path / "pid").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        if by == "event":
            cancel.set()
        else:
            signal.raise_signal(signal.SIGINT)

    helper = threading.Thread(target=interrupt)
    helper.start()
    try:
        with pytest.raises(ProbeTrouble if by == "event" else KeyboardInterrupt):
            probe(os.fsencode(clips / "film.mkv"), seconds=SECONDS, cancel=cancel)
    finally:
        helper.join()
    assert _is_gone(int((tmp_path / "pid").read_text()))
