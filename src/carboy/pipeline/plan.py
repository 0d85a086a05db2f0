"""A route's declarations, compiled: a frozen value that a request follows and a person can print."""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Coroutine, Generator
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from .step import Segment, Step

#: Code around a request: what stands before its one `yield` runs on the way in, what stands after on the way out.
Layer = Callable[[Any], Generator[None, None, None]]


class Journey(Protocol):
    """What the driver needs of a context."""

    response: Any
    after: list[Callable[[Any], Any]] | None
    #: Begins to send the response while the context is still there, for a door whose caller looks at it then.
    starting: Callable[[Any], None] | None
    #: The context variables as its hops to threads see them.
    hops: contextvars.Context | None

    def push(self) -> None: ...
    def pop(self, exc: BaseException | None = ...) -> None: ...


@dataclass(frozen=True, slots=True)
class Plan:
    """The way of every request to one route.

    Attributes:
        is_async: the plan is awaited on a loop; otherwise it never suspends and needs none.
        layers: outermost first.
        inward: what runs before the view; the first result that is not None is the answer.
        bind: gives the view's keyword arguments from the context.
        view: the view, colour-true.
        view_awaits: whether calling the view gives an awaitable.
        respond: makes a response of the view's result.
        rescue: gives the answer to an exception from the way in or the view, or raises again.
        fail: gives the response to an exception that nothing answered, or raises again.
        outward: what runs on the response, in order.
        afterwards: runs what the request itself left to be done on its response (`after_this_request`).
        teardown: runs the teardown functions of an async plan, those that must be awaited among them; None where the
            context's own `pop` does it.
        started: tells who listens that a request begins; finished: that its response is ready.
        reads_body: the gateway reads the body before it follows the plan; otherwise a sync view may read it as it comes.
        body_limit: most bytes of a body; None is the app's setting.
        inner: where a verb that a guest has replaced follows the plan as a whole, the plan without that verb: for what
            goes wrong outside it.
        steps: everything above as declared, for people.
    """

    is_async: bool
    layers: tuple[Layer, ...]
    inward: tuple[Segment, ...]
    bind: Callable[[Any], dict[str, Any]]
    view: Callable[..., Any]
    view_awaits: bool
    respond: Callable[[Any, Any], Any]
    rescue: Callable[[Any, Exception], Coroutine[Any, Any, Any]]
    fail: Callable[[Any, Exception], Coroutine[Any, Any, Any]]
    outward: tuple[Segment, ...]
    afterwards: Callable[[Any], Coroutine[Any, Any, None]]
    teardown: Callable[[Any, BaseException | None], Coroutine[Any, Any, None]] | None
    started: Callable[[Any], None]
    finished: Callable[[Any], None]
    reads_body: bool = True
    body_limit: int | None = None
    inner: Plan | None = None
    steps: tuple[Step, ...] = field(default=(), compare=False)

    def failing(self, error: Exception) -> Plan:
        """The same plan for a request that came with an error: answered by its handlers, seen by what stands after."""

        def fail(**_: Any) -> Any:
            raise error

        return replace(self.inner or self, inward=(), bind=_nothing, view=fail, view_awaits=False)


def _nothing(ctx: Any) -> dict[str, Any]:
    return {}
