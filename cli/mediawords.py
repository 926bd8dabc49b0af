"""Media facts in words, as `mediapool explain` and the page show them."""

from collections.abc import Iterable, Mapping
from typing import Any

from cli.output import human_duration

# Streams of one kind that are named.
_MOST = 8
_CHANNELS = {1: "mono", 2: "stereo", 3: "2.1", 6: "5.1", 7: "6.1", 8: "7.1"}


def described(facts: Mapping[str, Any]) -> str:
    """As in "3840x2160 hevc HDR10, 2 h 13 min, sound eng (truehd 7.1), deu (ac3 5.1), subtitles eng, deu".

    `facts` as `indexer.mediafacts` says; texts in it may hold anything.
    """
    pictures = [_picture(one) for one in facts.get("video", ())]
    length = [human_duration(facts["seconds"])] if facts.get("seconds") else []
    sound = _listed("sound", (_sound(one) for one in facts.get("audio", ())))
    languages = dict.fromkeys(_subtitles(one) for one in facts.get("subtitles", ()))
    return ", ".join([*pictures[:_MOST], *length, *sound, *_listed("subtitles", languages)])


def told(media: Mapping[str, Any] | None, local: bool) -> str:
    """What is known of a file as media, in words; `media` as `vfs.about.About.media_of`. Empty for other files."""
    if media is None:
        return ""
    if media["state"] == "known":
        return described(media["facts"])
    if media["state"] == "failed":
        return f"not known: {media['problem']}"
    if media["state"] == "waiting":
        return "not known yet; it is looked at as soon as nobody reads remote files"
    return "not known; mediapool index crawl looks at it" if local else "not known; it cannot be looked at just now"


def _listed(word: str, texts: Iterable[str]) -> list[str]:
    found = list(texts)
    if not found:
        return []
    more = [f"{len(found) - _MOST} more"] if len(found) > _MOST else []
    return [f"{word} {', '.join([*found[:_MOST], *more])}"]


def _picture(one: Mapping[str, Any]) -> str:
    size = f"{one['width']}x{one['height']}" if "width" in one and "height" in one else ""
    return _joined(size, one.get("codec", "picture"), one.get("hdr", ""))


def _sound(one: Mapping[str, Any]) -> str:
    channels = one.get("channels", 0)
    kind = _joined(one.get("codec", ""), _CHANNELS.get(channels, f"{channels} channels" if channels else ""))
    language = one.get("language", "")
    return f"{language} ({kind})" if language and kind else language or kind or "unknown"


def _subtitles(one: Mapping[str, Any]) -> str:
    return _joined(one.get("language", "unknown"), "(forced)" if one.get("forced") else "")


def _joined(*words: str) -> str:
    return " ".join(word for word in words if word)
