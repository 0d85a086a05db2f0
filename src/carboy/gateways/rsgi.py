"""The RSGI door (granian's own protocol).

Whole answers are 8 to 15 % faster here than through ASGI. Its streams have no back-pressure and end cleanly after an
exception (granian 2.8.7: `send_bytes` took 400 MB for a client that read nothing, without once waiting), so a stream is
spooled first: what a client sees is whole, or an error. A stream of events is sent as it comes, and ended after some
bytes: an end is nothing special to its client, which comes back for the rest.
"""

from __future__ import annotations

import functools
import logging
import tempfile
from typing import Any

from werkzeug.exceptions import HTTPException

from ..pipeline.drive import drive, run
from ..pipeline.offload import offload
from ..pipeline.plan import Plan
from ..wire.body import MEMORY_THRESHOLD, BodyBuffer, BodyMeter, BodyTruncated, declared_length
from ..wire.errors import MalformedPath
from ..wire.files import FilePayload
from ..wire.response import BODILESS, Answer, HeaderPairs, final_headers
from .arriving import Incoming, hand_over
from .bridge import detour_rsgi, whole_wsgi_response
from .emit import MOST_EVENTS, MOST_SPOOLED, close, is_empty, is_event_stream, joined, makes_own_output
from .flow import Flow, as_bytes, flow_of
from .gone import ClientGone, UntilGone, until_gone
from .heads import MALFORMED, RsgiHead, lowered
from .served import Served, Visit

_CHUNK = 64 * 1024


async def application(app: Served, scope: Any, protocol: Any) -> None:
    """Serve one RSGI scope; `Carboy.__rsgi__` is this function."""
    if scope.proto != "http":
        protocol.close(404)
        return
    if app.has_detours:
        if await detour_rsgi(app, scope, protocol):
            return
    method: str = scope.method
    try:
        path = path_of(scope.path)
    except MalformedPath:
        path = MALFORMED
    head = RsgiHead(scope, path)
    request = app.request_class.from_head(head, method, path)
    ctx: Visit = app.find(request, True)
    plan = ctx.plan
    incoming: Incoming | None = None
    if has_body(scope):
        if plan.is_async and plan.view_awaits and not plan.reads_body:
            plan = ctx.plan = let_arrive(app, plan, head, protocol)
        else:
            # Also for a `def` view that would read it as it comes.
            plan = ctx.plan = await read_body(app, plan, head, protocol)
        incoming = hand_over(head, request)
    try:
        if not plan.is_async:
            response = await offload(drive, run(plan, ctx))
        else:
            # The first step here, not in `until_gone`: a view that answers at once makes neither object nor frame.
            journey = run(plan, ctx)
            try:
                waits_for = journey.send(None)
            except StopIteration as stop:
                response = stop.value
            else:
                if incoming is None:
                    response = await UntilGone(journey, waits_for, disconnected, protocol)
                else:
                    response = await UntilGone(journey, waits_for, functools.partial(left, incoming), protocol)
    except ClientGone:
        return
    finally:
        if incoming is not None:
            incoming.close()
    if type(response) is Answer:
        status, headers, body = response
        if method == "HEAD" or status in BODILESS:
            protocol.response_empty(status, list(map(_lowered, headers)))
        else:
            protocol.response_bytes(status, list(map(_lowered, headers)), body)
        return
    await emit(response, request, method, protocol)


# PERF: an Answer has one of a few content types and a length.
@functools.lru_cache(maxsize=1024)
def _lowered(pair: tuple[str, str]) -> tuple[str, str]:
    """A header pair as RSGI has it: a lower-case name."""
    return pair[0].lower(), pair[1]


async def disconnected(protocol: Any) -> None:
    """Wait until the client has gone."""
    await protocol.client_disconnect()


async def left(incoming: Incoming, protocol: Any) -> None:
    """The same while its body is still coming: granian sees it then only by reading on."""
    await incoming.gone()
    if incoming.is_over:
        await protocol.client_disconnect()


def path_of(path: str) -> str:
    """The path of an RSGI scope. Granian gives it decoded, with replacement characters for what was no UTF-8.

    Raises:
        MalformedPath: there is such a character.
    """
    if "�" in path:
        raise MalformedPath
    return "/" + path.lstrip("/")


def has_body(scope: Any) -> bool:
    """Whether a request says that it has a body; HTTP/2 need not say it."""
    headers = scope.headers
    if "content-length" in headers or "transfer-encoding" in headers:
        return True
    return bool(scope.http_version >= "2" and scope.method not in ("GET", "HEAD", "OPTIONS", "DELETE"))


async def read_body(app: Served, plan: Plan, head: RsgiHead, protocol: Any) -> Plan:
    """Read the body into `head.body`; a plan that raises is returned where it is too long or broken."""
    try:
        length = declared_length(head.scope.headers.get_all("content-length"))
        buffer = BodyBuffer(app.body_limit(plan), length)
        async for chunk in protocol:
            if chunk:
                buffer.feed(chunk)
        head.body = buffer.finish()
    except HTTPException as error:
        return plan.failing(error)
    return plan


def let_arrive(app: Served, plan: Plan, head: RsgiHead, protocol: Any) -> Plan:
    """Make `head.body` of what will come; a plan that raises is returned where the length told is too much or broken.

    This protocol hides that a body in chunks breaks off: it ends as if it were whole, here as where it is read at once.
    """
    try:
        length = declared_length(head.scope.headers.get_all("content-length"))
        meter = BodyMeter(app.body_limit(plan), length)
    except HTTPException as error:
        return plan.failing(error)
    pieces = aiter(protocol)
    size = 0

    async def next_piece() -> tuple[bytes, bool]:
        nonlocal size
        # Not `async for`: it would ask for an iterator anew, which granian gives once. Where a body breaks off there is an
        # empty piece, and then its end.
        try:
            while not (piece := await anext(pieces)):
                pass
        except StopAsyncIteration:
            piece = b""
        if piece:
            size += len(piece)
            return piece, True
        if length is not None and size < length:
            raise BodyTruncated
        return b"", False

    head.body = Incoming(next_piece, meter)
    return plan


async def emit(response: Any, request: Any, method: str, protocol: Any) -> None:
    """Send a Response; a stream is spooled first."""
    if makes_own_output(response):
        status, headers, whole = await whole_wsgi_response(response, request)
        protocol.response_bytes(status, lowered(headers), whole)
        return
    headers = lowered(final_headers(response, {}))
    body = response.response
    status = response.status_code
    try:
        if is_empty(response, method):
            protocol.response_empty(status, headers)
        elif type(body) is list or type(body) is tuple:
            protocol.response_bytes(status, headers, joined(body))
        elif type(body) is FilePayload:
            if body.is_whole_file:
                protocol.response_file(status, headers, str(body.path))
            else:
                protocol.response_file_range(status, headers, str(body.path), body.offset, body.offset + body.length)
        else:
            body = flow_of(body)
            if is_event_stream(headers):
                await until_gone(_events(status, headers, body, protocol), disconnected, protocol)
            else:
                await _spooled(status, headers, body, protocol)
    except ClientGone:
        pass  # closing what was being sent is all that is left to do
    except StreamRefused as error:
        logging.getLogger(__name__).error("%s %s: %s", method, request.path, error)
        protocol.response_empty(500, [])
    finally:
        await close(response, body)


class StreamRefused(RuntimeError):
    """This door cannot send a stream as it should be sent; `--interface asgi` can."""


async def _events(status: int, headers: HeaderPairs, flow: Flow, protocol: Any) -> None:
    """Send events as they come, up to `MOST_EVENTS` bytes; what ends there goes on when the client has come back."""
    transport = protocol.response_stream(status, headers)
    sent = 0
    rest = b""
    async for item in flow:
        # A generator of the application's own may give less than an event, or more.
        whole, blank, rest = (rest + as_bytes(item)).rpartition(b"\n\n")
        if blank:
            await transport.send_bytes(whole + blank)
            sent += len(whole) + 2
            if sent >= MOST_EVENTS:
                return
        elif len(rest) > MOST_EVENTS:
            logging.getLogger(__name__).error("an event of more than %d bytes: its stream ends; serve it with --interface asgi", MOST_EVENTS)
            return
    if rest:
        await transport.send_bytes(rest)


async def _spooled(status: int, headers: HeaderPairs, flow: Flow, protocol: Any) -> None:
    """Collect a stream, then send it: an error comes out before the first byte is sent.

    Raises:
        StreamRefused: it is too long to be kept.
        ClientGone: nobody waits for it any more.
    """

    async def collect(spool: Any) -> None:
        size = 0
        async for item in flow:
            chunk = as_bytes(item)
            size += len(chunk)
            if size > MOST_SPOOLED:
                raise StreamRefused(f"a stream of more than {MOST_SPOOLED} bytes cannot be spooled; serve it with --interface asgi")
            spool.write(chunk)

    with tempfile.SpooledTemporaryFile(max_size=MEMORY_THRESHOLD, mode="w+b") as spool:
        await until_gone(collect(spool), disconnected, protocol)
        spool.seek(0)
        if not spool._rolled:  # type: ignore[attr-defined]  # in memory still
            protocol.response_bytes(status, headers, spool.read())
            return
        transport = protocol.response_stream(status, headers)
        while chunk := spool.read(_CHUNK):
            await transport.send_bytes(chunk)
