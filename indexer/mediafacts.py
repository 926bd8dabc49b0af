"""Media facts as the catalog keeps them and programs get them: one JSON object, everywhere the same and never long.

    {"container": "matroska,webm", "seconds": 7980.5, "created": "2024-05-31T23:59:59Z",
     "video": [{"codec": "hevc", "profile": "Main 10", "width": 3840, "height": 2160, "hdr": "HDR10", "default": true}],
     "audio": [{"codec": "truehd", "channels": 8, "language": "eng", "default": true}, ...],
     "subtitles": [{"codec": "subrip", "language": "eng", "forced": true}, ...],
     "more": 12}

Words are ffprobe's. What is not known, zero or false is left out; so are pictures of covers, attachments and data.
"more" counts streams that were left out because there are too many.
"""

import json
from typing import Any

from indexer.media import MediaFacts, Stream

Facts = dict[str, Any]

MOST = 8192
"""Bytes that the JSON takes at most."""
_LISTS = (("video", "video"), ("audio", "audio"), ("subtitle", "subtitles"))
# Letters of a text that a file brings along, such as a language: anybody may write anything there.
_LONGEST = 48


def plain(found: MediaFacts) -> Facts:
    """`found` as the object above, without a limit on its streams."""
    seconds = None if found.seconds is None else round(found.seconds, 3)
    facts: Facts = {"container": found.container, "seconds": seconds, "created": found.created}
    for kind, name in _LISTS:
        facts[name] = [_stream(stream) for stream in found.streams if stream.kind == kind and not stream.is_cover]
    return _known(facts)


def _stream(stream: Stream) -> Facts:
    return _known(
        {
            "codec": stream.codec,
            "profile": stream.profile,
            "width": stream.width,
            "height": stream.height,
            "hdr": stream.hdr,
            "channels": stream.channels,
            "language": stream.language,
            "default": stream.is_default,
            "forced": stream.is_forced,
        }
    )


def _known(facts: Facts) -> Facts:
    return {name: value[:_LONGEST] if isinstance(value, str) else value for name, value in facts.items() if value}


def text_of(found: MediaFacts) -> str:
    """The object as compact JSON in ASCII, of at most MOST bytes: the last streams of the longest list go first."""
    facts = plain(found)
    left_out = 0
    while len(text := json.dumps(facts, separators=(",", ":"))) > MOST:
        longest = max((name for _, name in _LISTS if name in facts), key=lambda name: len(facts[name]))
        facts[longest].pop()
        left_out += 1
        facts["more"] = left_out
    return text
