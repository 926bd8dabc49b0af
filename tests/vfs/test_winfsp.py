"""The Windows adapter, called as WinFsp calls it: winfspy's own sources over the stand-in of `winfsping`."""

import errno
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import winfsping
from bypathing import work_by_path
from uniting import ROOT, Pool
from winfsping import DELETE, FOLDER, NO_FOLDER, NT, READ, WRITE, Driver, ffi

from vfs import winmount, winstatus
from vfs.about import About
from vfs.filesystem import FileSystem
from vfs.mountpoint import MountError
from vfs.planting import Owner
from vfs.publish import Publisher
from vfs.remote import RemoteBranch
from vfs.winmount import Options

NOT_FOUND, COLLISION, DENIED = 0xC0000034, 0xC0000035, 0xC0000022
NOT_EMPTY, NO_DIRECTORY, IS_DIRECTORY, PROTECTED = 0xC0000101, 0xC0000103, 0xC00000BA, 0xC00000A2
RIGHTS = "O:BAG:BAD:P(A;;FA;;;SY)(A;;FA;;;BA)(A;;FA;;;WD)"


OPTIONS = Options(ROOT, 0o022, 1.0, allow_other=True)


# What they put on the drives no drive of Windows takes.
linux_disks = pytest.mark.skipif(
    sys.platform == "win32", reason="Windows forbids these names, modes or links on a disk"
)


class Windows:
    """A pool of three drives as a volume of Windows."""

    def __init__(self, base: Path) -> None:
        from vfs.winfsp import Session

        self.pool = Pool(base)
        self.filesystem = FileSystem(self.pool.union, About(self.pool.union.lookup, lambda path: ""))
        self.mountpoint = base / "mounted"
        self.session = Session(self.filesystem, str(self.mountpoint), OPTIONS, RIGHTS)
        self.session.start()
        self.driver = Driver(self.session._file_system_ptr[0])

    @property
    def volume(self) -> winfsping.Volume:
        return winfsping.volumes[self.session._file_system_ptr[0]]

    def disk(self, path: str, drive: str = "a") -> Path:
        return self.pool.paths["abc".index(drive)] / path

    def publish(self, name: str) -> str:
        """A remote file of 5 bytes that nobody can read; its folder in the tree."""
        remote = self.pool.union.lookup.branches[-1]
        assert isinstance(remote, RemoteBranch)
        file = ((name,), ("torrent", "c" * 40, "1"), 5, 1_000)
        publisher = Publisher(self.pool.union, remote, Owner(0, 0, 0o022))
        return publisher.publish("rd:A", "films", "Film", [file])  # type: ignore[list-item, return-value]

    def close(self) -> None:
        self.session.stop()
        self.filesystem.close()
        self.pool.close()


@pytest.fixture
def windows(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Windows]:
    """A volume over drives that are worked on by path, as they are on Windows."""
    winfsping.install(tmp_path_factory.mktemp("winfsp"))
    work_by_path(monkeypatch)
    windows = Windows(tmp_path)
    yield windows
    assert not windows.session.operations._opened_objs and not windows.session.operations._open
    assert not windows.filesystem.open_count, "each handle was released"
    windows.close()
    assert not windows.mountpoint.exists()


def refused(status: int, call: Any, *arguments: Any, **options: Any) -> None:
    with pytest.raises(NT) as caught:
        call(*arguments, **options)
    assert f"{caught.value.status:#x}" == f"{status:#x}"


def test_the_volume_is_as_winfspy_needs_it(windows: Windows) -> None:
    volume = windows.volume
    assert volume.threads is not None and volume.threads >= 32
    assert volume.threads > 192, "so many remote reads may wait"
    wanted = {"case_sensitive_search": 1, "case_preserved_names": 1, "um_file_context_is_user_context2": 1}
    wanted |= {"hard_links": 0, "reparse_points": 0, "named_streams": 0, "persistent_acls": 1, "name": "NTFS"}
    wanted |= {"file_info_timeout": 1000, "max_component_length": 255}
    assert {key: volume.params[key] for key in wanted} == wanted
    room, space = windows.driver.volume(), windows.filesystem.space()
    assert (room.TotalSize, ffi.string(room.VolumeLabel)) == (space.total, "mediapool")
    assert room.VolumeLabelLength == 2 * len("mediapool")
    assert abs(room.FreeSize - space.available) < 1 << 30
    assert ffi.sizeof("FSP_FSCTL_FILE_INFO") == 72 and ffi.sizeof("FSP_FSCTL_DIR_INFO") == 104
    refused(0xC00000BB, windows.driver._call, "SetVolumeLabel", winfsping._text("x"), room)


def test_a_read_ends_where_the_file_ends(windows: Windows) -> None:
    windows.pool.write("b", "film.mkv", "0123456789")
    with windows.driver.open(r"\film.mkv") as file:
        assert file.info.FileSize == 10 and file.info.AllocationSize == 4096
        assert file.read(0, 10) == b"0123456789" and file.read(3, 4) == b"3456"
        assert file.read(8, 100) == b"89", "fewer, and nothing is written behind them"
        refused(0xC0000011, file.read, 10, 1)
        refused(0xC0000011, file.read, 1 << 40, 4096)
        assert file.read(2, 0) == b""


def test_what_fails_to_be_read_says_why(windows: Windows) -> None:
    path = "\\" + windows.publish("film.mkv").replace("/", "\\") + r"\film.mkv"
    with windows.driver.open(path) as file:
        assert file.info.FileSize == 5
        refused(0xC0000185, file.read, 0, 5)
    refused(PROTECTED, windows.driver.open, path, READ | WRITE)
    windows.driver.put(path.replace(".mkv", ".srt"), b"1\n")
    assert windows.disk("films/Film/film.srt").read_bytes() == b"1\n", "beside it there is a drive"
    windows.driver.rename(path, r"\films\other.mkv")
    windows.driver.delete(r"\films\other.mkv")
    assert windows.driver.list(r"\films\Film") == [".", "..", "film.srt"]


def test_writing_in_each_way(windows: Windows) -> None:
    with windows.driver.create(r"\new.txt") as file:
        assert file.write(b"hello world", 0) == 11 and file.info.FileSize == 11
        assert file.write(b"!", 999, at_the_end=True) == 1 and file.info.FileSize == 12
        assert file.write(b"XXXX", 10, constrained=True) == 2 and file.info.FileSize == 12, "paging never grows a file"
        assert file.write(b"XXXX", 50, constrained=True) == 0
        file.call("Flush")
        file.call("SetFileSize", 1 << 20, True)
        assert file.info.FileSize == 12, "more room is only a wish"
        file.call("SetFileSize", 20, False)
        assert file.read(0, 100) == b"hello worlXX" + bytes(8)
        file.call("SetFileSize", 5, True)
        assert file.info.FileSize == 5
    assert windows.disk("new.txt").read_bytes() == b"hello"
    with windows.driver.open(r"\new.txt", READ) as reading, windows.driver.open(r"\new.txt", WRITE) as writing:
        assert reading.read(0, 9) == b"hello"
        writing.call("Overwrite", 0x20, True, 0)
        assert writing.info.FileSize == 0
        writing.write(b"again", 0)
        assert reading.read(0, 9) == b"again"
        reading.write(b"A", 0)
        assert reading.read(0, 9) == b"Again", "the first handle for reading alone was still good"
    windows.driver.flush()
    with windows.driver.open(r"\new.txt", 0x80) as looked:
        looked.call("Flush")
        assert windows.filesystem.open_count == 0, "who only looks at it opens nothing"


def test_a_read_under_way_goes_on_when_the_same_file_is_written_to(
    windows: Windows, monkeypatch: pytest.MonkeyPatch
) -> None:
    windows.pool.write("a", "f", "0123456789")
    reading, go, real = threading.Event(), threading.Event(), windows.filesystem.read
    found: list[object] = []

    def slow(fh: int, buffer: memoryview, offset: int) -> int:
        reading.set()
        assert go.wait(20)
        return real(fh, buffer, offset)

    def read() -> None:
        try:
            found.append(file.read(0, 10))
        except NT as refusal:
            found.append(refusal)

    monkeypatch.setattr(windows.filesystem, "read", slow)
    with windows.driver.open(r"\f", READ) as file:
        thread = threading.Thread(target=read)
        thread.start()
        assert reading.wait(20)
        file.write(b"ab", 0)
        go.set()
        thread.join(20)
    assert found == [b"ab23456789"]


@linux_disks
def test_create_and_open_are_told_apart(windows: Windows) -> None:
    driver = windows.driver
    driver.create(r"\Folder", FOLDER).close()
    driver.put(r"\Folder\file", b"x")
    refused(COLLISION, driver.create, r"\Folder\FILE")
    refused(COLLISION, driver.create, r"\folder", FOLDER)
    refused(COLLISION, driver.create, "\\", FOLDER)
    refused(NOT_FOUND, driver.create, r"\nowhere\file")
    refused(NO_DIRECTORY, driver.create, r"\Folder\file\below")
    refused(NOT_FOUND, driver.open, r"\Folder\other")
    refused(NO_DIRECTORY, driver.open, r"\Folder\file", options=FOLDER)
    refused(IS_DIRECTORY, driver.open, r"\Folder", options=NO_FOLDER)
    refused(0xC0000106, driver.create, "\\" + "ä" * 200)
    refused(0xC0000033, driver.create, "\\\ud83d")
    refused(0xC0000033, driver.create, "\\trailing\uf041")
    refused(DENIED, driver.create, r"\.mediapool", FOLDER)
    assert driver.attributes(r"\Folder") == 0x10 and driver.attributes(r"\Folder\file") == 0x20
    assert driver.list("\\") == ["Folder"] and driver.list(r"\Folder") == [".", "..", "file"]
    assert (windows.disk("Folder/file").stat().st_mode, windows.disk("Folder").stat().st_mode) == (0o100644, 0o40755)


def test_ten_thousand_names_are_listed_in_pages(windows: Windows) -> None:
    names = [f"{'wörld' if number % 3 else 'File'} {number:05}.mkv" for number in range(10_000)]
    for number, name in enumerate(names):
        windows.pool.write("abc"[number % 3], f"many/{name}", "x" * (number % 7))
    with windows.driver.open(r"\many", options=FOLDER) as folder:
        listed = folder.entries(room=16_384)
        assert [name for name, _ in listed] == [".", "..", *sorted(names)]
        sizes = {name: info.FileSize for name, info in listed if not info.FileAttributes & 0x10}
        assert sizes == {name: number % 7 or 1 for number, name in enumerate(names)}


def test_a_listing_goes_on_behind_a_name_that_is_gone(windows: Windows) -> None:
    for number in range(300):
        windows.pool.write("abc"[number % 3], f"some/{number:03}")
    with windows.driver.open(r"\some", options=FOLDER) as folder:
        names = [name for name, _ in folder.entries(room=400)]
        assert names == [".", "..", *(f"{number:03}" for number in range(300))], "few to a page"
        windows.disk("some/150").unlink()
        buffer, count = ffi.new("char[]", 4096), ffi.new("ULONG *")
        gone = winfsping._text("150")
        windows.driver._call("ReadDirectory", folder.context, ffi.NULL, gone, buffer, 4096, count)
        first = ffi.cast("FSP_FSCTL_DIR_INFO *", buffer)
        assert bytes(ffi.buffer(first.FileNameBuf, 6)).decode("utf-16-le") == "151"
    assert "150" not in windows.driver.list(r"\some")


def test_a_file_goes_when_the_last_handle_is_closed(windows: Windows) -> None:
    driver = windows.driver
    driver.put(r"\one", b"1")
    with driver.open(r"\one", READ | DELETE) as file:
        driver._call("CanDelete", file.context, winfsping._text(r"\one"))
        assert file.read(0, 1) == b"1" and windows.disk("one").exists()
        file.deletes = True
    assert not windows.disk("one").exists()
    refused(NOT_FOUND, driver.open, r"\one")


def test_a_folder_goes_only_when_it_is_empty(windows: Windows) -> None:
    driver = windows.driver
    windows.pool.write("a", "f/on a")
    windows.pool.write("b", "f/on b")
    refused(NOT_EMPTY, driver.delete, r"\f")
    driver.delete(r"\f", ask=False)
    assert windows.pool.everywhere("f") == "ab", "FILE_DELETE_ON_CLOSE does not ask before"
    driver.delete(r"\f\on a")
    refused(NOT_EMPTY, driver.delete, r"\f")
    driver.delete(r"\f\ON B")
    driver.delete(r"\F")
    assert windows.pool.everywhere("f") == ""
    refused(DENIED, driver.delete, "\\")


def test_rename_replaces_only_when_asked(windows: Windows) -> None:
    driver = windows.driver
    windows.pool.write("a", "new.mkv.partial~", "new")
    windows.pool.write("b", "old.mkv", "old")
    windows.pool.write("c", "folder/kept")
    refused(COLLISION, driver.rename, r"\new.mkv.partial~", r"\old.mkv")
    refused(COLLISION, driver.rename, r"\new.mkv.partial~", r"\OLD.mkv")
    refused(DENIED, driver.rename, r"\new.mkv.partial~", r"\folder", replace=True)
    refused(NOT_FOUND, driver.rename, r"\new.mkv.partial~", r"\nowhere\x")
    assert windows.pool.read("old.mkv") == "old"
    driver.rename(r"\new.mkv.partial~", r"\Old.mkv", replace=True)
    assert driver.list("\\") == ["Old.mkv", "folder"] and driver.get(r"\old.mkv") == b"new"
    driver.rename(r"\folder", r"\Season 1")
    assert driver.list(r"\season 1") == [".", "..", "kept"]


def test_case_only_renames_and_what_is_open_meanwhile(windows: Windows) -> None:
    driver = windows.driver
    windows.pool.write("a", "show/e1.mkv", "x")
    with driver.open(r"\show\e1.mkv", READ | WRITE) as file, driver.open(r"\show\e1.mkv", 0x80) as looking:
        driver.rename(r"\show\e1.mkv", r"\show\E1.MKV")
        driver.rename(r"\show", r"\Show")
        assert driver.list("\\") == ["Show"] and driver.list(r"\sHOW") == [".", "..", "E1.MKV"]
        file.write(b"yy", 0)
        assert looking.call("GetFileInfo").FileSize == 2
        file.path = r"\Show\E1.MKV"
        file.deletes = True
    assert not (windows.disk("Show/E1.MKV")).exists() and driver.list(r"\Show") == [".", ".."]


@linux_disks
def test_of_names_that_differ_in_case_the_same_one_is_meant_each_time(windows: Windows) -> None:
    for name in ("readme", "README", "ReadMe"):
        windows.pool.write("a", name, name)
    driver = windows.driver
    assert driver.list("\\") == ["README", "ReadMe", "readme"]
    assert [driver.get("\\" + name) for name in ("readme", "README", "ReadMe")] == [b"readme", b"README", b"ReadMe"]
    assert driver.get(r"\readMe") == b"README", "the first in the order of the alphabet"
    driver.delete(r"\readMe")
    assert driver.list("\\") == ["ReadMe", "readme"] and driver.get(r"\readMe") == b"ReadMe"


@linux_disks
def test_names_that_windows_forbids_are_shown_otherwise(windows: Windows) -> None:
    names = ["a:b?.mkv", "CON", "nul.txt", "dot.", "blank ", 'q"<>|*\\', "\udcffbyte", "\uf03a", "com1.log", "tab\t"]
    for name in names:
        windows.pool.write("a", f"f/{name}", name.encode(errors="replace").decode())
    driver = windows.driver
    listed = driver.list(r"\f")[2:]
    assert len(listed) == len(names)
    assert not any(set(name) & set('<>:"|?*\\\t') or name.endswith((".", " ")) for name in listed)
    assert not {name.partition(".")[0].upper() for name in listed} & {"CON", "NUL", "COM1"}
    assert {driver.get("\\f\\" + name) for name in listed} == {name.encode(errors="replace") for name in names}
    driver.rename(r"\f" + "\\a\uf03ab\uf03f.mkv", r"\f" + "\\c\uf03ad.mkv")
    assert windows.disk("f/c:d.mkv").exists()
    for name in driver.list(r"\f")[2:]:
        driver.delete("\\f\\" + name)
    assert os.listdir(windows.disk("f")) == []


@linux_disks
def test_symbolic_links_lead_on_inside_the_tree(windows: Windows) -> None:
    windows.pool.write("a", "real/film.mkv", "film")
    for link, target in {
        "film": "real/film.mkv",
        "dir": "real",
        "real/up": "..",
        "out": "../../etc",
        "loop": "loop",
    }.items():
        windows.disk(link).symlink_to(target)
    windows.disk("abs").symlink_to("/etc/passwd")
    driver = windows.driver
    assert driver.get(r"\film") == b"film" and driver.get(r"\DIR\film.mkv") == b"film"
    assert driver.get(r"\dir\up\dir\film.mkv") == b"film"
    assert driver.attributes(r"\dir") == 0x10 and driver.info(r"\film").FileSize == 4
    for leading_nowhere in ("abs", "out", "loop"):
        assert driver.attributes("\\" + leading_nowhere) == 0x20
        with driver.open("\\" + leading_nowhere, 0x80) as file, pytest.raises(NT):
            file.read(0, 1)
    # Windows takes a link for a folder, and would empty it before it removes it.
    refused(DENIED, driver.delete, r"\dir\film.mkv")
    driver.delete(r"\dir\film.mkv", ask=False)
    assert windows.disk("real/film.mkv").exists()
    for link in ("film", "dir", "out", "loop", "abs"):
        driver.delete("\\" + link)
    assert sorted(os.listdir(windows.disk(""))) == [".mediapool", "real"] and windows.disk("real/film.mkv").exists()


@linux_disks
def test_attributes_and_times(windows: Windows) -> None:
    driver = windows.driver
    driver.put(r"\f", b"x")
    driver.create(r"\r", attributes=1).close()
    assert driver.attributes(r"\r") == 0x21
    os.utime(windows.disk("f"), ns=(1_000_000_000, 1_700_000_000_123_456_700))
    info = driver.info(r"\f")
    assert info.LastWriteTime == 1_700_000_000_123_456_700 // 100 + 116_444_736_000_000_000
    assert info.LastAccessTime == 10_000_000 + 116_444_736_000_000_000
    assert info.CreationTime == info.LastWriteTime and info.IndexNumber == windows.filesystem.stat("f").ino
    with driver.open(r"\f", 0x100) as file:
        file.call("SetBasicInfo", 0x21, 0, 0, info.LastWriteTime + 10, 0)
        assert windows.disk("f").stat().st_mode & 0o777 == 0o444 and file.info.FileAttributes == 0x21
        assert windows.disk("f").stat().st_mtime_ns == 1_700_000_000_123_457_700
        assert windows.disk("f").stat().st_atime_ns == 1_000_000_000
        file.call("SetBasicInfo", 0xFFFFFFFF, 0, 0, 0, (1 << 64) - 1)
        assert windows.disk("f").stat().st_mode & 0o777 == 0o444
        file.call("SetBasicInfo", 0, 0, 0, 0, 0)
        assert windows.disk("f").stat().st_mode & 0o777 == 0o644
        driver._call("SetSecurity", file.context, 4, ffi.NULL)
        size, rights = ffi.new("SIZE_T *", 64), ffi.new("SECURITY_DESCRIPTOR *")
        driver._call("GetSecurity", file.context, rights, size)
        assert bytes(ffi.buffer(rights)).startswith(RIGHTS.encode()) and size[0] == 64


def test_a_drive_that_is_gone_is_an_error_and_not_an_empty_folder(windows: Windows) -> None:
    windows.pool.write("b", "f/only on b")
    windows.disk("", "b").rename(windows.disk("", "b").parent / "pulled")
    windows.pool.drives[1].check()
    refused(0xC0000185, windows.driver.list, r"\f")
    refused(0xC0000185, windows.driver.open, r"\f\only on b")
    refused(0xC0000185, windows.driver.create, r"\f\new")


def test_many_files_at_once(windows: Windows) -> None:
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for turn in range(20):
                path = f"\\{number}-{turn}"
                windows.driver.put(path, path.encode() * 100)
                assert windows.driver.get(path) == path.encode() * 100
                windows.driver.rename(path, path + ".done")
                windows.driver.delete(path + ".done")
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures and windows.driver.list("\\") == []


def test_no_exception_but_a_status_reaches_winfspy(
    windows: Windows, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(windows.filesystem, "stat", lambda path: 1 / 0)
    refused(0xC0000185, windows.driver.attributes, r"\f")
    assert "which is a bug in mediapool" in caplog.text and "ZeroDivisionError" in caplog.text


def test_it_is_served_until_it_is_told_to_end(windows: Windows, tmp_path: Path) -> None:
    options = Options(ROOT, 0o022, 1.0, allow_other=True)
    started, before = threading.Event(), set(winfsping.volumes)
    filesystem = FileSystem(windows.pool.union, About(windows.pool.union.lookup, lambda path: ""))
    served = threading.Thread(target=winmount.run, args=(filesystem, tmp_path / "other", options, started.set))
    served.start()
    assert started.wait(20)
    (pointer,) = set(winfsping.volumes) - before
    driver = Driver(pointer)
    driver.put(r"\seen", b"in both")
    assert windows.driver.get(r"\seen") == b"in both"
    driver.open(r"\seen", READ)
    assert "Windows knows no such thing" in filesystem.passthrough.refusal and filesystem.open_count == 1
    options.ending.set()
    served.join(20)
    assert not served.is_alive() and not (tmp_path / "other").exists() and pointer not in winfsping.volumes
    assert filesystem.open_count == 0, "what was open is closed"


def test_ctrl_c_ends_it(windows: Windows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(ending: threading.Event, seconds: float) -> bool:
        raise KeyboardInterrupt

    options = Options(ROOT, 0o022, 1.0, allow_other=True)
    monkeypatch.setattr(threading.Event, "wait", interrupted)
    monkeypatch.setattr(threading.Thread, "start", lambda thread: None)
    filesystem = FileSystem(windows.pool.union, About(windows.pool.union.lookup, lambda path: ""))
    winmount.run(filesystem, tmp_path / "other", options, lambda: None)
    assert not (tmp_path / "other").exists()


def test_without_winfsp_it_says_what_to_install(
    windows: Windows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "vfs.winfsp", None)
    with pytest.raises(MountError, match=r"https://winfsp\.dev/rel/"):
        winmount.run(windows.filesystem, tmp_path / "other", OPTIONS, lambda: None)


def test_a_mount_that_fails_leaves_nothing(windows: Windows, tmp_path: Path) -> None:
    from vfs.winfsp import Refused, Session

    before = len(winfsping.volumes)
    winfsping.refuse_mount[0] = 0xC0000035
    try:
        session = Session(windows.filesystem, str(tmp_path / "other"), OPTIONS, RIGHTS)
        with pytest.raises(Refused, match="0xc0000035"):
            session.start()
        with pytest.raises(MountError, match="could not mount at"):
            winmount.run(windows.filesystem, tmp_path / "other", OPTIONS, lambda: None)
    finally:
        winfsping.refuse_mount[0] = 0
    assert len(winfsping.volumes) == before and not session.started


def test_each_error_has_a_status_that_is_one() -> None:
    assert all(winstatus.status_of(OSError(code, "")) >> 30 == 3 for code in errno.errorcode)


def test_the_statuses_are_those_of_winfspy(windows: Windows) -> None:
    from winfspy.plumbing import NTSTATUS

    known = {name.removeprefix("STATUS_"): int(number) for name, number in NTSTATUS.__members__.items()}
    for name in ("OBJECT_NAME_NOT_FOUND", "OBJECT_NAME_COLLISION", "ACCESS_DENIED", "END_OF_FILE", "NOT_SUPPORTED"):
        assert known[name] == getattr(winstatus, name)
    named = {
        errno.EROFS: "MEDIA_WRITE_PROTECTED", errno.ENOSPC: "DISK_FULL", errno.ENOTEMPTY: "DIRECTORY_NOT_EMPTY",
        errno.EDQUOT: "QUOTA_EXCEEDED", errno.ENAMETOOLONG: "NAME_TOO_LONG", errno.EBUSY: "SHARING_VIOLATION",
        errno.EISDIR: "FILE_IS_A_DIRECTORY", errno.ENOTDIR: "NOT_A_DIRECTORY", errno.ETIMEDOUT: "IO_TIMEOUT",
        errno.EFBIG: "FILE_TOO_LARGE", errno.EXDEV: "NOT_SAME_DEVICE", errno.EIO: "IO_DEVICE_ERROR",
        errno.ELOOP: "REPARSE_POINT_NOT_RESOLVED", errno.EILSEQ: "OBJECT_NAME_INVALID",
        errno.EINVAL: "INVALID_PARAMETER",
        errno.ESTALE: "DELETE_PENDING", errno.EMLINK: "TOO_MANY_LINKS", errno.EBADF: "INVALID_HANDLE",
    }  # fmt: skip
    for code, name in named.items():
        assert winstatus.status_of(OSError(code, "")) == known[name], name
