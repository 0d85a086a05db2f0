"""`flask.json.provider`."""

from ....standard.json import DefaultJSONProvider as DefaultJSONProvider
from ....standard.json import JSONProvider as JSONProvider
from ....wire.json import default as _default

__all__ = ("DefaultJSONProvider", "JSONProvider", "_default")
