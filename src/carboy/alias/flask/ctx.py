"""`flask.ctx`: Flask 3.1's two context classes, as two faces of Carboy's one."""

from __future__ import annotations

from typing import Any

from ...core.ctx import AppGlobals as _AppCtxGlobals
from ...core.ctx import Context
from ...core.ctx import _sentinel as _sentinel
from ...core.ctx import after_this_request as after_this_request
from ...core.ctx import app_var as _cv_app
from ...core.ctx import copy_current_request_context as copy_current_request_context
from ...core.ctx import has_app_context as has_app_context
from ...core.ctx import has_request_context as has_request_context
from ...core.ctx import request_var as _cv_request


class _AnyContext(type):
    """A context that the engine has made is an instance of Flask's class too."""

    def __instancecheck__(cls, instance: Any) -> bool:
        if super().__instancecheck__(instance):
            return True
        return cls.__module__ == __name__ and isinstance(instance, Context)


class AppContext(Context, metaclass=_AnyContext):
    """An app context, made by hand."""

    def __init__(self, app: Any) -> None:
        super().__init__(app)


class RequestContext(Context, metaclass=_AnyContext):
    """A request context, made by hand or by a subclass of Flask's."""

    def __init__(self, app: Any, environ: dict[str, Any], request: Any = None, session: Any = None) -> None:
        if request is None:
            request = app.request_class(environ)
            request.json_module = app.json
        super().__init__(app, request)
        self.session = session


__all__ = (
    "AppContext",
    "RequestContext",
    "_AppCtxGlobals",
    "_cv_app",
    "_cv_request",
    "after_this_request",
    "copy_current_request_context",
    "has_app_context",
    "has_request_context",
)
