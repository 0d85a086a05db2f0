"""Listening sockets for protocols beside HTTP: an address that can be written down, and the socket made of it.

Both who serves alone (an app under another server) and who opens sockets for others (the main process of `carboy run`)
make them here, so that both say the same where one cannot be had. No event loop, no protocol.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from dataclasses import asdict, dataclass
from typing import Any, Literal

Kind = Literal["tcp", "udp", "unix"]


class CannotListen(OSError):
    """No socket can be had at an address; the text says who is in the way and what to do."""

    def __str__(self) -> str:
        return str(self.strerror)


@dataclass(frozen=True, slots=True)
class Address:
    """Where something listens.

    Attributes:
        kind: "tcp", "udp" or "unix".
        host, port: of TCP and UDP; port 0 lets the system choose.
        path: of a Unix socket, absolute.
        name: of the service; tells apart two whose port the system chooses.
        backlog: connections that may wait to be accepted.
        mode: permissions of a Unix socket's path.
        reuse_port: whether other processes that ask for the same may share the port, each with a queue of its own.
    """

    kind: Kind
    host: str = ""
    port: int = 0
    path: str = ""
    name: str = ""
    backlog: int = 1024
    mode: int = 0o660
    reuse_port: bool = False

    @property
    def url(self) -> str:
        if self.kind == "unix":
            return f"unix:{self.path}"
        return f"{self.kind}://{place_of(self.host, self.port)}"

    @property
    def key(self) -> str:
        """What is the same for the same socket, from one release of an app to the next."""
        return self.url if self.kind == "unix" or self.port else f"{self.url}#{self.name}"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Address:
        return cls(**values)


def place_of(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def url_of(bound: socket.socket, kind: Kind) -> str:
    """Where a socket is bound in fact, as a URL."""
    name = bound.getsockname()
    return f"unix:{name}" if kind == "unix" else f"{kind}://{place_of(name[0], name[1])}"


def open_socket(address: Address) -> socket.socket:
    """Bind a socket, and listen on it unless it is UDP's; non-blocking, not inherited.

    Raises:
        CannotListen: the address is taken, forbidden, or none of this machine's.
    """
    if address.kind == "unix":
        clear_stale(address.path)
        try:
            return bind_unix(address.path, address.mode, address.backlog)
        except OSError as error:
            raise CannotListen(error.errno, f"{address.url} cannot be made: {error.strerror}") from error
    place = place_of(address.host, address.port)
    flavour = socket.SOCK_STREAM if address.kind == "tcp" else socket.SOCK_DGRAM
    try:
        return bind(address.host, address.port, flavour, address.backlog, reuse_port=address.reuse_port)
    except socket.gaierror as error:
        raise CannotListen(error.errno, f"{place}: {error.strerror}; give an address of this machine, or 0.0.0.0 for all") from error
    except OSError as error:
        remedy = "Stop it, or choose another port. Where another server than `carboy run` starts several workers, give reuse_port=True."
        raise CannotListen(error.errno, f"{address.kind}://{why_not(error, place, address.port, remedy)}") from error


def bind(host: str, port: int, flavour: socket.SocketKind, backlog: int, *, reuse_port: bool = False) -> socket.socket:
    """Bind a TCP or UDP socket; a TCP one listens.

    Raises:
        OSError: from the system, as it is.
    """
    found = socket.getaddrinfo(host, port, type=flavour, flags=socket.AI_PASSIVE)
    family, _, _, _, address = found[0]
    bound = socket.socket(family, flavour)
    try:
        if flavour == socket.SOCK_STREAM:
            # SO_REUSEADDR only skips the TIME_WAIT of connections past; a living listener still refuses us. For UDP it
            # would share the port with a stranger.
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6 and host == "::":
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        bound.bind(address)
        if flavour == socket.SOCK_STREAM:
            bound.listen(backlog)
            # Inherited by accepted connections: small answers are not held back waiting for an ACK.
            bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        bound.setblocking(False)
    except OSError:
        bound.close()
        raise
    return bound


def why_not(error: OSError, place: str, port: int, remedy: str) -> str:
    """Why an address could not be bound.

    Args:
        remedy: what to do where another listens there.
    """
    if error.errno == errno.EADDRINUSE:
        return f"{place} is taken: another server listens there. {remedy}"
    if error.errno == errno.EACCES:
        low = " Ports below 1024 need the right CAP_NET_BIND_SERVICE, or socket activation by systemd." if port < 1024 else ""
        return f"{place} is forbidden for this user.{low}"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{place} is no address of this machine; give one that is, or 0.0.0.0 for all."
    return f"{place} cannot be bound: {error.strerror}"


def bind_unix(path: str, mode: int, backlog: int) -> socket.socket:
    """Bind a Unix stream socket and listen on it.

    Raises:
        OSError: from the system, as it is.
    """
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # Bound under a narrow mask, widened after: nobody connects in between with rights that were not given.
    mask = os.umask(0o177)
    try:
        listening.bind(path)
    except OSError:
        listening.close()
        raise
    finally:
        os.umask(mask)
    os.chmod(path, mode)
    listening.listen(backlog)
    listening.setblocking(False)
    return listening


def clear_stale(path: str) -> None:
    """Remove a socket that nobody listens on any more.

    Raises:
        CannotListen: somebody listens there, or the path is something else than a socket.
    """
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise CannotListen(errno.EADDRINUSE, f"{path} exists and is no socket; remove it, or choose another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            return
        except OSError as error:
            # A full queue or a lack of rights: somebody is there.
            raise CannotListen(error.errno, f"{path} is taken by a running server ({error.strerror})") from error
    raise CannotListen(
        errno.EADDRINUSE, f"{path} is taken: another server listens there. Stop it (`carboy ctl stop`), or choose another path."
    )


def remove_own_path(path: str, owned: tuple[int, int] | None) -> None:
    """Remove the path unless another server has put its own socket there meanwhile."""
    with contextlib.suppress(OSError):
        if owned == inode(path):
            os.unlink(path)


def inode(path: str) -> tuple[int, int]:
    """What tells one file from another that took its name."""
    found = os.lstat(path)
    return found.st_dev, found.st_ino
