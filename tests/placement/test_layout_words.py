"""Roles, profiles and access rights as people write them in options."""

import pytest

from placement.layout import ROLES, Access, LayoutError, Profile, Role, parse_access, parse_profile


def test_roles_in_words() -> None:
    assert Role.parse("61001:61002") == Role(61001, 61002, frozenset({61002}))
    assert Role.parse("root").uid == 0 and Role.parse("root").gid == 0
    assert Role.parse("root:61002").gid == 61002
    assert Role.parse("0:root") == Role.parse("root")
    for text in ("no such user", "61001", "root:no such group", ""):
        with pytest.raises(LayoutError) as caught:
            Role.parse(text)
        assert caught.value.path == text


def test_roles_that_could_not_be_kept_apart() -> None:
    one, two, three, four = (Role(n, n) for n in (1, 2, 3, 4))
    Profile(one, two, three, four)
    with pytest.raises(LayoutError, match="same user"):
        Profile(one, Role(1, 9), three, four)
    with pytest.raises(LayoutError, match="one is root"):
        Profile(one, two, Role(0, 0), four)
    with pytest.raises(LayoutError, match="media server is a member of the importer's group 3"):
        Profile(one, two, three, Role(4, 4, frozenset({3, 4})))
    with pytest.raises(LayoutError, match="torrent client is a member"):
        Profile(Role(1, 3), two, three, four)


def test_profiles_in_words() -> None:
    words: dict[str, str | None] = {role: f"{n}:{n}" for n, role in enumerate(ROLES, 61001)}
    profile = parse_profile("apps", words)
    assert profile is not None and profile.importer.uid == 61003
    assert parse_profile(None, dict.fromkeys(ROLES)) is None
    with pytest.raises(LayoutError, match="no user for importer, media_server"):
        parse_profile("apps", words | {"importer": None, "media_server": None})
    for name in (None, "other"):
        with pytest.raises(LayoutError, match='There is "apps"'):
            parse_profile(name, words)


def test_access_in_words() -> None:
    assert parse_access(["media=1:2:2775", "ddl=::700", "usenet=5"]) == {
        "media": Access(1, 2, 0o2775),
        "ddl": Access(mode=0o700),
        "usenet": Access(uid=5),
    }
    for text in (
        "media",
        "media=1:2:9",
        "media=1:2:77777",
        "media=1:2:-1",
        "media=1:2:3:4",
        "media=nobody here",
    ):
        with pytest.raises(LayoutError):
            parse_access([text])
