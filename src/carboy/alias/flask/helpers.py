"""`flask.helpers`."""

from __future__ import annotations

import importlib.util as importlib_util
import os as os
import sys as sys
from typing import Any

import werkzeug.utils as werkzeug_utils
from werkzeug.exceptions import abort as _wz_abort
from werkzeug.utils import redirect as _wz_redirect
from werkzeug.wrappers import Response as BaseResponse

from ...core.commands import get_debug_flag as get_debug_flag
from ...core.commands import get_load_dotenv as get_load_dotenv
from ...core.paths import root_path_of as get_root_path
from ...core.request import blueprint_names as _split_blueprint_path
from ...core.stream import stream_with_context as stream_with_context
from ...helpers import abort as abort
from ...helpers import flash as flash
from ...helpers import get_flashed_messages as get_flashed_messages
from ...helpers import get_template_attribute as get_template_attribute
from ...helpers import make_response as make_response
from ...helpers import redirect as redirect
from ...helpers import send_file as send_file
from ...helpers import send_from_directory as send_from_directory
from ...helpers import url_for as url_for
from .globals import _cv_app as _cv_app
from .globals import _cv_request as _cv_request
from .globals import current_app as current_app
from .globals import request as request
from .globals import request_ctx as request_ctx
from .globals import session as session
from .signals import message_flashed as message_flashed


def _prepare_send_file_kwargs(**kwargs: Any) -> dict[str, Any]:
    """The arguments of Werkzeug's `send_file` for the current request and app."""
    ctx = request_ctx
    app: Any = ctx.app
    if kwargs.get("max_age") is None:
        kwargs["max_age"] = app.get_send_file_max_age
    kwargs.update(
        environ=request.environ,
        use_x_sendfile=app.config["USE_X_SENDFILE"],
        response_class=app.response_class,
        _root_path=app.root_path,
    )
    return kwargs


__all__ = (
    "BaseResponse", "_cv_app", "_cv_request", "_prepare_send_file_kwargs", "_split_blueprint_path", "_wz_abort",
    "_wz_redirect", "abort", "current_app", "flash", "get_debug_flag", "get_flashed_messages", "get_load_dotenv",
    "get_root_path", "get_template_attribute", "importlib_util", "make_response", "message_flashed", "os", "redirect",
    "request", "request_ctx", "send_file", "send_from_directory", "session", "stream_with_context", "sys", "url_for",
    "werkzeug_utils",
)  # fmt: skip
