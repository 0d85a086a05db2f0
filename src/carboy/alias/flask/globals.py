"""`flask.globals`."""

from ...core.ctx import app_var as _cv_app
from ...core.ctx import request_var as _cv_request
from ...globals import app_ctx as app_ctx
from ...globals import current_app as current_app
from ...globals import g as g
from ...globals import request as request
from ...globals import request_ctx as request_ctx
from ...globals import session as session

__all__ = ("_cv_app", "_cv_request", "app_ctx", "current_app", "g", "request", "request_ctx", "session")
