"""Names as Windows takes them: what it forbids is written with other letters, and can be read back.

Windows forbids some characters, a dot or blank at the end, and the names of devices. Each such character is shown as
the one 0xF000 further on, in Unicode's area for private use, as Cygwin and WSL do it too; a byte that is no UTF-8 as
one from 0xF080 on. A character that is itself from there gets `_ESCAPE` before it. Everything here is pure.
Source of what is forbidden: "Naming Files, Paths, and Namespaces", Microsoft Learn.
"""

import re

_PRIVATE = 0xF000
_ESCAPE = "\uf07f"
# How os.fsdecode gives a byte over 127 that is no UTF-8, and where it is shown.
_NO_TEXT, _NO_TEXT_SHOWN = 0xDC80, 0xF080
_OURS = re.compile("[\uf001-\uf0ff]")
_FORBIDDEN = re.compile('[\x01-\x1f"*:<>?|\\\\\udc80-\udcff\uf001-\uf0ff]')
_AT_THE_END = (".", " ")
_DEVICES = frozenset(
    ("CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$")
    + tuple(f"{port}{number}" for port in ("COM", "LPT") for number in "123456789¹²³")
)


def shown(name: str) -> str:
    """`name` of the tree as Windows is shown it; no two names are shown alike."""
    text = _FORBIDDEN.sub(_instead, name)
    if text.endswith(_AT_THE_END):
        text = text[:-1] + _private(text[-1])
    if text.partition(".")[0].rstrip(" ").upper() in _DEVICES:
        text = _private(text[0]) + text[1:]
    return text


def _private(character: str) -> str:
    return chr(_PRIVATE + ord(character))


def _instead(found: re.Match[str]) -> str:
    character = found[0]
    if _OURS.match(character):
        return _ESCAPE + character
    code = ord(character)
    return chr(code - _NO_TEXT + _NO_TEXT_SHOWN) if code >= _NO_TEXT else _private(character)


def meant(text: str) -> str:
    """The name of the tree that is shown as `text`; ValueError if none is."""
    name = _read(text) if _OURS.search(text) else text
    if shown(name) != text:
        raise ValueError(f"{text!r} is no name that can be shown on Windows")
    return name


def _read(text: str) -> str:
    name, characters = "", iter(text)
    for character in characters:
        if character == _ESCAPE:
            name += next(characters, "")
        elif not _OURS.match(character):
            name += character
        elif (code := ord(character)) >= _NO_TEXT_SHOWN:
            name += chr(code - _NO_TEXT_SHOWN + _NO_TEXT)
        else:
            name += chr(code - _PRIVATE)
    return name


def folded(name: str) -> str:
    """What is equal for names that differ only in case, as Windows sees it: letter by letter, in capitals."""
    upper = name.upper()
    if len(upper) == len(name):
        return upper
    # Windows knows no capital of more than one letter.
    return "".join(big if len(big := letter.upper()) == 1 else letter for letter in name)
