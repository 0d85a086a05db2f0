"""The driver: `run` is the only statement of a request's order in the house.

It is awaited on a loop, or driven without any loop when the plan is wholly sync.
"""

from __future__ import annotations

from collections.abc import Coroutine, Generator
from typing import Any, TypeVar

from .plan import Journey, Plan
from .signals import request_finished, request_started

T = TypeVar("T")


async def run(plan: Plan, ctx: Journey) -> Any:
    """Follow the plan and return the response.

    Raises:
        Exception: what nothing answered and `plan.fail` raised again (debug, testing), or what a teardown raised.
    """
    error: BaseException | None = None
    ctx.push()
    try:
        opened: list[Generator[None, None, None]] = []
        failure: Exception | None = None
        try:
            try:
                for layer in plan.layers:
                    flow = layer(ctx)
                    next(flow)
                    opened.append(flow)
                if request_started.receivers:
                    plan.started(ctx)
                answer = (await inward(plan, ctx)) if plan.inward else None
                if answer is None:
                    answer = plan.view(**plan.bind(ctx))
                    if plan.view_awaits:
                        answer = await answer
            except Exception as exc:
                answer = await plan.rescue(ctx, exc)
            ctx.response = plan.respond(ctx, answer)
            if plan.outward or ctx.after:
                await outward(plan, ctx)
            if request_finished.receivers:
                plan.finished(ctx)
        except Exception as exc:
            failure = exc
        for flow in reversed(opened):  # a layer may swallow or replace the error
            failure = leave(flow, failure)
        if failure is None and ctx.response is None:
            failure = RuntimeError("a layer swallowed the request's error and left no response; set ctx.response")
        if failure is not None:
            error = failure
            await plan.fail(ctx, failure)
        if ctx.starting is not None:
            ctx.starting(ctx.response)
    except BaseException as exc:
        error = exc
        raise
    finally:
        if plan.teardown is not None:
            await plan.teardown(ctx, error)
        ctx.pop(error)
    return ctx.response


async def inward(plan: Plan, ctx: Journey) -> Any:
    """Call what runs before the view, to the first answer."""
    for segment in plan.inward:
        answer = segment.call(ctx)
        if segment.awaits:
            answer = await answer
        if answer is not None:
            return answer
    return None


async def outward(plan: Plan, ctx: Journey) -> None:
    """Call what runs on the response: first what the request itself asked for, then what was declared."""
    if ctx.after:
        await plan.afterwards(ctx)
    for segment in plan.outward:
        result = segment.call(ctx)
        if segment.awaits:
            await result


def leave(flow: Generator[None, None, None], error: Exception | None) -> Exception | None:
    """Resume a layer after its yield; return the error that remains, if any."""
    try:
        if error is None:
            next(flow)
        else:
            flow.throw(error)
    except StopIteration:
        return None
    except Exception as exc:
        return exc
    flow.close()
    return RuntimeError(f"layer {getattr(flow, '__qualname__', flow)} yields more than once")


def drive(journey: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never suspends; no event loop is made."""
    try:
        journey.send(None)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]  # the coroutine's return type is T
    journey.close()
    raise RuntimeError("a plan compiled as sync has suspended; one of its steps awaits")
