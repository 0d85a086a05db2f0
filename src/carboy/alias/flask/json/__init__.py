"""`flask.json`: with an app, its provider; without one, plain JSON with the same types known."""

from __future__ import annotations

import json as _json
from typing import IO, Any

from ....helpers import jsonify as jsonify
from ..globals import current_app as current_app
from .provider import _default as _default


def dumps(obj: Any, **kwargs: Any) -> str:
    """Serialize to text."""
    if current_app:
        return current_app.json.dumps(obj, **kwargs)
    kwargs.setdefault("default", _default)
    return _json.dumps(obj, **kwargs)


def dump(obj: Any, fp: IO[str], **kwargs: Any) -> None:
    """Serialize to a file."""
    if current_app:
        current_app.json.dump(obj, fp, **kwargs)
    else:
        kwargs.setdefault("default", _default)
        _json.dump(obj, fp, **kwargs)


def loads(s: str | bytes, **kwargs: Any) -> Any:
    """Parse text or bytes."""
    if current_app:
        return current_app.json.loads(s, **kwargs)
    return _json.loads(s, **kwargs)


def load(fp: IO[Any], **kwargs: Any) -> Any:
    """Parse a file."""
    if current_app:
        return current_app.json.load(fp, **kwargs)
    return _json.load(fp, **kwargs)
