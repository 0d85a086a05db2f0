"""Step and segment: what a plan is made of.

A step is one declared piece of work with its origin, so that a plan can be printed. A segment is what the driver calls: a
step, or a run of neighbouring ones as one hop to a thread, where the plan is async and they may block.
"""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import FunctionType
from typing import Any

from .offload import hop


def is_async(function: Callable[..., Any]) -> bool:
    """Whether calling this gives an awaitable: `async def`, a partial of one, or an object whose `__call__` is one."""
    if type(function) is FunctionType and not function.__dict__:
        # PERF: nothing has marked or wrapped it, so its code says it: 0.15 µs for 0.5, and teardowns ask for each request.
        return bool(function.__code__.co_flags & inspect.CO_COROUTINE)
    while isinstance(function, functools.partial):
        function = function.func
    if inspect.iscoroutinefunction(function):
        return True
    if inspect.isroutine(function) or inspect.isclass(function):
        return False
    return inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004  # the bound method is wanted


def origin(function: Any) -> str:
    """Where a function was written, as `path:line`; `(built in)` where there is no source."""
    function = getattr(function, "view_class", function)
    while isinstance(function, functools.partial):
        function = function.func
    function = inspect.unwrap(function)
    code = getattr(function, "__code__", None)
    if code is not None:
        return f"{code.co_filename}:{code.co_firstlineno}"
    if inspect.isclass(function):
        try:
            return f"{inspect.getsourcefile(function)}:{inspect.getsourcelines(function)[1]}"
        except (OSError, TypeError):
            return "(built in)"
    call = getattr(type(function), "__call__", None)
    code = getattr(call, "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code is not None else "(built in)"


@dataclass(frozen=True, slots=True)
class Step:
    """One piece of work on a request's way.

    Attributes:
        call: takes the context; a result that is not None is an answer.
        phase: where it stands: layer, before, bind, view, respond, after, teardown.
        function: what the developer wrote; `call` may be an adapter around it.
        awaits: whether `call` gives an awaitable.
        blocking: whether it may block; framework steps do not.
        when: asked with the app when a plan is compiled; a step that says no has no place in it. None: always.
    """

    call: Callable[[Any], Any]
    phase: str
    function: Any
    awaits: bool = False
    blocking: bool = False
    when: Callable[[Any], bool] | None = None

    @property
    def name(self) -> str:
        function = self.function
        while isinstance(function, functools.partial):
            function = function.func
        return str(getattr(function, "__qualname__", None) or type(function).__qualname__)

    @property
    def where(self) -> str:
        return origin(self.function)

    @property
    def colour(self) -> str:
        return "async" if self.awaits else "sync"


@dataclass(frozen=True, slots=True)
class Segment:
    """A step as the driver calls it, or neighbours that are called as one.

    Attributes:
        call: takes the context, gives an answer or None, or an awaitable of that.
        awaits: whether the result must be awaited.
    """

    call: Callable[[Any], Any]
    awaits: bool


def _in_turn(calls: tuple[Callable[[Any], Any], ...]) -> Callable[[Any], Any]:
    if len(calls) == 1:
        return calls[0]

    def in_turn(ctx: Any) -> Any:
        for call in calls:
            answer = call(ctx)
            if answer is not None:
                return answer
        return None

    return in_turn


def _as_hop(call: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda ctx: hop(ctx, call, ctx)


def segments(steps: Iterable[Step], *, on_loop: bool) -> tuple[Segment, ...]:
    """Make of steps what the driver calls, in their order.

    Args:
        steps: what the plan calls in this phase.
        on_loop: the plan is followed on an event loop, so what may block goes to a thread: neighbours share one hop.
    """
    made = []
    for hops, run in itertools.groupby(steps, lambda step: step.blocking and on_loop and not step.awaits):
        if hops:
            made.append(Segment(_as_hop(_in_turn(tuple(step.call for step in run))), True))
        else:
            # PERF: one by one: a frame less than in turn.
            made += [Segment(step.call, step.awaits) for step in run]
    return tuple(made)
