"""`flask.cli`: the very module in which these names live, so that a patch of one of them takes effect."""

import sys

from ...cli import flask_commands

sys.modules[__name__] = flask_commands
