"""`flask.wrappers`."""

from werkzeug.wrappers import Request as RequestBase
from werkzeug.wrappers import Response as ResponseBase

from ...core.request import Request as Request
from ...core.response import Response as Response

__all__ = ("Request", "RequestBase", "Response", "ResponseBase")
