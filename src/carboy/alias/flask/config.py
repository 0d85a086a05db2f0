"""`flask.config`."""

from ...core.config import Config as Config
from ...core.config import ConfigAttribute as ConfigAttribute
