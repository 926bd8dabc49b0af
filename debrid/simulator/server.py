"""Listening sockets and HTTP/1.1 connections, one thread each, for both ports.

`http.server` parses the requests; a framework is not used because the faults reach below HTTP: resets in the
middle of a body, bodies that end too early, ports that refuse, and bodies handed to the kernel by sendfile.
"""

import contextlib
import selectors
import socket
import socketserver
import struct
import sys
import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler
from typing import cast

if sys.platform != "win32":
    import fcntl
    import termios

# SO_LINGER with a time of zero makes close() send RST; the structure holds two ints, on Windows two shorts.
_RESET = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
_BACKLOG = 512
_LARGEST_BODY = 64 << 20

Address = tuple[str, int]
Serve = Callable[[socket.socket, Address], None]


class Listener:
    """One port. Can be closed and opened again at the same number: a server that is gone for a while."""

    def __init__(self, host: str, port: int, serve: Serve) -> None:
        self._address = (host, port)
        self._serve = serve
        self._gate = threading.Lock()  # around open and close; taken before _lock
        self._lock = threading.Lock()
        self._connections: dict[threading.Thread, socket.socket] = {}
        self._accepting: threading.Thread | None = None
        self._wake: socket.socket | None = None

    @property
    def port(self) -> int:
        return self._address[1]

    def open(self) -> None:
        with self._gate:
            if self._accepting:
                return
            listening = socket.create_server(self._address, backlog=_BACKLOG)
            listening.setblocking(False)
            self._address = (self._address[0], listening.getsockname()[1])
            self._wake, wake = socket.socketpair()
            self._accepting = threading.Thread(target=self._accept, args=(listening, wake), daemon=True)
            self._accepting.start()

    def close(self) -> None:
        """Refuse from now on, and cut every connection."""
        with self._gate:
            if not self._accepting or not self._wake:
                return
            self._wake.close()
            self._accepting.join()
            self._accepting = self._wake = None
        self.cut()

    def cut(self) -> None:
        """Shut every open connection down; their threads end by themselves."""
        with self._lock:
            for connection in self._connections.values():
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def join(self) -> None:
        """Wait for the threads of all connections."""
        with self._lock:
            threads = [thread for thread in self._connections if thread is not threading.current_thread()]
        for thread in threads:
            thread.join()

    def _accept(self, listening: socket.socket, wake: socket.socket) -> None:
        with listening, wake, selectors.DefaultSelector() as selector:
            selector.register(listening, selectors.EVENT_READ)
            selector.register(wake, selectors.EVENT_READ)
            while not any(key.fileobj is wake for key, _ in selector.select()):
                with contextlib.suppress(OSError):
                    self._welcome(*listening.accept())

    def _welcome(self, connection: socket.socket, address: Address) -> None:
        connection.setblocking(True)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        thread = threading.Thread(target=self._attend, args=(connection, address), daemon=True)
        with self._lock:
            self._connections[thread] = connection
        thread.start()

    def _attend(self, connection: socket.socket, address: Address) -> None:
        try:
            with connection, contextlib.suppress(OSError):
                self._serve(connection, address)
        finally:
            with self._lock:
                del self._connections[threading.current_thread()]


class Exchange(BaseHTTPRequestHandler):
    """One connection with its requests in turn; subclasses answer in `respond`."""

    protocol_version = "HTTP/1.1"
    server_version = "nginx"
    wbufsize = 0

    def __init__(self, connection: socket.socket, address: Address) -> None:
        # The base class only hands `server` on; there is none here.
        super().__init__(connection, address, cast(socketserver.BaseServer, None))

    def respond(self) -> None:
        """Answer the request that has just been parsed."""
        raise NotImplementedError

    def do_GET(self) -> None:
        self.respond()

    do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_GET

    def version_string(self) -> str:
        return self.server_version

    def log_message(self, format: str, *args: object) -> None:
        """Silent: the journal has it all."""

    @property
    def ip(self) -> str:
        return str(self.client_address[0])

    def read_body(self) -> bytes | None:
        """The body of the request; None if it cannot be read by its length."""
        text = self.headers.get("Content-Length", "0")
        chunked = "chunked" in self.headers.get("Transfer-Encoding", "").lower()
        if chunked or not text.isdecimal() or int(text) > _LARGEST_BODY:
            self.close_connection = True
            return None
        return self.rfile.read(int(text))

    def send(self, status: int, headers: Mapping[str, str], body: bytes = b"") -> None:
        """Status, headers and body in one piece. The body of an answer to HEAD is left out."""
        self.head(status, headers, len(body))
        if self.command != "HEAD":
            self.wfile.write(body)

    def head(self, status: int, headers: Mapping[str, str], length: int) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status not in (204, 304):
            self.send_header("Content-Length", str(length))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()

    def reset(self) -> None:
        """End the connection with RST, after what was sent has arrived."""
        drain(self.connection)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.close_connection = True


def drain(connection: socket.socket, seconds: float = 2.0) -> None:
    """Wait until the other side has acknowledged everything; RST would throw the rest away."""
    end = time.monotonic() + seconds
    while _unacknowledged(connection) and time.monotonic() < end:
        time.sleep(0.001)


def _unacknowledged(connection: socket.socket) -> int:
    if sys.platform != "linux":
        time.sleep(0.05)
        return 0
    answer = fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4))
    return int.from_bytes(answer, sys.byteorder)
