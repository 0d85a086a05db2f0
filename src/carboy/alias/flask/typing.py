"""`flask.typing`."""

from ...typing import *  # noqa: F403  # every name of it is Flask's
