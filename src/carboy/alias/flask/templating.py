"""`flask.templating`."""

from __future__ import annotations

from typing import Any

from ...core.ctx import app_var, request_var
from ...helpers import render_template as render_template
from ...helpers import render_template_string as render_template_string
from ...helpers import stream_template as stream_template
from ...helpers import stream_template_string as stream_template_string
from ...standard.templating import DispatchingJinjaLoader as DispatchingJinjaLoader
from ...standard.templating import Environment as Environment
from ...standard.templating import _render as _render
from ...standard.templating import _stream as _stream
from .globals import current_app as current_app
from .globals import request as request
from .signals import before_render_template as before_render_template
from .signals import template_rendered as template_rendered


def _default_template_ctx_processor() -> dict[str, Any]:
    """`g`, and in a request `request` and `session`, as every template has them."""
    names: dict[str, Any] = {}
    app_ctx = app_var.get(None)
    if app_ctx is not None:
        names["g"] = app_ctx.g
    request_ctx = request_var.get(None)
    if request_ctx is not None:
        names["request"] = request_ctx.request
        names["session"] = request_ctx.session
    return names


__all__ = (
    "DispatchingJinjaLoader", "Environment", "_default_template_ctx_processor", "_render", "_stream",
    "before_render_template", "current_app", "render_template", "render_template_string", "request",
    "stream_template", "stream_template_string", "template_rendered",
)  # fmt: skip
