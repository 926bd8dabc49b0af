"""The identity file of a drive: what it says, and how it is written once and read back.

It lies at `.mediapool/identity.json` below the drive's root and carries the drive's number in the pool's
inode numbers, so both survive a new mount point, a new config and another machine.
"""

import contextlib
import errno
import json
import stat
import uuid
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from placement import system as os
from placement.beneath import RENAME_NOREPLACE, Root, renameat2

FOLDER = ".mediapool"
IDENTITY = f"{FOLDER}/identity.json"
FORMAT = 1
# Sixteen bits of an inode number, the sign bit left out.
MAX_NUMBER = 32767
_LARGEST = 65536


class DriveError(Exception):
    """Why a drive cannot be used, for people: names the drive, its path, the cause and what to do."""

    def __init__(self, name: str, path: str, cause: str, remedy: str) -> None:
        super().__init__(f"drive {name!r} ({path}): {cause}. {remedy}")
        self.name = name
        self.path = path
        self.cause = cause
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class Identity:
    """What the identity file says: a UUID, the number (1..32767) in inode numbers, the name at first."""

    id: str
    number: int
    name: str


def initialise(path: str | os.PathLike[str], name: str, number: int) -> Identity:
    """Make the directory `path` a drive: write its identity file, complete and on stable storage, or nothing.

    DriveError if there is one already (also a damaged one), if `number` is out of range, or if the file
    cannot be written.
    """
    place = os.fspath(path)
    if not 1 <= number <= MAX_NUMBER:
        raise DriveError(name, place, f"number {number} is not in 1..{MAX_NUMBER}", "Choose another number")
    identity = Identity(str(uuid.uuid4()), number, name)
    try:
        with Root(place) as root:
            _write_identity(root, identity)
    except FileExistsError:
        raise DriveError(
            name,
            place,
            f"there is already an identity file ({IDENTITY})",
            "Add the folder as the drive it is, or remove that file if the drive belongs to no pool any more",
        ) from None
    except OSError as error:
        cause = f"cannot write the identity file: {error.strerror}"
        raise DriveError(name, place, cause, "The folder must exist and be writable for this user") from error
    return identity


def _write_identity(root: Root, identity: Identity) -> None:
    with root.parent(FOLDER) as (top, folder), contextlib.suppress(FileExistsError):
        os.mkdir(folder, 0o700, dir_fd=top)
    top_fd = root.open_dir("")
    try:
        folder_fd = root.open_dir(FOLDER)
        try:
            os.fchmod(folder_fd, 0o700)
            _write_new(folder_fd, "identity.json", _text(identity))
        finally:
            os.close(folder_fd)
        os.fsync(top_fd)
    finally:
        os.close(top_fd)


def _text(identity: Identity) -> bytes:
    fields = {"format": FORMAT, **asdict(identity)}
    return (json.dumps(fields, indent=2) + "\n").encode()


def _write_new(dirfd: int, name: str, content: bytes) -> None:
    """Write the file `name` whole and on stable storage; FileExistsError if there is one."""
    new = f"{name}.{uuid.uuid4().hex}"
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=dirfd)
    try:
        with open(fd, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        _rename_new(dirfd, new, name)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(new, dir_fd=dirfd)
        raise
    os.fsync(dirfd)


def _rename_new(dirfd: int, new: str, name: str) -> None:
    try:
        renameat2(dirfd, new, dirfd, name, RENAME_NOREPLACE)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        # This filesystem cannot refuse to replace, so look first.
        with contextlib.suppress(FileNotFoundError):
            os.stat(name, dir_fd=dirfd, follow_symlinks=False)
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name) from None
        renameat2(dirfd, new, dirfd, name)


def read_identity(root: Root) -> Identity:
    """The identity below `root`; FileNotFoundError if there is none, ValueError (why) if it is damaged."""
    with root.parent(IDENTITY) as (dirfd, name):
        # Not blocking: whoever puts a FIFO there must not stop the daemon.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        fd = os.open(name, flags, dir_fd=dirfd)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise ValueError("it is no regular file")
        with open(fd, "rb", closefd=False) as file:
            return parse_identity(file.read(_LARGEST))
    finally:
        os.close(fd)


def parse_identity(content: bytes) -> Identity:
    """The identity in `content`; ValueError names what is wrong."""
    try:
        fields = json.loads(content)
    except (ValueError, RecursionError):
        raise ValueError("it is no JSON") from None
    if not isinstance(fields, dict):
        raise ValueError("it is no JSON object")
    if fields.get("format") != FORMAT:
        raise ValueError(f"its format is {fields.get('format')!r}, this version reads {FORMAT}")
    number, name = fields.get("number"), fields.get("name")
    if type(number) is not int or not 1 <= number <= MAX_NUMBER:
        raise ValueError(f"its number {number!r} is not in 1..{MAX_NUMBER}")
    if not isinstance(name, str):
        raise ValueError("it has no name")
    try:
        return Identity(str(uuid.UUID(fields.get("id"))), number, name)
    except (TypeError, ValueError, AttributeError):
        raise ValueError(f"its id {fields.get('id')!r} is no UUID") from None


def next_number(used: Iterable[int]) -> int:
    """A number for a new drive: above all `used`, else the lowest free; ValueError when all 32767 are used.

    Counting on lets the number of a removed drive rest for as long as possible.
    """
    taken = set(used)
    after = max(taken, default=0) + 1
    if after <= MAX_NUMBER:
        return after
    for number in range(1, MAX_NUMBER + 1):
        if number not in taken:
            return number
    raise ValueError(f"all {MAX_NUMBER} drive numbers are used")
