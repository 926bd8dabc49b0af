"""The journal of runs that move files: one file per run, only appended to, by which a run can be undone.

`s1.jsonl`, `i1.jsonl`... in the folder of runs, each line a JSON object in ASCII; the bytes of names as %XX, since not
every JSON reader takes what is no UTF-8. The first line is the head. An intended move is on stable storage before
anything is touched; what became of it is asked of the disk and not believed of the journal, so no kill and no power
cut makes the two differ. While a run goes on its file is locked,
and so is the folder: two runs at once could each leave to the other the copy that has to stay.
"""

import fcntl
import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self
from urllib.parse import quote, unquote_to_bytes

FORMAT = 1
_READABLE = "/ !'()+,;=@[]{}&$#"
_ID = re.compile(r"[si][1-9]\d*")

Kind = Literal["sort", "ingest"]


class RunError(Exception):
    """A run cannot be used; the message names it, the cause and the remedy."""


class Moving(NamedTuple):
    """One move of a run: where from and to, and the file: device, inode, bytes, mtime (ns), xxh3-128.

    `temporary`: the name of the copy while it is made, for a move between filesystems, else None.
    """

    number: int
    source: bytes
    target: bytes
    dev: int
    ino: int
    size: int
    mtime_ns: int
    hash: bytes
    temporary: bytes | None = None


class RunInfo(NamedTuple):
    """A run: its id, when it began (seconds since 1970), the folder it moved to, and how many moves.

    `intended`: all that were begun; `undone` of them. `running`: it goes on now.
    """

    id: str
    kind: Kind
    began: float
    to: bytes
    intended: int
    undone: int
    running: bool


class Run:
    """An open journal, locked. To be used in a `with`."""

    def __init__(self, file: Path, fd: int, lock: int, word: str = "move") -> None:
        """For `begin` and `again`; `lock`: the folder, held; `word`: before the moves that are written down now."""
        self._word = word
        self._lock = lock
        self.id = file.stem
        self._file = file
        self._fd = fd
        self._number = 0

    @classmethod
    def begin(cls, folder: Path, kind: Kind, to: bytes) -> Self:
        """A new run. RunError while another goes on; OSError."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = _locked(folder)
        try:
            return cls._begin(folder, kind, to, lock)
        except BaseException:
            os.close(lock)
            raise

    @classmethod
    def _begin(cls, folder: Path, kind: Kind, to: bytes, lock: int) -> Self:
        letter = kind[0]
        number = 1 + max((int(one.stem[1:]) for one in _files(folder) if one.stem[0] == letter), default=0)
        while True:
            file = folder / f"{letter}{number}.jsonl"
            try:
                fd = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o600)
                break
            except FileExistsError:
                number += 1
        fcntl.flock(fd, fcntl.LOCK_EX)
        run = cls(file, fd, lock)
        run._write({"mediapool run": FORMAT, "kind": kind, "began": time.time(), "to": _text(to)}, sync=True)
        _sync_folder(folder)
        return run

    @classmethod
    def again(cls, folder: Path, ident: str) -> Self:
        """The run `ident`, to undo it. RunError where there is none or it goes on; OSError."""
        file = _file(folder, ident)
        lock = _locked(folder)
        fd = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            # A move that undoes another is no move of the run, or undoing again would undo the undoing.
            run = cls(file, fd, lock, "back")
            run._number = max((line.get("move") or line.get("back") or 0 for line in _lines(file)), default=0)
        except BaseException:
            os.close(fd)
            os.close(lock)
            raise
        # A line that a power cut left half written ends here.
        os.write(fd, b"\n")
        return run

    def intend(self, moving: Moving) -> Moving:
        """Write down a move before anything is touched, durably; the same with its number."""
        self._number += 1
        moving = moving._replace(number=self._number)
        self._write({self._word: moving.number, **_as_json(moving)}, sync=True)
        return moving

    def given_up(self, number: int) -> None:
        """The move did not take place."""
        self._write({"given up": number})

    def undone(self, number: int) -> None:
        """The move was undone."""
        self._write({"undone": number})

    def moves(self, *, undone: bool = True) -> list[Moving]:
        """All moves that were not given up, in their order; without those undone, if so asked. RunError."""
        moves: dict[int, Moving] = {}
        for line in _lines(self._file)[1:]:
            if "move" in line:
                moves[line["move"]] = _from_json(line, "move")
            moves.pop(line.get("given up", 0), None)
            if not undone:
                moves.pop(line.get("undone", 0), None)
        return list(moves.values())

    def copies(self) -> list[Moving]:
        """Every move between filesystems, there or back, that was begun: its temporary name may be left over."""
        both = [_from_json(line, word) for line in _lines(self._file) for word in ("move", "back") if word in line]
        return [moving for moving in both if moving.temporary is not None]

    def close(self) -> None:
        """Let go of it."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
            os.close(self._lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self, line: dict[str, Any], sync: bool = False) -> None:
        os.write(self._fd, json.dumps(line).encode() + b"\n")
        if sync:
            os.fdatasync(self._fd)


def list_runs(folder: Path) -> list[RunInfo]:
    """All runs, oldest first. RunError where a journal cannot be read."""
    return sorted(_infos(folder), key=lambda info: (info.began, info.id))


def _infos(folder: Path) -> Iterator[RunInfo]:
    for file in _files(folder):
        lines = _lines(file)
        head = lines[0]
        moves = {line["move"] for line in lines if "move" in line}
        moves -= {line["given up"] for line in lines if "given up" in line}
        undone = {line["undone"] for line in lines if "undone" in line}
        yield RunInfo(
            file.stem, head["kind"], head["began"], _bytes(head["to"]), len(moves), len(moves & undone), _runs(file)
        )


def under_way(folder: Path) -> list[str]:
    """The ids of the runs that go on now, without a look into their journals."""
    return sorted(file.stem for file in _files(folder) if _runs(file))


def _runs(file: Path) -> bool:
    fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def _files(folder: Path) -> list[Path]:
    return [file for file in folder.glob("*.jsonl") if _ID.fullmatch(file.stem)]


def _file(folder: Path, ident: str) -> Path:
    file = folder / f"{ident}.jsonl"
    if not _ID.fullmatch(ident) or not file.exists():
        raise RunError(f"There is no run {ident!r}. mediapool jobs list shows all.")
    return file


def _lines(file: Path) -> list[dict[str, Any]]:
    """The whole lines of a journal, the head first. RunError for anything else."""
    lines = []
    for text in file.read_bytes().split(b"\n"):
        try:
            line = json.loads(text)
        except ValueError:
            # Half a line: what it would have said never began.
            continue
        if isinstance(line, dict):
            lines.append(line)
    if not lines or lines[0].get("mediapool run") != FORMAT:
        raise RunError(f"{file} is no journal of a run that this version reads. Move it aside.")
    return lines


def _as_json(moving: Moving) -> dict[str, Any]:
    return {
        "from": _text(moving.source),
        "to": _text(moving.target),
        "dev": moving.dev,
        "ino": moving.ino,
        "size": moving.size,
        "mtime_ns": moving.mtime_ns,
        "hash": moving.hash.hex(),
        "temporary": None if moving.temporary is None else _text(moving.temporary),
    }


def _from_json(line: dict[str, Any], word: str) -> Moving:
    temporary = line["temporary"]
    return Moving(
        line[word], _bytes(line["from"]), _bytes(line["to"]), line["dev"], line["ino"], line["size"],
        line["mtime_ns"], bytes.fromhex(line["hash"]), None if temporary is None else _bytes(temporary),
    )  # fmt: skip


def _text(path: bytes) -> str:
    return quote(path, safe=_READABLE)


def _bytes(text: str) -> bytes:
    return unquote_to_bytes(text)


def _locked(folder: Path) -> int:
    """A descriptor that holds the folder of runs until it is closed. RunError while somebody else does; OSError."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        remedy = "Wait until it has ended, or end it with Ctrl-C."
        raise RunError(f"A sort, an ingest or an undo goes on now. {remedy}") from None
    return fd


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
