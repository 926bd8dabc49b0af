"""The calls of the system: Python's `os`, and on Windows what it lacks there, in the same words.

Whoever works below open directories, through no symbolic link, reads and writes at offsets, or locks, imports this
as `os`. On Linux it is `os`. On Windows `placement.bypath` stands for what is missing: a directory that is open is a
path there.
"""

import sys

if sys.platform == "win32":
    # One by one, as those of `bypath` have other arguments. isort would make a statement of each.
    from os import (  # noqa: I001
        O_APPEND as O_APPEND,
        O_CREAT as O_CREAT,
        O_EXCL as O_EXCL,
        O_RDONLY as O_RDONLY,
        O_RDWR as O_RDWR,
        O_TRUNC as O_TRUNC,
        O_WRONLY as O_WRONLY,
        W_OK as W_OK,
        X_OK as X_OK,
        PathLike as PathLike,
        access as access,
        dup as dup,
        dup2 as dup2,
        fdopen as fdopen,
        fsdecode as fsdecode,
        fsencode as fsencode,
        fspath as fspath,
        ftruncate as ftruncate,
        getpid as getpid,
        lseek as lseek,
        makedirs as makedirs,
        path as path,
        replace as replace,
        stat_result as stat_result,
        strerror as strerror,
        urandom as urandom,
        write as write,
    )

    from placement.bypath import *  # noqa: F403
else:
    import os
    from os import *  # noqa: F403
    from os import PathLike as PathLike

    # Whoever imports this gets `os` itself: no call is dearer, and what is put in the place of one is used everywhere.
    sys.modules[__name__] = os
