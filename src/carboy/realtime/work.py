"""The context of work that is no request: a task, a background loop, a connection of another protocol.

It is an app context of its own (`current_app`, `g`, services) with its own teardown. Work that a request has left
behind sees that request besides, as it was: a snapshot that outlives the response.
"""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from contextvars import Token
from typing import Any

from ..core.ctx import Context, request_var
from ..core.journey import tear_down
from ..core.services import close_flows
from ..pipeline.offload import offload
from ..pipeline.step import is_async


class BodyGone(io.RawIOBase):
    """The body of a request that is over, for work that would read it too late."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        raise RuntimeError(
            "the body of this request is gone: the request is over, and this work goes on without it. Read the body in the"
            " view (request.get_data(), get_json(), form) before app.spawn(), or pass on what is needed as an argument."
        )


def snapshot_of(request: Any) -> Any:
    """A request for reading after its response: headers, URL, cookies, and what has been read of the body by now."""
    twin = copy.copy(request)
    if request.content_length or request.headers.get("Transfer-Encoding"):
        twin.__dict__["stream"] = BodyGone()
    else:
        twin.__dict__["stream"] = io.BytesIO()
    return twin


async def _invoke(function: Callable[..., Any], *args: Any) -> Any:
    """Await an `async def`; a `def` may block, so it goes to a thread."""
    if is_async(function):
        return await function(*args)
    return await offload(function, *args)


class Work:
    """One piece of work: opened and closed in the same `contextvars.Context`.

    Args:
        app: whose work it is.
        origin: the context of the request that left it behind, if one did.
    """

    __slots__ = ("app", "context", "seen", "token")

    def __init__(self, app: Any, origin: Context | None = None) -> None:
        self.app = app
        self.context = Context(app)
        self.seen: Context | None = None
        self.token: Token[Context] | None = None
        if origin is not None and origin.has_request:
            seen = self.seen = Context(app, snapshot_of(origin.request))
            seen.is_matched = True
            seen.opened_session = origin.opened_session
            seen._scope = self.context

    def open(self) -> None:
        """Make this the current app context."""
        self.context.push()
        if self.seen is not None:
            # What is provided for a piece of work is asked of the request's context, and ended with the app's.
            self.seen.services = self.context.services = ({}, [])
            self.token = request_var.set(self.seen)

    async def close(self, error: BaseException | None) -> None:
        """Run the teardown functions of the app context, then leave it.

        Raises:
            Exception: what a teardown function raised.
        """
        context = self.context
        try:
            if context.services is not None:
                close_flows(context.services[1])
            await tear_down(_invoke, context, error, True)
        finally:
            context.is_torn_down = True
            if self.token is not None:
                request_var.reset(self.token)
            context.pop(error)
