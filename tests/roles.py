"""The four programs of the layout's profile "apps" as users, and calls made as one of them."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

from placement.layout import ROLES, Profile, Role

APPS = Profile(
    torrent_client=Role(61001, 61001),
    usenet_client=Role(61002, 61002),
    importer=Role(61003, 61003),
    media_server=Role(61004, 61004),
)
TORRENT, USENET, IMPORTER, SERVER = (getattr(APPS, name) for name in ROLES)

# Runs calls as another user; the interpreter itself need not be readable for that user.
AS_ROLE = """
import json, os, sys
uid, gid, groups, calls = json.loads(sys.argv[1])
os.umask(0o002)
os.setgroups(groups)
os.setgid(gid)
os.setuid(uid)
codes = []
for call, *arguments in calls:
    try:
        result = getattr(os, call)(*arguments)
        if call == "open":
            os.write(result, b"content") if arguments[1] & os.O_ACCMODE else os.read(result, 9)
        codes.append(0)
    except OSError as error:
        codes.append(error.errno)
print(json.dumps(codes))
"""


def attempts(role: Role, *calls: tuple[object, ...]) -> list[str]:
    """What each (name of an os function, arguments...) gives a process of `role` with umask 002.

    "ok" or the name of the errno.
    """
    words = [[str(one) if isinstance(one, Path) else one for one in call] for call in calls]
    request = json.dumps([role.uid, role.gid, sorted(role.groups), words])
    command = [sys.executable, "-I", "-S", "-c", AS_ROLE, request]
    codes = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
    return [errno.errorcode[code] if code else "ok" for code in codes]


def attempt(role: Role, *call: object) -> str:
    return attempts(role, call)[0]


def write(role: Role, path: Path) -> str:
    return attempt(role, "open", path, os.O_WRONLY | os.O_CREAT, 0o666)


def read(role: Role, path: Path) -> str:
    return attempt(role, "open", path, os.O_RDONLY)
