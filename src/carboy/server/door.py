"""What stands between the server and the application: one function a door, not a layer for each concern.

In order: the Host field, broken framing, the proxies' words, the request's id, overload, then the application under
watch (`flight.py`). PERF: the way of a plain GET is one pass over its header fields, one set to ask, and a `Flight`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from ..core.deadline import FLIGHT
from ..pipeline import offload
from ..pipeline.threads import QueuedTooLong
from ..wire.asgi import ASGIApp, Receive, Scope, Send
from ..wire.body import InvalidLength, declared_length
from ..wire.close_codes import NORMAL
from ..wire.forwarded import FIELDS
from ..wire.response import STATUS_LINES
from .counting import WSGIApp
from .errors import OptionError
from .flight import CarboyFlight, Flight, Watch, refuse
from .hosts import Hosts
from .options import Options
from .proxy import Proxies
from .relays import Relays
from .request_id import is_sane, new_ids
from .sockets import BODY, Sockets

log = logging.getLogger("carboy.server")

# RSGI's scope and protocol are granian's own objects.
RSGIApp = Callable[[Any, Any], Awaitable[None]]

BAD_HOST = "The Host header is missing, invalid, or of no host that is served here."
_BODILESS = frozenset({"GET", "HEAD", "OPTIONS", "DELETE"})
_FRAMING = frozenset({b"content-length", b"transfer-encoding"})
_TOLD = frozenset({b"forwarded", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"x-forwarded-prefix"})
_NOTED = _FRAMING | _TOLD | {b"host", b"upgrade", b"x-request-id"}


def production(
    app: ASGIApp, options: Options, behind: Any = None, sockets: Sockets | None = None, relays: Relays | None = None
) -> ASGIApp:
    """Wrap an application in what the open internet needs.

    Args:
        behind: the application object, where *app* is only a way to it; its configuration is read.
        sockets: serves WebSocket handshakes, where the server takes their connections over.
        relays: looks after the WebSockets of granian, elsewhere.

    Raises:
        OptionError: the hosts or the proxies do not read.
    """
    entrance = Entrance(options, app if behind is None else behind)
    entrance.relays = relays
    hosts, known = entrance.hosts, entrance.hosts.known
    watch = entrance.watch
    flights = watch.flights
    most = options.max_in_flight or float("inf")
    timeout = options.request_timeout
    make_flight = CarboyFlight if entrance.is_carboy else Flight
    ids = new_ids() if options.request_ids != "off" else None
    # Only there may a body come without a field that says so.
    is_second = options.http != "1"
    # PERF: names in cells cost less than names of the module.
    noted, monotonic = _NOTED, time.monotonic

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await entrance.serve_other(app, scope, receive, send)
            return
        now = monotonic()
        flight = make_flight(scope, receive, send, now, timeout)
        host: bytes | None = None
        odd: list[tuple[bytes, bytes]] | None = None
        for name, value in scope["headers"]:
            if name in noted:
                if name == b"host" and host is None:
                    host = value
                elif odd is None:
                    odd = [(name, value)]
                else:
                    odd.append((name, value))
        if is_second and scope["http_version"] == "2" and scope["method"] not in _BODILESS:
            flight.is_whole, flight.limit, receive = False, entrance.limit, flight.receive
        if odd is not None:
            refusal = entrance.look_closer(flight, odd)
            if refusal is not None:
                await refuse(flight, *refusal)
                return
            if not flight.is_whole:
                receive = flight.receive
            host = scope.get("carboy.host", host)
        if host not in known and not (hosts.is_good(host) if host else entrance.may_lack_host(scope)):
            flight.is_closing = True
            await refuse(flight, 400, BAD_HOST)
            return
        if ids is not None and flight.request_id is None:
            flight.request_id = request_id = next(ids)
            scope["headers"].append((b"x-request-id", request_id))
        pause = now - watch.last
        if pause > watch.widest:
            watch.widest = pause
        watch.last = now
        if (now > watch.late_at and watch.is_overloaded(now)) or len(flights) >= most:
            await watch.shed_one(flight)
            return
        flights.add(flight)
        scope[FLIGHT] = flight
        try:
            if flight.is_handshake and sockets is not None:
                await sockets.welcome(app, scope, receive, flight.send)
            else:
                await app(scope, receive, flight.send)
        except QueuedTooLong:
            await watch.shed_one(flight)
        except BaseException as error:
            if not await flight.settle(error):
                raise
        else:
            if flight.verdict is not None:
                await flight.settle(None)
        finally:
            flights.discard(flight)
            # The two know each other; parted, both go at once instead of with the next collection.
            del scope[FLIGHT]

    return serve


def check_codings(values: Iterable[str]) -> tuple[int, str] | None:
    """Return the status and text of a refusal where a body comes in other transfer codings than one `chunked`.

    Source: RFC 9112 §6.1: chunked once, and last; granian takes off nothing else, and believes whatever ends in it.
    """
    told = [member.strip(" \t").lower() for value in values for member in value.split(",")]
    if told == ["chunked"]:
        return None
    if told.count("chunked") != 1 or told[-1] != "chunked":
        return 400, "The Transfer-Encoding is not valid."
    return 501, "Of the transfer codings, only chunked is understood."


def production_wsgi(app: WSGIApp, options: Options, behind: Any = None) -> WSGIApp:
    """What the WSGI and FastCGI doors can have of it: Host checks, the proxies' words, request ids.

    Raises:
        OptionError: the hosts or the proxies do not read.
    """
    entrance = Entrance(options, app if behind is None else behind)
    hosts, proxies = entrance.hosts, entrance.proxies
    ids = new_ids() if options.request_ids != "off" else None
    keeps_any = options.request_ids == "any"

    def refused(status: str, text: str, start_response: Callable[..., Any]) -> Iterable[bytes]:
        body = f"{text}\n".encode()
        headers = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body))), ("Connection", "close")]
        start_response(status, headers)
        return [body]

    def call(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        codings = environ.get("HTTP_TRANSFER_ENCODING")
        if codings is not None and codings.lower() != "chunked":
            refusal = check_codings([codings])
            if refusal is not None:
                return refused(STATUS_LINES[refusal[0]], refusal[1], start_response)
        is_trusted = environ.get("REMOTE_ADDR") in proxies.trust
        proxies.apply_to_environ(environ)
        host = environ.get("HTTP_HOST", "").encode("latin1")
        if host not in hosts.known and not (
            # Granian says "HTTP/1" for HTTP/1.0.
            hosts.is_good(host) if host else environ.get("SERVER_PROTOCOL") in ("HTTP/1", "HTTP/1.0") and not hosts.exact
        ):
            return refused("400 Bad Request", BAD_HOST, start_response)
        if ids is None:
            return app(environ, start_response)
        told = environ.get("HTTP_X_REQUEST_ID")
        if told is None or not (is_trusted or keeps_any) or not is_sane(told.encode("latin1")):
            told = environ["HTTP_X_REQUEST_ID"] = next(ids).decode()

        def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            return start_response(status, [*headers, ("X-Request-ID", told)], *more)

        return app(environ, start)

    return call


def production_rsgi(app: RSGIApp, options: Options, behind: Any = None) -> RSGIApp:
    """What the RSGI door can have of it: Host checks and the proxies' words.

    Raises:
        OptionError: the hosts or the proxies do not read.
    """
    entrance = Entrance(options, app if behind is None else behind)
    hosts, proxies = entrance.hosts, entrance.proxies

    async def call(scope: Any, protocol: Any) -> None:
        headers = scope.headers
        if "transfer-encoding" in headers:
            refusal = check_codings(headers.get_all("transfer-encoding"))
            if refusal is not None:
                plain = [("content-type", "text/plain; charset=utf-8"), ("connection", "close")]
                protocol.response_str(refusal[0], plain, f"{refusal[1]}\n")
                return
        for name in FIELDS:
            if name in headers:
                scope = proxies.applied_to_rsgi(scope)
                headers = scope.headers
                break
        values = [value for value in headers.get_all("host") if value] or ([scope.authority] if scope.authority else [])
        host = values[0].encode("latin1", "replace") if len(values) == 1 else None
        if host not in hosts.known and not (
            hosts.is_good(host) if host else not values and scope.http_version in ("1", "1.0") and not hosts.exact
        ):
            if scope.proto == "http":
                plain = [("content-type", "text/plain; charset=utf-8"), ("connection", "close")]
                protocol.response_str(400, plain[: 1 if scope.http_version == "2" else 2], f"{BAD_HOST}\n")
            else:
                protocol.close(400)
            return
        await app(scope, protocol)

    return call


class Entrance:
    """The parts that `production` is composed of, and the ways that few requests take."""

    def __init__(self, options: Options, behind: Any) -> None:
        self.options = options
        self.is_carboy = hasattr(behind, "asgi_app") and hasattr(behind, "body_limit")
        # Any: a Carboy app's settings, or nothing.
        config: Any = behind.config if self.is_carboy else None
        try:
            self.hosts = Hosts.of(options.trusted_hosts)
        except ValueError as error:
            raise OptionError(f"--trusted-hosts: {error}") from error
        trusted = options.trusted_proxies
        if trusted is None and config is not None and config.get("TRUSTED_PROXIES"):
            told = config["TRUSTED_PROXIES"]
            trusted = told if isinstance(told, str) else ",".join(told)
        self.proxies = Proxies(trusted, options.proxy_headers)
        self.relays: Relays | None = None
        self.watch = Watch(options)
        # A Carboy app keeps its limit itself, by route; the server's option is its default where it is given.
        self.limit = None if self.is_carboy else options.max_body or None
        if config is not None and "max_body" in options.given:
            config["MAX_BODY_SIZE"] = options.max_body or None
        offload.pool.patience = options.queue_timeout or None

    def look_closer(self, flight: Flight, odd: list[tuple[bytes, bytes]]) -> tuple[int, str] | None:
        """Check what a plain request does not have; return the status and text of a refusal, if it must be."""
        scope = flight.scope
        lengths: list[bytes] = []
        codings: list[bytes] = []
        ids: list[bytes] = []
        is_told = False
        for name, value in odd:
            if name == b"content-length":
                lengths.append(value)
            elif name == b"transfer-encoding":
                codings.append(value)
            elif name == b"host":
                flight.is_closing = True
                return 400, "There is more than one Host header."
            elif name == b"x-request-id":
                ids.append(value)
            elif name == b"upgrade":
                flight.is_handshake = flight.is_handshake or is_handshake(scope, value)
            else:
                is_told = True
        is_trusted = False
        if is_told or ids:
            client = scope.get("client")
            is_trusted = (client[0] if client else None) in self.proxies.trust
        if lengths or codings:
            refusal = self.check_framing(flight, lengths, codings)
            if refusal is not None:
                flight.is_closing = True
                return refusal
        if flight.is_handshake and not flight.is_whole:
            # Its bytes would be taken for frames.
            flight.is_closing = True
            return 400, BODY
        if is_told:
            origin = self.proxies.apply(scope)
            if origin is not None and origin.host is not None:
                scope["carboy.host"] = origin.host.encode()
        if ids and self.options.request_ids != "off":
            sane = len(ids) == 1 and (is_trusted or self.options.request_ids == "any") and is_sane(ids[0])
            if sane:
                flight.request_id = ids[0]
            else:
                scope["headers"] = [pair for pair in scope["headers"] if pair[0] != b"x-request-id"]
        return None

    def check_framing(self, flight: Flight, lengths: list[bytes], codings: list[bytes]) -> tuple[int, str] | None:
        """Check how the body is framed, and put it under watch."""
        if codings:
            refusal = check_codings(value.decode("latin1") for value in codings)
            if refusal is not None:
                return refusal
        else:
            try:
                length = declared_length(lengths)
            except InvalidLength as error:
                return 400, str(error.description)
            if not length:
                return None
            if self.limit is not None and length > self.limit:
                return 413, "The request body is larger than the server allows."
        flight.is_whole = False
        flight.limit = self.limit
        return None

    def may_lack_host(self, scope: Scope) -> bool:
        """HTTP/1.0 has no Host field, which is well where no names are listed."""
        # Granian says "1" for HTTP/1.0.
        return scope["http_version"] in ("1", "1.0") and not self.hosts.exact

    async def serve_other(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Lifespan as it is; a WebSocket handshake by its Host and origin."""
        if scope["type"] != "websocket":
            await app(scope, receive, send)
            return
        if any(name in _TOLD for name, _ in scope["headers"]):
            self.proxies.apply(scope)
        found = [value for name, value in scope["headers"] if name == b"host"]
        if len(found) != 1 or not (found[0] in self.hosts.known or self.hosts.is_good(found[0])):
            if (await receive())["type"] == "websocket.connect":
                await send({"type": "websocket.close", "code": NORMAL})
            return
        if self.relays is not None:
            await self.relays.serve(app, scope, receive, send)
        else:
            await app(scope, receive, send)


def is_handshake(scope: Scope, upgrade: bytes) -> bool:
    """Whether a request asks for a WebSocket. Any other Upgrade may be ignored (RFC 9110 §7.8), and is."""
    return (
        scope["method"] == "GET"
        and scope["http_version"] == "1.1"
        and any(each.strip().lower() == b"websocket" for each in upgrade.split(b","))
    )
