"""Calls to URLs that a stranger gave: to public addresses alone, whatever a name resolves to.

A name is checked as text, and what counts is checked once the connection stands and before a byte is sent: the address
at its other end. So a name that resolves to something else the second time gains nothing.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Generator, Mapping
from functools import partial
from operator import methodcaller
from typing import Any

import httpx2

from ...pipeline.both import Call, both
from .errors import AddressRefused

#: Prefixes in which an IPv6 address carries an IPv4 one: NAT64 (RFC 6052).
_NAT64 = ipaddress.ip_network("64:ff9b::/96")

Trace = Callable[[str, dict[str, Any]], Any]


def is_public(address: str) -> bool:
    """Whether an address is one of the public internet; False for what is none at all.

    Source: the IANA special-purpose registries, as `ipaddress` has them.
    """
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo or (None, None))[1]
        if inner is None and ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


def check_host(url: httpx2.URL, hosts: tuple[str, ...]) -> None:
    """Refuse by the URL alone: a host that is not listed, an address that is not public.

    Raises:
        AddressRefused: with the reason.
    """
    host = url.host.rstrip(".").lower()
    if hosts and not any(host == each or (each.startswith(".") and host.endswith(each)) for each in hosts):
        raise AddressRefused(f"{host} is not among HTTP_CLIENT_PUBLIC_HOSTS")
    if host == "localhost" or host.endswith(".localhost"):
        raise AddressRefused(f"{host} is this machine")
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return  # a name: its address is checked when the connection stands
    _check_address(host, host)


def _check_address(host: str, address: str) -> None:
    if not is_public(address):
        raise AddressRefused(f"{host} is at {address}, which is not a public address; nothing was sent")


def _address_of(stream: Any) -> str:
    peer = stream.get_extra_info("server_addr")
    return str(peer[0]) if peer else ""


def _look(host: str, theirs: Trace | None, event: str, info: dict[str, Any]) -> Generator[Call, Any, None]:
    if event == "connection.connect_tcp.complete":
        stream = info["return_value"]
        try:
            _check_address(host, _address_of(stream))
        except AddressRefused:
            yield Call(methodcaller("close"), methodcaller("aclose"), (stream,))
            raise
    if theirs is not None:
        yield Call(theirs, theirs, (event, info))


_look_sync, _look_async = both(_look)


def guarded(extensions: Mapping[str, Any], host: str, *, awaits: bool) -> dict[str, Any]:
    """A request's extensions with a look at each connection that is made for it; a trace of the caller's goes on."""
    look = _look_async if awaits else _look_sync
    return {**extensions, "trace": partial(look, host, extensions.get("trace"))}
