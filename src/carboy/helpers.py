"""Functions for guests that work on the current app and request."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import IO, Any, NoReturn

import werkzeug.exceptions
import werkzeug.utils
from jinja2 import Template
from werkzeug.wrappers import Response as WerkzeugResponse

from .core import flash as flashing
from .core.ctx import Context, app_var, request_var
from .core.response import Response
from .globals import app_ctx, current_app, request_ctx
from .standard import static, templating


def _current_request() -> Context:
    return request_ctx._get_current_object()  # type: ignore[attr-defined, no-any-return]  # it is a proxy


def url_for(
    endpoint: str,
    *,
    _anchor: str | None = None,
    _method: str | None = None,
    _scheme: str | None = None,
    _external: bool | None = None,
    **values: Any,
) -> str:
    """Build the URL of an endpoint of the current app; see `Carboy.url_for`."""
    return current_app.url_for(
        endpoint, _anchor=_anchor, _method=_method, _scheme=_scheme, _external=_external, **values
    )


def redirect(location: str, code: int = 302, Response: type[WerkzeugResponse] | None = None) -> WerkzeugResponse:  # noqa: N803  # Flask's name
    """Make a redirect; with the current app's own method where there is one."""
    ctx = app_var.get(None)
    if ctx is not None:
        app: Any = ctx.app
        return app.redirect(location, code=code)  # type: ignore[no-any-return]  # overridable
    return werkzeug.utils.redirect(location, code=code, Response=Response)


def abort(code: int | WerkzeugResponse, *args: Any, **kwargs: Any) -> NoReturn:
    """Raise the HTTP exception of a status code, or one that answers with a response."""
    ctx = app_var.get(None)
    if ctx is not None:
        app: Any = ctx.app
        app.aborter(code, *args, **kwargs)
    werkzeug.exceptions.abort(code, *args, **kwargs)


def make_response(*args: Any) -> Response:
    """Make a response of what a view could return, so that headers can be set on it."""
    if not args:
        return current_app.response_class()  # type: ignore[no-any-return]  # the app's class
    return current_app.make_response(args[0] if len(args) == 1 else args)  # type: ignore[no-any-return]


def jsonify(*args: Any, **kwargs: Any) -> Response:
    """Make a JSON response of values, as `app.json.response` does."""
    return current_app.json.response(*args, **kwargs)  # type: ignore[return-value]  # the app's class


def flash(message: str, category: str = "message") -> None:
    """Keep a message for the next page."""
    flashing.flash(_current_request(), message, category)


def get_flashed_messages(with_categories: bool = False, category_filter: Iterable[str] = ()) -> list[Any]:
    """Take the messages that were kept."""
    return flashing.get_flashed_messages(_current_request(), with_categories, category_filter)


def get_template_attribute(template_name: str, attribute: str) -> Any:
    """A macro or variable of a template, to be used from Python."""
    return getattr(current_app.jinja_env.get_template(template_name).module, attribute)


def render_template(template_name_or_list: str | Template | list[str | Template], **context: Any) -> str:
    """Render a template by its name, or the first that exists."""
    return templating.render(_current_app_ctx(), template_name_or_list, context)


def render_template_string(source: str, **context: Any) -> str:
    """Render a template from its source."""
    return templating.render_string(_current_app_ctx(), source, context)


def stream_template(template_name_or_list: str | Template | list[str | Template], **context: Any) -> Iterator[str]:
    """Render a template as a stream."""
    return templating.stream(_current_app_ctx(), template_name_or_list, context)


def stream_template_string(source: str, **context: Any) -> Iterator[str]:
    """Render a template from its source as a stream."""
    return templating.stream_string(_current_app_ctx(), source, context)


def send_file(
    path_or_file: os.PathLike[str] | str | IO[bytes],
    mimetype: str | None = None,
    as_attachment: bool = False,
    download_name: str | None = None,
    conditional: bool = True,
    etag: bool | str = True,
    last_modified: datetime | int | float | None = None,
    max_age: Any = None,
) -> Response:
    """Answer with a file; never pass a path that a client gave, use `send_from_directory`."""
    response: Any = static.send_file(
        _current_request(),
        path_or_file,
        mimetype,
        as_attachment,
        download_name,
        conditional,
        etag,
        last_modified,
        max_age,
    )
    return response  # type: ignore[no-any-return]  # the app's class


def send_from_directory(directory: os.PathLike[str] | str, path: os.PathLike[str] | str, **kwargs: Any) -> Response:
    """Answer with a file below a directory, whatever the client put into the path.

    Raises:
        NotFound: there is none, or the path leads out of the directory.
    """
    response: Any = static.send_from_directory(_current_request(), directory, path, **kwargs)
    return response  # type: ignore[no-any-return]  # the app's class


def _current_app_ctx() -> Context:
    # Not the request's own: a template is rendered for the app whose context is innermost.
    ctx = request_var.get(None)
    current = app_var.get(None)
    if ctx is not None and current is not None and ctx.app is current.app:
        return ctx
    return app_ctx._get_current_object()  # type: ignore[attr-defined, no-any-return]  # it is a proxy
