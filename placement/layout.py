"""The folder layout of a media library, and who may do what in it.

    BASE/data/torrents/{incomplete,complete}    the torrent client
    BASE/data/usenet/{incomplete,complete}      the usenet client
    BASE/data/ddl/{incomplete,complete}         direct downloads
    BASE/data/media/{books,movies,music,tv,anime}
    BASE/data/personal/{rip,remux}

Only these folders are made or changed, never what lies in them. Links below BASE are not followed: the
clients can write there, and a run as root must not be led elsewhere.

The profile "apps" is for four users:

| role | torrents | usenet | ddl | media | personal |
|---|---|---|---|---|---|
| torrent client | write | - | - | read | - |
| usenet client | - | write | - | read | - |
| importer (Sonarr, Radarr) | write | write | write | write | - |
| media server | - | - | - | read | - |

How a file can be hard-linked by someone else than its owner: with fs.protected_hardlinks=1 (the default
nearly everywhere) the linker must own the file or be able to read *and write* it. So each download folder
belongs to its client, but has the *importer's group* and the setgid bit (2770): what a client makes there
inherits that group, and with a umask of 002 in the client it is writable for the group (0664, folders
2775). The importer then links, moves and deletes there. No client needs to be a member of the importer's
group, and must not be: that group may write to all of it. `media` belongs to the importer (2775) and is
read by everyone else, including linked files (0664). With a umask of 077 or 027 in a client, importing
falls back to copying or fails.
"""

import errno
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from placement import system as os
from placement.beneath import Root

_DOWNLOAD = ("incomplete", "complete")
TOP = "data"
FOLDERS: dict[str, tuple[str, ...]] = {
    "torrents": _DOWNLOAD,
    "usenet": _DOWNLOAD,
    "ddl": _DOWNLOAD,
    "media": ("books", "movies", "music", "tv", "anime"),
    "personal": ("rip", "remux"),
}
# The fields of `Profile`, also as the options of the commands are called.
ROLES = ("torrent_client", "usenet_client", "importer", "media_server")


class LayoutError(Exception):
    """Why the layout cannot be made, for people: the path (or option), the cause and what to do."""

    def __init__(self, path: str, cause: str, remedy: str) -> None:
        super().__init__(f"{path}: {cause}. {remedy}")
        self.path = path
        self.cause = cause
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class Role:
    """A user some program runs as: numbers of the user, of its group, and of its further groups."""

    uid: int
    gid: int
    groups: frozenset[int] = frozenset()

    @classmethod
    def parse(cls, text: str) -> Self:
        """The role "USER", "USER:GROUP" or numbers "UID:GID"; LayoutError if there is no such user or group.

        The further groups are those the system knows for the user, none if it does not know the number.
        """
        user, colon, group = text.partition(":")
        uid, primary, name = _user(user, text)
        gid = _group(group, text) if colon else primary
        if gid is None:
            raise LayoutError(text, "the user is unknown here, so its group is too", "Give UID:GID")
        groups = frozenset(os.getgrouplist(name, gid)) if name else frozenset({gid})
        return cls(uid, gid, groups)

    def in_group(self, gid: int) -> bool:
        return gid == self.gid or gid in self.groups


@dataclass(frozen=True, slots=True)
class Access:
    """Owner, group and mode bits of a folder; None leaves one as it is."""

    uid: int | None = None
    gid: int | None = None
    mode: int | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """The access "OWNER:GROUP:MODE" (mode octal), each possibly empty; LayoutError says what is wrong."""
        owner, group, mode = (text.split(":") + ["", ""])[:3]
        try:
            bits = int(mode, 8) if mode else None
        except ValueError:
            bits = -1
        if text.count(":") > 2 or (bits is not None and not 0 <= bits <= 0o7777):
            raise LayoutError(text, "not of the form OWNER:GROUP:MODE", "For example alice:users:2775")
        uid = _user(owner, text)[0] if owner else None
        return cls(uid, _group(group, text) if group else None, bits)

    def over(self, other: "Access") -> "Access":
        """This access, completed by `other` where it says nothing."""
        return Access(
            other.uid if self.uid is None else self.uid,
            other.gid if self.gid is None else self.gid,
            other.mode if self.mode is None else self.mode,
        )


def _user(text: str, whole: str) -> tuple[int, int | None, str | None]:
    """Number, group and name of the user; group and name are None for a number the system does not know."""
    import pwd  # not on Windows

    try:
        entry = pwd.getpwuid(int(text)) if text.isdecimal() else pwd.getpwnam(text)
    except KeyError:
        if text.isdecimal():
            return int(text), None, None
        cause = f"there is no user {text!r}"
        raise LayoutError(whole, cause, "Create the user, or give its number") from None
    return entry.pw_uid, entry.pw_gid, entry.pw_name


def _group(text: str, whole: str) -> int:
    import grp  # not on Windows

    if text.isdecimal():
        return int(text)
    try:
        return grp.getgrnam(text).gr_gid
    except KeyError:
        cause = f"there is no group {text!r}"
        raise LayoutError(whole, cause, "Create the group, or give its number") from None


@dataclass(frozen=True, slots=True)
class Profile:
    """The profile "apps": the users of the four programs. LayoutError if they could not be kept apart."""

    torrent_client: Role
    usenet_client: Role
    importer: Role
    media_server: Role

    def __post_init__(self) -> None:
        others = {
            "torrent client": self.torrent_client,
            "usenet client": self.usenet_client,
            "media server": self.media_server,
        }
        users = {role.uid for role in others.values()} | {self.importer.uid}
        if len(users) < 4 or 0 in users:
            cause = "two roles have the same user, or one is root"
            raise LayoutError("profile apps", cause, "Give each program a user of its own")
        for name, role in others.items():
            if role.in_group(self.importer.gid):
                cause = f"the {name} is a member of the importer's group {self.importer.gid}"
                raise LayoutError("profile apps", cause, "That group may write everywhere: take it out")

    def access(self) -> dict[str, Access]:
        """Access of each top folder and, as "", of the folder above them."""
        importer = self.importer
        return {
            # Who may write here could rename the folders of all the others.
            "": Access(uid=0, mode=0o755),
            "torrents": Access(self.torrent_client.uid, importer.gid, 0o2770),
            "usenet": Access(self.usenet_client.uid, importer.gid, 0o2770),
            "ddl": Access(importer.uid, importer.gid, 0o2770),
            "media": Access(importer.uid, importer.gid, 0o2775),
            "personal": Access(mode=0o750),
        }


def parse_profile(name: str | None, roles: Mapping[str, str | None]) -> Profile | None:
    """The profile of this name with its roles (`ROLES`) as `Role.parse` takes them; None for none.

    LayoutError for an unknown profile, and for roles that are missing, unknown or given without a profile.
    """
    given = {role: text for role, text in roles.items() if text}
    if name is None and not given:
        return None
    if name != "apps":
        raise LayoutError(f"profile {name}", "not a profile", 'There is "apps", and only it has roles')
    missing = [role for role in ROLES if role not in given]
    if missing:
        raise LayoutError("profile apps", f"no user for {', '.join(missing)}", "Give each as USER or UID:GID")
    return Profile(**{role: Role.parse(given[role]) for role in ROLES})


def parse_access(texts: Iterable[str]) -> dict[str, Access]:
    """Overrides for `create_layout` from "FOLDER=OWNER:GROUP:MODE"; LayoutError says what is wrong."""
    found = {}
    for text in texts:
        folder, equals, access = text.partition("=")
        if not equals:
            cause = "not of the form FOLDER=OWNER:GROUP:MODE"
            raise LayoutError(text, cause, "For example media=alice:users:2775")
        found[folder] = Access.parse(access)
    return found


@dataclass(frozen=True, slots=True)
class Step:
    """What was done, or in a dry run would be done, to one folder."""

    path: Path
    action: Literal["made", "changed", "kept"]
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.action:8}{self.path}" + (f"  ({self.detail})" if self.detail else "")


def create_layout(
    base: Path,
    profile: Profile | None = None,
    *,
    access: Mapping[str, Access] | None = None,
    dry_run: bool = False,
) -> list[Step]:
    """Make the layout below the existing folder `base`; the steps say what was made, changed or kept.

    `access` overrides owner, group and mode for a top folder ("torrents", "media", ...) with its folders.
    Where neither it nor the profile says something, new folders are made as mkdir makes them and existing
    ones stay as they are. Running it again changes nothing. LayoutError with the path, the cause and a
    remedy.
    """
    wanted = _wanted(profile, access or {})
    try:
        root = Root(base)
    except OSError as error:
        raise LayoutError(str(base), str(error.strerror), "Create the folder, or name another one") from error
    with root:
        return [_settle(root, base, folder, which, dry_run) for folder, which in _folders(wanted)]


def _wanted(profile: Profile | None, overrides: Mapping[str, Access]) -> dict[str, Access]:
    wanted = profile.access() if profile else {}
    for folder, access in overrides.items():
        if folder not in FOLDERS:
            raise LayoutError(folder, "no top folder of the layout", f"There are {', '.join(FOLDERS)}")
        wanted[folder] = access.over(wanted.get(folder, Access()))
    return wanted


def _folders(wanted: Mapping[str, Access]) -> Iterator[tuple[str, Access]]:
    """Each folder, parents first, with its access."""
    yield TOP, wanted.get("", Access())
    for top, inner in FOLDERS.items():
        access = wanted.get(top, Access())
        yield f"{TOP}/{top}", access
        for name in inner:
            yield f"{TOP}/{top}/{name}", access


def _settle(root: Root, base: Path, folder: str, access: Access, dry_run: bool) -> Step:
    path = base / folder
    try:
        made = _make(root, folder, access, dry_run)
        changed = access if made and dry_run else _change(root, folder, access, dry_run)
    except OSError as error:
        raise LayoutError(str(path), str(error.strerror), _remedy(error.errno)) from error
    if made:
        return Step(path, "made", _in_words(access))
    return Step(path, "changed" if changed != Access() else "kept", _in_words(changed))


def _make(root: Root, folder: str, access: Access, dry_run: bool) -> bool:
    """Make the folder unless it is there; whether it was not."""
    try:
        with root.parent(folder) as (dirfd, name):
            if dry_run:
                os.stat(name, dir_fd=dirfd, follow_symlinks=False)
                return False
            # One that is to have certain rights is closed to others until it has them.
            os.mkdir(name, 0o777 if access.mode is None else 0o700, dir_fd=dirfd)
            return True
    except FileExistsError:
        return False
    except FileNotFoundError:
        if not dry_run:
            raise
        return True


def _change(root: Root, folder: str, access: Access, dry_run: bool) -> Access:
    """Give the existing folder its access; the part of it that differed."""
    fd = root.open_dir(folder)
    try:
        differing = _differing(fd, access)
        if not dry_run and differing != Access():
            _apply(fd, differing)
            # A setgid bit for a group one is not in, or modes on FAT: both fail without a word.
            if _differing(fd, access) != Access():
                raise OSError(errno.EPERM, os.strerror(errno.EPERM))
        return differing
    finally:
        os.close(fd)


def _differing(fd: int, access: Access) -> Access:
    found = os.fstat(fd)
    return Access(
        None if access.uid == found.st_uid else access.uid,
        None if access.gid == found.st_gid else access.gid,
        None if access.mode == stat.S_IMODE(found.st_mode) else access.mode,
    )


def _apply(fd: int, access: Access) -> None:
    os.fchown(fd, -1 if access.uid is None else access.uid, -1 if access.gid is None else access.gid)
    # After the owner, because changing that may clear mode bits.
    if access.mode is not None:
        os.fchmod(fd, access.mode)


def _in_words(access: Access) -> str:
    parts = (
        f"owner {access.uid}" if access.uid is not None else "",
        f"group {access.gid}" if access.gid is not None else "",
        f"mode {access.mode:o}" if access.mode is not None else "",
    )
    return ", ".join(part for part in parts if part)


def _remedy(code: int | None) -> str:
    match code:
        case errno.EPERM | errno.EACCES:
            return "Only root may give folders to other users: run as root, on a disk with owners and modes"
        case errno.ENOTDIR | errno.ELOOP | errno.EEXIST:
            return "Something else has this name, and links are not followed: move it away"
        case errno.EROFS:
            return "Mount it writable"
        case errno.ENOSPC | errno.EDQUOT:
            return "Free some space there"
        case _:
            return "Mend that and run it again"
