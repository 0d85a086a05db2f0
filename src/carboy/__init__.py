"""Carboy: the Python micro-framework that needs no rewrite when the application becomes big.

    from carboy import Carboy

    app = Carboy(__name__)

    @app.get("/")
    def index():
        return "Hello!"

The face of the house: it defines nothing, and nothing inside imports it.
"""

from jinja2 import Template as Template
from werkzeug.exceptions import HTTPException as HTTPException

from .alias import install_unless_told as _install_alias
from .app import Carboy as Carboy
from .core.blueprint import Blueprint as Blueprint
from .core.config import Config as Config
from .core.ctx import after_this_request as after_this_request
from .core.ctx import copy_current_request_context as copy_current_request_context
from .core.ctx import has_app_context as has_app_context
from .core.ctx import has_request_context as has_request_context
from .core.errors import SetupError as SetupError
from .core.request import Request as Request
from .core.response import Response as Response
from .core.stream import stream_with_context as stream_with_context
from .extend import Extension as Extension
from .extend import Fitting as Fitting
from .globals import current_app as current_app
from .globals import g as g
from .globals import request as request
from .globals import session as session
from .helpers import abort as abort
from .helpers import flash as flash
from .helpers import get_flashed_messages as get_flashed_messages
from .helpers import get_template_attribute as get_template_attribute
from .helpers import jsonify as jsonify
from .helpers import make_response as make_response
from .helpers import redirect as redirect
from .helpers import render_template as render_template
from .helpers import render_template_string as render_template_string
from .helpers import send_file as send_file
from .helpers import send_from_directory as send_from_directory
from .helpers import stream_template as stream_template
from .helpers import stream_template_string as stream_template_string
from .helpers import url_for as url_for
from .pipeline.signals import appcontext_popped as appcontext_popped
from .pipeline.signals import appcontext_pushed as appcontext_pushed
from .pipeline.signals import appcontext_tearing_down as appcontext_tearing_down
from .pipeline.signals import before_render_template as before_render_template
from .pipeline.signals import got_request_exception as got_request_exception
from .pipeline.signals import message_flashed as message_flashed
from .pipeline.signals import request_finished as request_finished
from .pipeline.signals import request_started as request_started
from .pipeline.signals import request_tearing_down as request_tearing_down
from .pipeline.signals import template_rendered as template_rendered
from .realtime.sse import EventStream as EventStream
from .realtime.websocket import WebSocket as WebSocket
from .realtime.websocket import WebSocketDisconnect as WebSocketDisconnect
from .standard.sessions import SessionInterface as SessionInterface
from .standard.views import Handler as Handler
from .standard.views import MethodView as MethodView
from .standard.views import View as View

_install_alias()
