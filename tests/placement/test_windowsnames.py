"""Names for Windows: each can be shown, none is shown as another, and what is shown can be read back."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placement.windowsnames import folded, meant, shown

# Characters that matter, much more often than chance has them.
_ODD = st.sampled_from('<>:"|?*\\. \t\x01\x7fCONUL1aA$¹\uf000\uf001\uf03a\uf07f\uf080\uf0ff\uf100\udc80\udcff.')
NAMES = st.text(st.one_of(_ODD, st.characters(exclude_characters="/\0", exclude_categories=["Cs"])), min_size=1)
NAMES = NAMES.filter(lambda name: name not in (".", ".."))
_DEVICE = re.compile(r"(?i)(con|prn|aux|nul|conin\$|conout\$|com[1-9¹²³]|lpt[1-9¹²³]) *(\.|$)")


@given(NAMES)
def test_what_is_shown_can_be_on_windows_and_be_read_back(name: str) -> None:
    text = shown(name)
    assert not re.search(r'[\x00-\x1f<>:"|?*\\/]', text) and text[-1] not in ". " and not _DEVICE.match(text)
    text.encode("utf-16-le")
    assert meant(text) == name


@given(NAMES)
def test_a_text_means_one_name_or_none(text: str) -> None:
    try:
        name = meant(text)
    except ValueError:
        return
    assert shown(name) == text


@given(st.binary(min_size=1, max_size=255).filter(lambda name: not set(name) & {0, 47} and name not in (b".", b"..")))
def test_each_name_of_linux_fits(name: bytes) -> None:
    text = shown(name.decode(errors="surrogateescape"))
    assert len(text.encode("utf-16-le")) <= 2 * 255
    assert meant(text).encode(errors="surrogateescape") == name


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("plain.mkv", "plain.mkv"),
        ("Show: Title?", "Show\uf03a Title\uf03f"),
        ("the end.", "the end\uf02e"),
        ("nul.txt", "\uf06eul.txt"),
        ("nullify", "nullify"),
        ("\uf03a", "\uf07f\uf03a"),
        ("\udcff", "\uf0ff"),
    ],
)
def test_examples(name: str, text: str) -> None:
    assert shown(name) == text and meant(text) == name


@pytest.mark.parametrize("text", ["a:b", "\uf041", "x\uf02ey", "\uf07f", "\uf02f", "CON", "end."])
def test_what_nothing_is_shown_as(text: str) -> None:
    with pytest.raises(ValueError, match="no name that can be shown"):
        meant(text)


def test_case_is_a_matter_of_single_letters() -> None:
    assert folded("Straße.mkv") == "STRAßE.MKV" != folded("STRASSE.MKV")
    assert folded("éÄσ") == folded("ÉäΣ")
