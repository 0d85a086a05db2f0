"""The plan of a WebSocket route: that of a page, with its way out taken at the accept, and errors that close.

A handshake is refused by a response, as a page is answered; so everything up to the accept is a page's. What is
different afterwards stands here, and where a handshake may come from.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterable
from dataclasses import fields, replace
from typing import Any, Literal, TypedDict
from urllib.parse import SplitResult, urlsplit

from werkzeug.exceptions import Forbidden, HTTPException

from ..gateways.socket import InvalidMessage, Socket, State, Terms, WebSocketDisconnect
from ..gateways.websocket import SocketPlan
from ..pipeline.drive import outward
from ..pipeline.plan import Plan
from ..pipeline.step import Segment, Step
from ..wire.close_codes import INTERNAL, POLICY
from .ctx import Context
from .errors import BadRule
from .respond import whole

log = logging.getLogger("carboy.websocket")

#: Options of a WebSocket rule that are Carboy's own.
SOCKET_OPTIONS = ("subprotocols", "origins", "max_message", "receive_timeout", "cancel_on_disconnect")

_DEFAULT_PORTS = {"http": 80, "ws": 80, "https": 443, "wss": 443}


class WebSocketOptions(TypedDict, total=False):
    """What `websocket(rule, …)` takes.

    Keys:
        endpoint: the name of the route; the view's unless told.
        defaults: values for parameters that the rule has not.
        subdomain, host, strict_slashes, merge_slashes: as Werkzeug's `Rule` has them.
        subprotocols: in order of preference; the first that the client offers is chosen.
        origins: pages of which other sites may connect, "https://a.example" each; "*" for all.
        max_message: most bytes of a message, else 1009; `WEBSOCKET_MAX_MESSAGE` unless told; None for no limit.
        receive_timeout: seconds that a receive waits, else 3008; `WEBSOCKET_RECEIVE_TIMEOUT` unless told.
        cancel_on_disconnect: whether a view that waits for something else is cancelled when its peer goes; True.
    """

    endpoint: str | None
    defaults: dict[str, Any] | None
    subdomain: str | None
    host: str | None
    strict_slashes: bool | None
    merge_slashes: bool | None
    subprotocols: Iterable[str]
    origins: Iterable[str] | Literal["*"]
    max_message: int | None
    receive_timeout: float | None
    cancel_on_disconnect: bool


def terms_of(config: Any, options: dict[str, Any], *, holds_thread: bool) -> Terms:
    """What a route asks of its sockets: its own options, else the config's."""
    return Terms(
        subprotocols=tuple(options.get("subprotocols", ())),
        max_message=options.get("max_message", config["WEBSOCKET_MAX_MESSAGE"]),
        receive_timeout=options.get("receive_timeout", config["WEBSOCKET_RECEIVE_TIMEOUT"]),
        cancels=options.get("cancel_on_disconnect", True),
        holds_thread=holds_thread,
        threads=config["WEBSOCKET_THREADS"],
    )


def socket_plan(app: Any, way: Plan, options: dict[str, Any] | None) -> SocketPlan:
    """Make the plan of a handshake.

    Args:
        way: the same as it would be for a page.
        options: of the route; None for a miss.
    """
    inward, steps = way.inward, way.steps
    terms = Terms()
    if options is not None:
        terms = terms_of(app.config, options, holds_thread=not way.is_async)
        check = functools.partial(check_origin, allowed_origins(options.get("origins", app.config["WEBSOCKET_ORIGINS"])))
        inward = (Segment(check, False), *inward)
        steps = (Step(check, "before", check_origin), *steps)
    own = {field.name: getattr(way, field.name) for field in fields(Plan)}
    own.update(
        inward=inward,
        steps=steps,
        respond=functools.partial(respond, way),
        rescue=functools.partial(rescue, way),
        fail=functools.partial(fail, way),
        outward=(Segment(functools.partial(leave, way), True),),
        afterwards=_nothing,
    )
    greeting = replace(way, outward=(*way.outward, Segment(_mark_saved, False)))
    return SocketPlan(**own, way=greeting, terms=terms)


def socket_of(ctx: Context) -> Socket:
    found: Socket = ctx.websocket.socket
    return found


# -- the parts of its way ---------------------------------------------------------------------------


def respond(way: Plan, ctx: Context, value: Any) -> Any:
    """The response that refuses; after the accept, the 101 that has gone out."""
    socket = socket_of(ctx)
    if socket.is_greeted:
        return ctx.response
    response = way.respond(ctx, Forbidden() if value is None else value)
    if response.status_code < 300:
        # RFC 8441 §5: over HTTP/2 a 2xx would accept.
        ctx.response = response
        response = whole(ctx)
        response.status_code = 403
    return response


async def leave(way: Plan, ctx: Context) -> None:
    """What stands after the view, on a refusal; an accept has run it already."""
    if not socket_of(ctx).is_greeted:
        await outward(way, ctx)
    elif getattr(ctx.opened_session, "modified", False):
        log.warning(
            "the session was changed after the accept of %s: its cookie had gone out by then, so the change is lost. Change it"
            " before the accept, or keep it elsewhere.",
            ctx.request.path,
        )


def _mark_saved(ctx: Context) -> None:
    """The last step at the accept: what changes in the session from here on reaches no browser, and `leave` says so."""
    if getattr(ctx.opened_session, "modified", False):
        ctx.opened_session.modified = False


async def _nothing(ctx: Context) -> None:
    """What a request left for its response is run by `outward`, in `leave` or at the accept."""


async def rescue(way: Plan, ctx: Context, error: Exception) -> Any:
    """Ask the error handlers. Before the accept their answer refuses; after it, it says how to close."""
    socket = socket_of(ctx)
    if socket.state is State.CLOSED and is_disconnect(error):
        return None
    if not socket.is_greeted:
        return await way.rescue(ctx, error)
    socket.leave_with(INTERNAL, "")
    try:
        await way.rescue(ctx, error)
    except InvalidMessage as unanswered:
        if unanswered is not error:
            raise
    if isinstance(error, InvalidMessage):
        socket.leave_with(error.code, str(error))
    elif isinstance(error, HTTPException):
        if (error.code or 500) < 500:
            socket.leave_with(POLICY, error.description or error.name)
    else:
        # No answer of a handler's can reach the peer: what went wrong must be seen by somebody.
        app: Any = ctx.app
        app.log_exception((type(error), error, error.__traceback__))
    return None


def is_disconnect(error: BaseException) -> bool:
    """Whether an error says nothing but that the peer has gone; several tasks of a view may have heard of it."""
    if isinstance(error, BaseExceptionGroup):
        return all(map(is_disconnect, error.exceptions))
    return isinstance(error, WebSocketDisconnect)


async def fail(way: Plan, ctx: Context, error: Exception) -> None:
    """What nothing answered: logged and, before the accept, a 500."""
    socket = socket_of(ctx)
    greeting = ctx.response if socket.is_greeted else None
    if greeting is not None:
        socket.leave_with(INTERNAL, "")
    await way.fail(ctx, error)
    if greeting is not None:
        ctx.response = greeting


# -- where a handshake comes from ---------------------------------------------------------------------


def allowed_origins(told: Any) -> frozenset[str] | Literal["*"]:
    """Read `origins=`.

    Raises:
        BadRule: what is no origin.
    """
    if told is None:
        return frozenset()
    if told == "*":
        return "*"
    found = set()
    for one in [told] if isinstance(told, str) else told:
        parts = urlsplit(one)
        # A page's, so never "wss:": such a one would match nothing, and nobody would know why.
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/") or parts.query or not _has_port(parts):
            raise BadRule(f"{one!r} is no origin of a WebSocket's page; write scheme and host, as in 'https://a.example', or '*' for every one")
        found.add(_normal(one))
    return frozenset(found)


def check_origin(allowed: frozenset[str] | Literal["*"], ctx: Context) -> None:
    """Refuse a handshake that a page of another site makes: the browser sends our cookies along.

    Raises:
        Forbidden: it comes from elsewhere.

    Source: RFC 6455 §10.2; Fetch Metadata for `Sec-Fetch-Site`. No Origin: no browser.
    """
    if allowed == "*":
        return
    request: Any = ctx.request
    origin: str | None = request.header("origin")
    if origin is not None:
        if _normal(origin) in allowed:
            return
        if request.header("sec-fetch-site") != "cross-site" and is_same_host(origin, request.host):
            return
    elif request.header("sec-fetch-site") != "cross-site":
        return
    log.info("a WebSocket handshake of a page of %s for %s is refused; allow it by origins= or WEBSOCKET_ORIGINS", origin, request.host)
    raise Forbidden("Pages of other sites may not connect here.")


def is_same_host(origin: str, host: str) -> bool:
    """Whether an origin is at a host, ports that are not written being those of the origin's scheme."""
    try:
        theirs, ours = urlsplit(origin), urlsplit(f"//{host}")
        default = _DEFAULT_PORTS[theirs.scheme]
        return bool(theirs.hostname) and (theirs.hostname, theirs.port or default) == (ours.hostname, ours.port or default)
    except (KeyError, ValueError):
        return False  # "null", or no origin at all


def _has_port(parts: SplitResult) -> bool:
    """Whether the port, if one is written, is a number of a port."""
    try:
        return parts.port != 0
    except ValueError:
        return False


def _normal(origin: str) -> str:
    """An origin in one spelling: lower-case, its port written."""
    try:
        parts = urlsplit(origin)
        return f"{parts.scheme}://{parts.hostname}:{parts.port or _DEFAULT_PORTS[parts.scheme]}"
    except (KeyError, ValueError):
        return origin
