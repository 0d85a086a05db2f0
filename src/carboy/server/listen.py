"""The one listening socket that all workers share.

Made here once, in the main process, without SO_REUSEPORT: a second server on the port is refused by the kernel, a
wedged worker keeps no private share of the connections, and a reload resets none that wait in the queue.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import struct
import sys
from dataclasses import dataclass

from ..gateways import sockets
from ..gateways.sockets import inode, remove_own_path
from .errors import BindError
from .options import Options

# Source: Linux, include/uapi/asm-generic/socket.h.
SO_ATTACH_FILTER = 26
# Classic BPF over the TCP header: drop what has SYN without ACK, pass the rest.
_NO_NEW_HANDSHAKES = (
    (0x30, 0, 0, 13),  # load the flags byte
    (0x54, 0, 0, 0x12),  # keep SYN and ACK
    (0x15, 0, 1, 0x02),  # SYN alone?
    (0x06, 0, 0, 0),  # drop
    (0x06, 0, 0, 0xFFFF),  # pass
)


@dataclass(slots=True)
class Listener:
    """A bound, listening socket and how to speak of it."""

    socket: socket.socket
    url: str
    #: Path to remove at the end; None for TCP and for sockets that systemd keeps.
    path: str | None = None
    #: Device and inode of that path when we made it.
    owned: tuple[int, int] | None = None
    #: The socket outlives us (socket activation): never switch it off for the next one.
    borrowed: bool = False

    @property
    def is_unix(self) -> bool:
        return self.socket.family == socket.AF_UNIX

    def waiting(self) -> int:
        """Connections that the kernel has taken but no worker has; 0 where it cannot be known."""
        return queue_length(self.socket)

    def refuse_new(self) -> None:
        """Take no new connections, while those in the queue can still be accepted."""
        if self.path is not None:
            remove_own_path(self.path, self.owned)
        elif not self.borrowed and not self.is_unix and sys.platform == "linux":
            program = b"".join(struct.pack("HBBI", *line) for line in _NO_NEW_HANDSHAKES)
            buffer = ctypes.create_string_buffer(program, len(program))
            packed = struct.pack("HL", len(_NO_NEW_HANDSHAKES), ctypes.addressof(buffer))
            # A kernel without socket filters: connections of the last moment are reset, as everywhere else.
            with contextlib.suppress(OSError):
                self.socket.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, packed)

    def close(self) -> None:
        if self.path is not None:
            remove_own_path(self.path, self.owned)
        self.socket.close()


def queue_length(listening: socket.socket) -> int:
    """Connections waiting in the accept queue of a TCP socket (Linux); 0 for others."""
    if sys.platform != "linux" or listening.family == socket.AF_UNIX:
        return 0
    try:
        info = listening.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    except OSError:
        return 0
    # struct tcp_info: of a listening socket, tcpi_unacked is the length of the accept queue.
    return int(struct.unpack_from("I", info, 24)[0])


def open_listener(options: Options, activated: list[int]) -> Listener:
    """Make the listening socket, or adopt an inherited one.

    Args:
        options: where to listen.
        activated: descriptors passed by systemd; the first one is adopted.

    Raises:
        BindError: the text says who is in the way and what to do.
    """
    if options.fd is not None:
        return adopt(options.fd, options)
    if activated:
        return adopt(activated[0], options)
    unix, host, port = options.unix, options.host, options.port
    if options.fastcgi is not None:
        unix, host, port = parse_fastcgi(options.fastcgi)
    if unix is not None:
        return bind_unix(unix, options)
    return bind_tcp(host, port, options)


def parse_fastcgi(address: str) -> tuple[str | None, str, int]:
    """Split `unix:/path`, `/path` or `host:port`."""
    if address.startswith("unix:"):
        return address[5:], "", 0
    if address.startswith(("/", "./")):
        return address, "", 0
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit():
        raise BindError(f"--fastcgi {address}: give unix:/path or host:port")
    return None, host.strip("[]") or "127.0.0.1", int(port)


def scheme(options: Options) -> str:
    if options.fastcgi is not None:
        return "fastcgi"
    return "https" if options.tls_cert else "http"


def adopt(fd: int, options: Options) -> Listener:
    try:
        listening = socket.socket(fileno=fd)
        listens = listening.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise BindError(f"descriptor {fd} is no socket ({error.strerror}); pass a listening stream socket") from error
    if not listens or listening.type != socket.SOCK_STREAM:
        listening.close()
        raise BindError(f"descriptor {fd} does not listen; pass a listening stream socket")
    listening.setblocking(False)
    name = listening.getsockname()
    url = f"unix:{name}" if listening.family == socket.AF_UNIX else url_of(name, options)
    return Listener(listening, f"{url} (inherited)", borrowed=True)


def url_of(name: tuple[str, int], options: Options) -> str:
    host = f"[{name[0]}]" if ":" in name[0] else name[0]
    return f"{scheme(options)}://{host}:{name[1]}"


def bind_tcp(host: str, port: int, options: Options) -> Listener:
    try:
        listening = sockets.bind(host, port, socket.SOCK_STREAM, options.backlog)
    except socket.gaierror as error:
        raise BindError(f"--host {host}: {error.strerror}; give an address of this machine, or 0.0.0.0 for all") from error
    except OSError as error:
        remedy = "Stop it (`carboy ctl stop`), or choose another --port."
        raise BindError(sockets.why_not(error, f"{host}:{port}", port, remedy)) from error
    name = listening.getsockname()
    return Listener(listening, url_of((name[0], name[1]), options))


def bind_unix(path: str, options: Options) -> Listener:
    path = os.path.abspath(path)
    clear_stale(path)
    try:
        listening = sockets.bind_unix(path, options.unix_mode, options.backlog)
    except OSError as error:
        raise BindError(f"--unix {path} cannot be made: {error.strerror}") from error
    kind = "fastcgi+unix" if options.fastcgi is not None else "unix"
    return Listener(listening, f"{kind}:{path}", path=path, owned=inode(path))


def clear_stale(path: str) -> None:
    """Remove a socket that nobody listens on any more.

    Raises:
        BindError: somebody listens there, or the path is something else than a socket.
    """
    try:
        sockets.clear_stale(path)
    except sockets.CannotListen as error:
        raise BindError(str(error)) from error
