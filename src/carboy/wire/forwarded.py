"""Where a request came from before the proxies: `Forwarded` (RFC 7239) and the `X-Forwarded-*` fields, read safely.

Fields in, an origin out; no scope and no environ, so that every door sees the same. Nothing is believed that was not
written by a trusted proxy: the addresses are read from the right, and the first that is not trusted is the client.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

#: Fields that a proxy may tell the origin in, lower-case.
FIELDS = ("forwarded", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-prefix")
#: How peers on a Unix socket are written in a list of trusted proxies.
UNIX = "unix"

# Longer ones are no proxy's; each hop costs an address to parse.
_MOST_HOPS = 32
_SCHEMES = frozenset({"http", "https"})
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,253}))(?::[0-9]{1,5})?")
_PREFIX = re.compile(r"(?:/[A-Za-z0-9._~!$&'()*+,;=:@-]+)+/?")
_ADDRESS_AND_PORT = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<four>[0-9.]+))(?::(?P<port>[0-9]{1,5}))?")
# RFC 7239 §4: token "=" (token / quoted-string). What follows must be a separator or the end.
_PAIR = re.compile(
    r"[ \t]*(?P<name>[!#$%&'*+.^_`|~0-9A-Za-z-]+)="
    r'(?:"(?P<quoted>(?:[^"\\\x00-\x08\x0a-\x1f\x7f]|\\[\x20-\x7e])*)"|(?P<token>[!#$%&\'*+.^_`|~0-9A-Za-z:\[\]-]+))[ \t]*(?P<end>[;,]|$)'
)


@dataclass(frozen=True, slots=True)
class Origin:
    """What is known of a request's origin; None where nobody trusted has said it.

    Attributes:
        client: address of the client.
        port: its port, where told.
        scheme: http or https.
        host: the host the client asked for, with a port where told; its syntax is valid.
        prefix: the path under which the proxy publishes the app, without a slash at its end.
    """

    client: str | None = None
    port: int | None = None
    scheme: str | None = None
    host: str | None = None
    prefix: str | None = None


class Trust:
    """Which peers are proxies of ours.

    Args:
        members: networks (`10.0.0.0/8`), addresses, and `unix` for peers on a Unix socket.

    Raises:
        ValueError: a member is none of these; the text says which.
    """

    __slots__ = ("_known", "networks", "unix")

    def __init__(self, members: Iterable[str]) -> None:
        self.unix = False
        self.networks: list[IPv4Network | IPv6Network] = []
        for member in members:
            if member == UNIX:
                self.unix = True
                continue
            try:
                self.networks.append(ip_network(member, strict=False))
            except ValueError as error:
                raise ValueError(f"{member!r} is no network (10.0.0.0/8), no address, and not {UNIX!r}") from error
        self._known: dict[str, bool] = {}

    @classmethod
    def of(cls, text: str) -> Trust:
        """Read `10.0.0.0/8, unix`.

        Raises:
            ValueError: as above.
        """
        return cls(filter(None, re.split(r"[,\s]+", text)))

    def __bool__(self) -> bool:
        return self.unix or bool(self.networks)

    def __contains__(self, peer: str | None) -> bool:
        """Whether a peer is trusted; None or an empty text is one on a Unix socket."""
        if not peer:
            return self.unix
        known = self._known.get(peer)
        if known is None:
            address = canonical(peer)
            known = address is not None and self._covers(address)
            if len(self._known) >= 1024:  # addresses come from outside: bounded
                self._known.clear()
            self._known[peer] = known
        return known

    def _covers(self, text: str) -> bool:
        address = ip_address(text)
        return any(address.version == network.version and address in network for network in self.networks)


def canonical(text: str) -> str | None:
    """An IP address in its one spelling, None if it is none; an IPv4 address mapped into IPv6 is the IPv4 one."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            return None
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
    return str(address)


@dataclass(frozen=True, slots=True)
class Hop:
    """What one proxy has told of its peer."""

    client: str | None = None
    scheme: str | None = None
    host: str | None = None


def resolve(peer: str | None, fields: Iterable[tuple[str, str]], trust: Trust, believed: Sequence[str] = FIELDS) -> Origin:
    """Find a request's origin.

    Args:
        peer: address of who is connected to us; None or empty on a Unix socket.
        fields: the header fields of the request, names in lower case, in order.
        trust: which peers are believed.
        believed: which of `FIELDS` are.

    Returns:
        An empty Origin if the peer is not trusted. Where `Forwarded` and `X-Forwarded-For` are both there and name
        different clients, neither is believed: proxies set one of them and let the other pass, so one is the client's.
    """
    if peer not in trust:
        return Origin()
    found: dict[str, list[str]] = {}
    for name, value in fields:
        if name in believed:
            found.setdefault(name, []).append(value)
    if not found:
        return Origin()
    told: Origin | None = None
    if "forwarded" in found:
        hops = parse_forwarded(", ".join(found["forwarded"]))
        if hops is None:
            return Origin()
        told = _from_hops(hops, trust)
    if len(found) == (told is not None):
        return told or Origin()
    also = _from_x_fields(found, trust)
    if told is None:
        return also
    if told.client != also.client or not _agree(told.scheme, also.scheme) or not _agree(told.host, also.host):
        return Origin()
    return Origin(told.client, told.port or also.port, told.scheme or also.scheme, told.host or also.host, also.prefix)


def _agree(one: str | None, other: str | None) -> bool:
    return one is None or other is None or one == other


def _from_hops(hops: Sequence[Hop], trust: Trust) -> Origin:
    index, client, port = find_client([hop.client for hop in hops], trust)
    if index is None:
        index = len(hops) - 1
    hop = hops[index]
    return Origin(client, port, _scheme(hop.scheme), _host(hop.host))


def _from_x_fields(found: dict[str, list[str]], trust: Trust) -> Origin:
    clients = _members(found.get("x-forwarded-for"))
    index, client, port = find_client(clients, trust)
    behind = None if index is None else len(clients) - index

    def at_hop(name: str) -> str | None:
        """The member of the proxy that the client came to; a proxy that sets a single value speaks for all."""
        members = _members(found.get(name))
        if not members:
            return None
        return members[-behind] if behind is not None and behind <= len(members) else members[-1]

    prefix = at_hop("x-forwarded-prefix")
    if prefix is not None and not _PREFIX.fullmatch(prefix):
        prefix = None
    return Origin(client, port, _scheme(at_hop("x-forwarded-proto")), _host(at_hop("x-forwarded-host")), prefix.rstrip("/") if prefix else None)


def find_client(chain: Sequence[str | None], trust: Trust) -> tuple[int | None, str | None, int | None]:
    """Walk a chain of addresses from the right to the first that is not a trusted proxy.

    Returns:
        Its index, address and port. Something that is no address ends the walk: what stands left of it was passed on
        by somebody unknown, and the last proxy before it is all that is known.
    """
    found: tuple[int | None, str | None, int | None] = (None, None, None)
    for index in range(len(chain) - 1, max(-1, len(chain) - 1 - _MOST_HOPS), -1):
        address, port = parse_node(chain[index] or "")
        if address is None:
            break
        found = index, address, port
        if address not in trust:
            break
    return found


def parse_node(text: str) -> tuple[str | None, int | None]:
    """`1.2.3.4`, `1.2.3.4:5`, `::1`, `[::1]`, `[::1]:5` as address and port; None for all else (`unknown`, `_name`)."""
    match = _ADDRESS_AND_PORT.fullmatch(text)
    if match is None:
        return canonical(text), None
    address = canonical(match["six"] or match["four"])
    port = int(match["port"]) if match["port"] else None
    if address is None or (port is not None and port > 65535):
        return None, None
    return address, port


def parse_forwarded(text: str) -> list[Hop] | None:
    """Read a `Forwarded` field; None if its syntax is broken, for then no part of it can be told from another.

    Source: RFC 7239 §4.
    """
    hops: list[Hop] = []
    pairs: dict[str, str] = {}
    position = 0
    while position < len(text):
        match = _PAIR.match(text, position)
        if match is None:
            return None
        name = match["name"].lower()
        if name in pairs:  # each parameter once an element
            return None
        quoted = match["quoted"]
        pairs[name] = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else match["token"]
        position = match.end()
        if match["end"] != ";":
            hops.append(Hop(pairs.get("for"), pairs.get("proto"), pairs.get("host")))
            pairs = {}
        if match["end"] and position == len(text):
            return None
    return hops or None


def _members(values: Sequence[str] | None) -> list[str]:
    return [member.strip(" \t") for value in values or () for member in value.split(",")]


def _scheme(text: str | None) -> str | None:
    lowered = text.lower() if text else ""
    return lowered if lowered in _SCHEMES else None


def _host(text: str | None) -> str | None:
    return text if text and is_host(text) else None


def is_host(text: str) -> bool:
    """Whether a text is a host with an optional port, as a Host field has it.

    Source: RFC 9110 §7.2; of the names that RFC 3986 allows only those of letters, digits, `-`, `_` and `.`, since no
    client asks for another and every other sign is an attempt at something.
    """
    match = _HOST.fullmatch(text)
    if match is None or len(text) > 255:
        return False
    if text.startswith("["):
        return canonical(text[1 : text.index("]")]) is not None
    _, colon, port = text.partition(":")
    return not colon or int(port) <= 65535
