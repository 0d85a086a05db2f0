"""`flask.testing`."""

from ...core.commands import ScriptInfo as ScriptInfo
from ...testing.client import Client as FlaskClient
from ...testing.client import EnvironBuilder as EnvironBuilder
from ...testing.runner import CliRunner as FlaskCliRunner
from .sessions import SessionMixin as SessionMixin

__all__ = ("EnvironBuilder", "FlaskCliRunner", "FlaskClient", "ScriptInfo", "SessionMixin")
