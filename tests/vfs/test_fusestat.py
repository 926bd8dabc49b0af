import os

from vfs import libfuse

os.environ.update(libfuse.environment())

import mfusepy
from hypothesis import given
from hypothesis import strategies as st

from vfs.attr import Attr
from vfs.fusestat import pack_stat

unsigned = st.integers(0, 2**32 - 1)
long = st.integers(0, 2**63 - 1)
time_ns = st.integers(-(2**62), 2**62)


@given(
    st.builds(
        Attr,
        long,
        unsigned,
        st.integers(0, 65000),
        unsigned,
        unsigned,
        long,
        long,
        long,
        time_ns,
        time_ns,
        time_ns,
    )
)
def test_every_member_arrives_in_the_c_structure(attr: Attr) -> None:
    stat = mfusepy.c_stat()
    pack_stat(stat, attr)
    plain = (
        stat.st_ino, stat.st_mode, stat.st_nlink, stat.st_uid, stat.st_gid, stat.st_rdev, stat.st_size, stat.st_blocks,
    )  # fmt: skip
    assert plain == attr[:8]
    times = [(spec.tv_sec * 10**9 + spec.tv_nsec) for spec in (stat.st_atimespec, stat.st_mtimespec, stat.st_ctimespec)]
    assert times == list(attr[8:])
    assert all(0 <= spec.tv_nsec < 10**9 for spec in (stat.st_atimespec, stat.st_mtimespec, stat.st_ctimespec))
