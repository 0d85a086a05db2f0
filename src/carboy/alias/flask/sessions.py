"""`flask.sessions`."""

from ...standard.sessions import NullSession as NullSession
from ...standard.sessions import SecureCookieSession as SecureCookieSession
from ...standard.sessions import SecureCookieSessionInterface as SecureCookieSessionInterface
from ...standard.sessions import SessionInterface as SessionInterface
from ...standard.sessions import SessionMixin as SessionMixin
from ...standard.sessions import _sha1 as _lazy_sha1
from ...standard.sessions import session_json_serializer as session_json_serializer
from .json.tag import TaggedJSONSerializer as TaggedJSONSerializer

__all__ = (
    "NullSession",
    "SecureCookieSession",
    "SecureCookieSessionInterface",
    "SessionInterface",
    "SessionMixin",
    "TaggedJSONSerializer",
    "_lazy_sha1",
    "session_json_serializer",
)
