"""Real films for tests, made by ffmpeg: a picture, two sounds and subtitles."""

import subprocess
from pathlib import Path

_TITLES = "1\n00:00:00,000 --> 00:00:01,000\nHello\n"


def film(path: Path, seconds: int = 2, rate: str = "500k", faststart: bool = False) -> Path:
    """A film of 320x180 in mpeg4, sound in English and German, English subtitles; about `rate` bits a second."""
    titles = path.with_suffix(".srt")
    titles.write_text(_TITLES)
    codecs = ["-c:v", "mpeg4", "-b:v", rate, "-c:a", "aac", "-ac:a:1", "2", "-c:s", "mov_text" if faststart else "srt"]
    languages = [
        "-metadata:s:a:0",
        "language=eng",
        "-metadata:s:a:1",
        "language=ger",
        "-metadata:s:s:0",
        "language=eng",
    ]
    maps = ["-map", "0:v", "-map", "1:a", "-map", "1:a", "-map", "2:s"]
    noise = f"nullsrc=s=320x180:d={seconds}:r=25,geq=random(1)*255:128:128" if rate.endswith("M") else ""
    picture = noise or f"testsrc=s=320x180:d={seconds}:r=25"
    command = ["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", f"sine=d={seconds}"]
    more = ["-movflags", "+faststart"] if faststart else []
    subprocess.run(
        [*command, "-i", str(titles), *maps, *codecs, *languages, *more, str(path)],
        check=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    titles.unlink()
    return path
