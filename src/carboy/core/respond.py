"""From what a view returns to a response.

Two ways, chosen when the plan is compiled: `light` makes an Answer of a plain str, bytes, dict or list; everything
else, and every route whose hooks want to see a Response, goes through `make_response`.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any

from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as WerkzeugResponse

from ..pipeline import portal
from ..wire.response import Answer, HeaderPairs, is_bodiless
from .ctx import Context, request_var

#: Headers of a view's own that are left to Werkzeug: it corrects them, or makes them absolute.
_LEFT_TO_WERKZEUG = frozenset({"content-length", "location", "content-location"})

HTML = ("Content-Type", "text/html; charset=utf-8")


def make_response(app: Any, rv: Any) -> Any:
    """Make a response of a view's return value.

    Args:
        app: gives `response_class`, the JSON provider, and the converters that equipment has fitted.
        rv: text, bytes, a mapping or list (JSON), a generator, a response, a WSGI callable, or a tuple of one of these
            with a status, headers, or both. A coroutine is run, and what it returns is taken: so a decorator that knows
            only `def` views, and calls what it wraps, may stand on an `async def` view.

    Raises:
        TypeError: something else; the text names the view.
    """
    status: Any = None
    headers: Any = None
    if isinstance(rv, tuple):
        if len(rv) == 3:
            rv, status, headers = rv
        elif len(rv) == 2:
            if isinstance(rv[1], (Headers, dict, tuple, list)):
                rv, headers = rv
            else:
                rv, status = rv
        else:
            raise TypeError(
                "The view function did not return a valid response tuple. The tuple must have the form (body, status,"
                " headers), (body, status), or (body, headers)."
            )
    ctx = request_var.get(None)
    if rv is None:
        raise TypeError(
            f"The view function for {_endpoint(ctx)!r} did not return a valid response. The function either returned"
            " None or ended without a return statement."
        )
    response_class = app.response_class
    if not isinstance(rv, response_class):
        if isinstance(rv, Answer):
            rv = rv.to_response(response_class)
        elif isinstance(rv, (str, bytes, bytearray)) or isinstance(rv, Iterator) or hasattr(rv, "__anext__"):
            # Status and headers go in at once: a response of 204 is never given a content type it must lose again.
            rv = response_class(rv, status=status, headers=headers)
            status = headers = None
        elif converter := _converter(app, type(rv)):
            rv = make_response(app, converter(ctx, rv))
        elif isinstance(rv, (dict, list)):
            rv = app.json.response(rv)
        elif isinstance(rv, HTTPException) and type(rv).__call__ is HTTPException.__call__:
            # Not as the WSGI application it is: that would make a stream of its text.
            environ = ctx.request.environ if ctx is not None else None
            rv = response_class.force_type(rv.get_response(environ), environ)
        elif isinstance(rv, WerkzeugResponse) or callable(rv):
            try:
                rv = response_class.force_type(rv, ctx.request.environ if ctx is not None else None)
            except TypeError as error:
                raise TypeError(f"{error}\n{_valid_types(ctx)} but it was a {type(rv).__name__}.") from error
        elif inspect.iscoroutine(rv) and not _on_a_loop():
            rv = make_response(app, portal.run(rv))
        else:
            # Here a loop runs this thread; it cannot wait for what it has to run itself.
            hint = " Did an `async def` view get called without await?" if inspect.isawaitable(rv) else ""
            if inspect.iscoroutine(rv):
                rv.close()
            raise TypeError(f"{_valid_types(ctx)} but it was a {type(rv).__name__}.{hint}")
    if status is not None:
        if isinstance(status, (str, bytes, bytearray)):
            rv.status = status
        else:
            rv.status_code = status
    if headers:
        rv.headers.update(headers)
    return rv


def _on_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _endpoint(ctx: Context | None) -> str | None:
    return getattr(ctx.request, "endpoint", None) if ctx is not None else None


def _valid_types(ctx: Context | None) -> str:
    return (
        f"The view function for {_endpoint(ctx)!r} did not return a valid response. The return type must be a string,"
        " dict, list, tuple with headers or status, Response instance, or WSGI callable,"
    )


def _converter(app: Any, kind: type) -> Callable[[Any, Any], Any] | None:
    """The converter fitted for a type or one of its bases."""
    responders: dict[type, Callable[[Any, Any], Any]] = app.responders
    if not responders:
        return None
    for base in kind.__mro__:
        if base in responders:
            return responders[base]
    return None


def light(app: Any) -> Callable[[Context, Any], Any]:
    """Make the converter of a route whose hooks do not want to see a Response."""
    make = app.make_response
    response_class = app.response_class
    provider = app.json
    encode: Callable[[Any], bytes] | None = getattr(provider, "encode_response", None)
    plain = frozenset({str, bytes} if encode is None else {str, bytes, dict, list})
    # PERF: past the frame of a NamedTuple's own constructor.
    answer: Callable[[tuple[int, HeaderPairs, bytes]], Answer] = functools.partial(tuple.__new__, Answer)
    json_type = ("Content-Type", getattr(provider, "mimetype", "application/json"))

    def respond(ctx: Context, value: Any) -> Any:
        kind = type(value)
        if kind is str:
            body = value.encode()
            return answer((200, [HTML, ("Content-Length", str(len(body)))], body))
        if (kind is dict or kind is list) and encode is not None:
            body = encode(value)
            return answer((200, [json_type, ("Content-Length", str(len(body)))], body))
        if kind is Answer:
            return value
        if kind is bytes:
            return answer((200, [HTML, ("Content-Length", str(len(value)))], value))
        if kind is tuple and len(value) == 2 and type(value[0]) in plain:
            second = value[1]
            if type(second) is int and not is_bodiless(second):
                _, headers, body = respond(ctx, value[0])
                return answer((second, headers, body))
            if type(second) is dict:
                status, headers, body = respond(ctx, value[0])
                merged = _merged(headers, second)
                if merged is not None:
                    return answer((status, merged, body))
        # PERF: a Response is what it is: two frames less.
        return value if isinstance(value, response_class) else make(value)

    return respond


def _merged(headers: HeaderPairs, given: dict[Any, Any]) -> HeaderPairs | None:
    """A light answer's headers with those that a view gives; None where there is more to do than put them in.

    Args:
        headers: the content type and the length, a new list; changed in place.
    """
    for name, value in given.items():
        if type(name) is not str or type(value) is not str or not (value.isascii() and value.isprintable() and name.isascii()):
            return None
        lower = name.lower()
        if lower == "content-type":
            headers[0] = (name, value)
        elif lower in _LEFT_TO_WERKZEUG:
            return None
        else:
            headers.append((name, value))
    # One name in two spellings is one header, the last one's.
    return headers if len(given) < 2 or len({name.lower() for name in given}) == len(given) else None


def heavy(app: Any) -> Callable[[Context, Any], Any]:
    """Make the converter of a route whose hooks want a Response: the same, only whole."""
    convert = light(app)
    response_class = app.response_class

    def respond(ctx: Context, value: Any) -> Any:
        response = convert(ctx, value)
        return response.to_response(response_class) if type(response) is Answer else response

    return respond


def whole(ctx: Context) -> Any:
    """The context's response as a Response, for who wants to change it."""
    response = ctx.response
    if type(response) is Answer:
        app: Any = ctx.app
        response = ctx.response = response.to_response(app.response_class)
    return response
