"""One text, two colours: logic with I/O in its middle, written once as a generator of commands.

`get, aget = both(_get)` gives a sync function and its async twin. A command is a call to make: `Call(sync, async_, args)`.
The generator yields it and is sent its result, or has its error thrown in.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine, Generator
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call:
    """I/O that the logic wants done: the same work in both colours."""

    sync: Callable[..., Any]
    awaits: Callable[..., Coroutine[Any, Any, Any]]
    args: tuple[Any, ...] = ()


def both(
    logic: Callable[P, Generator[Call, Any, T]],
) -> tuple[Callable[P, T], Callable[P, Coroutine[Any, Any, T]]]:
    """Return the sync and the async function that follow the same generator.

    Example:
        >>> def _double(read, aread):
        ...     value = yield Call(read, aread)
        ...     return 2 * value
        >>> double, adouble = both(_double)
        >>> double(lambda: 21, None)
        42
    """

    @functools.wraps(logic)
    def sync(*args: P.args, **kwargs: P.kwargs) -> T:
        flow = logic(*args, **kwargs)
        try:
            command = next(flow)
            while True:
                try:
                    result = command.sync(*command.args)
                except Exception as error:  # the logic decides what an error of its I/O means
                    command = flow.throw(error)
                else:
                    command = flow.send(result)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]  # the generator's return type is T
        finally:
            flow.close()

    @functools.wraps(logic)
    async def awaits(*args: P.args, **kwargs: P.kwargs) -> T:
        flow = logic(*args, **kwargs)
        try:
            command = next(flow)
            while True:
                try:
                    result = await command.awaits(*command.args)
                except Exception as error:  # as above
                    command = flow.throw(error)
                else:
                    command = flow.send(result)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]  # the generator's return type is T
        finally:
            flow.close()

    return sync, awaits
