"""Programs that serve a library to others: DLNA servers that scan it, and Samba."""

import contextlib
import os
import re
import signal
import socket
import sqlite3
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from using import Place, digest, digests, run
from workloads import WrongResult

_PATIENCE = 180.0
_TICK = os.sysconf("SC_CLK_TCK")
# A server without work for so long has found all there is.
_IDLE = 2.0
_BIG = 192 << 20
# These servers want a network card that can multicast.
_NETWORK = "; ".join((
    "echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6",
    "ip link set lo up",
    "ip link add card type veth peer name end",
    "ip addr add 10.1.1.1/24 dev card",
    "ip link set end up",
    "ip link set card up",
    "ip route add default dev card",
))  # fmt: skip


@contextlib.contextmanager
def _served(command: Sequence[str | Path], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A server, in a network of its own that leads nowhere; ended as systemd would."""
    alone = ("unshare", "-n", "sh", "-c", f'{_NETWORK}; exec "$@"', "sh")
    with log.open("wb") as output:
        process = subprocess.Popen([*alone, *command], stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def minidlna(place: Place) -> Any:
    """A scan from nothing, and how many films are in its database."""
    work = place.work
    (work / "minidlna.conf").write_text(
        f"media_dir=V,{place.library}\ndb_dir={work}\nlog_dir={work}\ninotify=no\nport=8299\nfriendly_name=bench\n"
    )
    command = ("minidlnad", "-S", "-R", "-f", work / "minidlna.conf", "-P", work / "minidlna.pid")
    with _served(command, work / "out") as server:
        _until(lambda: "finished" in _text(work / "minidlna.log") + _text(work / "out"), server, work / "out")
    return _rows(
        work / "files.db", "select PATH, SIZE, DURATION, RESOLUTION, MIME from DETAILS where PATH like '%.___'", place
    )


def gerbera(place: Place) -> Any:
    """The same by gerbera, which ends a scan without saying so."""
    work = place.work
    config = Path("/etc/gerbera/config.xml").read_text()
    config = re.sub(r"<home>.*?</home>", f"<home>{work}</home>", config)
    (work / "config.xml").write_text(config)
    begun = time.monotonic()
    with _served(
        ("gerbera", "-c", work / "config.xml", "-e", "card", "-p", "49200", "-a", place.library), work / "out"
    ) as server:
        seconds, last = 0.0, (time.monotonic(), _cpu(server))
        while time.monotonic() - last[0] < _IDLE:
            time.sleep(0.05)
            if server.poll() is not None or time.monotonic() - begun > _PATIENCE:
                raise WrongResult(f"gerbera: {_text(work / 'out')[-2000:]}")
            if _cpu(server) != last[1]:
                last = (time.monotonic(), _cpu(server))
                seconds = last[0] - begun
    place.figures["scan, s"] = seconds
    return _rows(
        work / "gerbera.db", "select location, metadata from mt_cds_object where location like 'F%.___'", place
    )


def _cpu(process: subprocess.Popen[bytes]) -> int:
    with contextlib.suppress(OSError, IndexError):
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])
    return -1


def _rows(database: Path, query: str, place: Place) -> list[Any]:
    with contextlib.closing(sqlite3.connect(database)) as connection:
        rows = connection.execute(query).fetchall()
    return sorted([str(column).replace(str(place.root), "") for column in row] for row in rows)


def _text(path: Path) -> str:
    with contextlib.suppress(OSError):
        return path.read_text(errors="replace")
    return ""


def _until(holds: Any, server: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + _PATIENCE
    while not holds():
        if time.monotonic() > until or server.poll() is not None:
            raise WrongResult(f"{log}: {_text(log)[-2000:]}")
        time.sleep(0.02)


@contextlib.contextmanager
def _shared(place: Place) -> Iterator[tuple[str, ...]]:
    """The tree as a share of smbd, and how smbclient is called for it."""
    work = place.work
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    kinds = ("private", "lock", "state", "cache", "pid")
    folders = "".join(f"{name} directory = {work}\n" for name in kinds) + f"ncalrpc dir = {work}/ncalrpc\n"
    (work / "smb.conf").write_text(
        f"[global]\n{folders}smb ports = {port}\ninterfaces = lo\nbind interfaces only = yes\nmap to guest = bad user\n"
        f"log file = {work}/smbd.log\nload printers = no\ndisable spoolss = yes\nserver min protocol = SMB2\n"
        f"[tree]\npath = {place.root}\nguest ok = yes\nread only = no\nforce user = root\n"
    )
    server = subprocess.Popen(
        ["smbd", "-F", "--no-process-group", "-s", work / "smb.conf"], stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=(work / "smbd.err").open("wb"), start_new_session=True,
    )  # fmt: skip
    client = ("smbclient", "//127.0.0.1/tree", "-N", "-p", str(port), "-s", str(work / "smb.conf"), "-c")
    try:
        _until(lambda: not socket.socket().connect_ex(("127.0.0.1", port)), server, work / "smbd.err")
        yield client
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
        server.wait(20)


def samba(place: Place) -> Any:
    """All clips read, a folder and a big file written, renamed, linked to nothing, removed."""
    got, put = place.work / "got", place.work / "put"
    got.mkdir()
    put.mkdir()
    for clip in place.clips()[:6]:
        run("cp", clip, put)
    with (put / "big").open("wb") as big:
        for _ in range(_BIG >> 20):
            big.write(os.urandom(1 << 20))
    with _shared(place) as client:
        library = str(place.library.relative_to(place.root)).replace("/", "\\")
        run(*client, f"recurse; prompt; lcd {got}; cd {library}; mget *")
        for clip in place.clips()[:2]:
            # Players of a television ask for pieces.
            run(*client, f'allinfo "{library}\\{clip.parent.name}\\{clip.name}"')
        begun = time.monotonic()
        run(*client, f"mkdir shared; lcd {put}; cd shared; put big")
        place.figures["write, MB/s"] = _BIG / 1e6 / (time.monotonic() - begun)
        begun = time.monotonic()
        run(*client, f"cd shared; lcd {place.work}; get big")
        place.figures["read, MB/s"] = _BIG / 1e6 / (time.monotonic() - begun)
        same = digest(place.work / "big") == digest(put / "big") == digest(place.root / "shared/big")
        run(
            *client,
            f"recurse; prompt; lcd {put}; cd shared; mput *.*; rename big bigger; mkdir inner; rename inner outer",
        )
        listed = sorted(re.findall(r"^  (\S.*?)\s+[ADNHSR]+\s+\d+  ", run(*client, "cd shared; ls"), re.M))
        kept = digests(place.root / "shared")
        run(*client, "recurse; prompt; deltree shared")
    return digests(got), same, listed, sorted(kept), (place.root / "shared").exists()
