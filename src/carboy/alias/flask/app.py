"""`flask.app`: Flask is Carboy."""

from __future__ import annotations

from werkzeug.routing import Rule as Rule

from ...app import Carboy
from ...core.base import make_timedelta
from ...core.ctx import _sentinel as _sentinel
from .blueprints import Blueprint as Blueprint
from .config import Config as Config
from .config import ConfigAttribute as ConfigAttribute
from .ctx import AppContext as AppContext
from .ctx import RequestContext as RequestContext
from .ctx import _AppCtxGlobals as _AppCtxGlobals
from .globals import _cv_app as _cv_app
from .globals import _cv_request as _cv_request
from .globals import current_app as current_app
from .globals import g as g
from .globals import request as request
from .globals import request_ctx as request_ctx
from .globals import session as session
from .helpers import get_debug_flag as get_debug_flag
from .helpers import get_flashed_messages as get_flashed_messages
from .helpers import get_load_dotenv as get_load_dotenv
from .helpers import send_from_directory as send_from_directory
from .sansio.app import App as App
from .sansio.scaffold import setupmethod as setupmethod
from .sessions import SecureCookieSessionInterface as SecureCookieSessionInterface
from .sessions import SessionInterface as SessionInterface
from .signals import appcontext_tearing_down as appcontext_tearing_down
from .signals import got_request_exception as got_request_exception
from .signals import request_finished as request_finished
from .signals import request_started as request_started
from .signals import request_tearing_down as request_tearing_down
from .templating import Environment as Environment
from .wrappers import Request as Request
from .wrappers import Response as Response

Flask = Carboy
_make_timedelta = make_timedelta
