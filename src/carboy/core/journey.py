"""The parts of a request's way that stand beside the view: errors, what comes after, teardown.

Each is one text for both colours: it is given `invoke`, which calls a guest's function in the plan's way. In a sync
plan `invoke` never suspends, so the text can be driven without a loop.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import Any

from werkzeug.exceptions import BadRequestKeyError, HTTPException, InternalServerError
from werkzeug.routing import RoutingException

from ..pipeline.drive import outward
from ..pipeline.offload import hop
from ..pipeline.plan import Plan
from ..pipeline.signals import appcontext_tearing_down, got_request_exception, request_finished, request_tearing_down
from ..pipeline.step import is_async, origin
from .ctx import Context, request_var
from .respond import whole

Invoke = Callable[..., Awaitable[Any]]


def invoke_sync(app: Any) -> Invoke:
    """Call in this thread; an `async def` goes through the portal."""

    async def invoke(function: Callable[..., Any], *args: Any) -> Any:
        return app.ensure_sync(function)(*args)

    return invoke


async def invoke_on_loop(function: Callable[..., Any], *args: Any) -> Any:
    """Await an `async def`; a `def` may block, so it goes to a thread."""
    if is_async(function):
        return await function(*args)
    return await hop(request_var.get(), function, *args)


# -- errors ---------------------------------------------------------------------------------------


def find_error_handler(app: Any, error: Exception, blueprints: list[str]) -> Callable[..., Any] | None:
    """The handler for an error: by code then class, the blueprint's own before the app's, nearest class first.

    Source: Flask's documented resolution order.
    """
    error_class, code = app._get_exc_class_and_code(type(error))
    spec = app.error_handler_spec
    for wanted in (code, None) if code is not None else (None,):
        for name in (*blueprints, None):
            by_code = spec.get(name)
            handlers = by_code.get(wanted) if by_code else None
            if not handlers:
                continue
            for base in error_class.__mro__:
                handler = handlers.get(base)
                if handler is not None:
                    return handler  # type: ignore[no-any-return]  # a guest's function
    return None


def handler_or_answer(app: Any, request: Any, error: Exception) -> tuple[Callable[..., Any] | None, Any]:
    """What to do with an error of the way in or the view: a handler to call, or the answer itself.

    Raises:
        Exception: *error*, where nothing answers it.
    """
    if isinstance(error, BadRequestKeyError) and (app.debug or app.config["TRAP_BAD_REQUEST_ERRORS"]):
        error.show_exception = True
    is_http = isinstance(error, HTTPException) and not app.trap_http_exception(error)
    if is_http and (error.code is None or isinstance(error, RoutingException)):  # type: ignore[attr-defined]  # an HTTPException
        # A proxy of a whole response, or a redirect of the router: already an answer.
        return None, error
    handler = find_error_handler(app, error, request.blueprints)
    if handler is None and not is_http:
        raise error
    return handler, error


async def rescue(invoke: Invoke, ctx: Context, error: Exception) -> Any:
    """Answer an error of the way in or of the view, or raise it again."""
    app: Any = ctx.app
    if app.is_replaced("handle_user_exception") or app.is_replaced("handle_http_exception"):
        return await invoke(app.handle_user_exception, error)
    handler, answer = handler_or_answer(app, ctx.request, error)
    return answer if handler is None else await invoke(handler, answer)


async def fail(invoke: Invoke, ctx: Context, error: Exception, plan: Plan | None = None) -> None:
    """Make the 500 of an error that nothing answered, as `ctx.response`.

    Args:
        plan: what runs after the response; the context's own unless told.

    Raises:
        Exception: *error* itself, where errors propagate (debug, testing).
    """
    app: Any = ctx.app
    if app.is_replaced("handle_exception"):
        ctx.response = await invoke(app.handle_exception, error)
    else:
        await fail_by_hand(invoke, plan or ctx.plan, ctx, error)


async def fail_by_hand(invoke: Invoke, plan: Plan, ctx: Context, error: Exception) -> None:
    """What `handle_exception` does unless it is replaced."""
    app: Any = ctx.app
    if got_request_exception.receivers:
        got_request_exception.send(app, _async_wrapper=app.ensure_sync, exception=error)
    propagate = app.config["PROPAGATE_EXCEPTIONS"]
    if propagate is None:
        propagate = app.testing or app.debug
    if propagate:
        raise error
    app.log_exception((type(error), error, error.__traceback__))
    answer: Any = InternalServerError(original_exception=error)
    handler = find_error_handler(app, answer, ctx.request.blueprints)  # type: ignore[attr-defined]  # the core's request
    if handler is not None:
        answer = await invoke(handler, answer)
    if app.is_replaced("finalize_request"):
        ctx.response = await invoke(app.finalize_request, answer, True)
        return
    ctx.response = app.make_response(answer)
    try:
        await outward(plan, ctx)
        if request_finished.receivers:
            request_finished.send(app, _async_wrapper=app.ensure_sync, response=whole(ctx))
    except Exception:
        app.logger.exception("Request finalizing failed with an error while handling an error")


# -- after ----------------------------------------------------------------------------------------


async def afterwards(invoke: Invoke, ctx: Context) -> None:
    """Call what the request itself left for its response (`after_this_request`)."""
    for function in ctx.after or ():
        ctx.response = passed_on(function, await invoke(function, whole(ctx)))


def passed_on(function: Callable[..., Any], response: Any) -> Any:
    """What a function made of the response it was given.

    Raises:
        TypeError: nothing; most likely its `return` was forgotten.
    """
    if response is None:
        name = getattr(function, "__qualname__", function)
        raise TypeError(f"{name} ({origin(function)}) was given a response and returned None; an after_request function returns the response")
    return response


# -- teardown -------------------------------------------------------------------------------------


async def tear_down(invoke: Invoke, ctx: Context, exc: BaseException | None, owns_app: bool) -> None:
    """Run every teardown function, then raise what they raised.

    Args:
        owns_app: the app's context ends too, not only the request's.
    """
    app: Any = ctx.app
    errors: list[BaseException] = []
    if ctx.has_request:
        if app.is_replaced("do_teardown_request"):
            await _collect(errors, invoke, app.do_teardown_request, exc)
        else:
            await tear_down_request(invoke, ctx, exc, errors)
        close = getattr(ctx.request, "close", None)
        if close is not None:
            close()
    if owns_app:
        if app.is_replaced("do_teardown_appcontext"):
            await _collect(errors, invoke, app.do_teardown_appcontext, exc)
        else:
            await tear_down_app(invoke, app, exc, errors)
    raise_collected(errors)


async def tear_down_request(invoke: Invoke, ctx: Context, exc: BaseException | None, errors: list[BaseException]) -> None:
    """Run the request's teardown functions, last declared first, blueprints' before the app's."""
    app: Any = ctx.app
    registry = app.teardown_request_funcs
    if registry:
        for name in (*ctx.request.blueprints, None):  # type: ignore[attr-defined]  # the core's request
            for function in reversed(registry.get(name, ())):
                await _collect(errors, invoke, function, exc)
    if request_tearing_down.receivers:
        request_tearing_down.send(app, _async_wrapper=app.ensure_sync, exc=exc)


async def tear_down_app(invoke: Invoke, app: Any, exc: BaseException | None, errors: list[BaseException]) -> None:
    """Run the app context's teardown functions, last declared first."""
    for function in reversed(app.teardown_appcontext_funcs):
        await _collect(errors, invoke, function, exc)
    if appcontext_tearing_down.receivers:
        appcontext_tearing_down.send(app, _async_wrapper=app.ensure_sync, exc=exc)


async def _collect(errors: list[BaseException], invoke: Invoke, function: Callable[..., Any], exc: BaseException | None) -> None:
    try:
        await invoke(function, exc)
    except Exception as error:
        errors.append(error)


def raise_collected(errors: list[BaseException]) -> None:
    """Raise one error as it is, several as a group."""
    if not errors:
        return
    if len(errors) == 1:
        raise errors[0]
    raise BaseExceptionGroup("several teardown functions failed", errors)


def current_error(exc: Any, sentinel: object) -> BaseException | None:
    """The error given, or the one being handled."""
    return sys.exc_info()[1] if exc is sentinel else exc
