"""`flask.views`."""

from ...standard.views import MethodView as MethodView
from ...standard.views import View as View
from ...standard.views import http_method_funcs as http_method_funcs
from .globals import current_app as current_app
from .globals import request as request
