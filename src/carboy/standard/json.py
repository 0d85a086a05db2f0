"""The JSON provider an app carries as `app.json`: how its values become JSON and JSON becomes values.

Replace it, or parts of it, by subclassing or by setting its attributes. How the text is made is `wire/json.py`; here is
only what an app decides: the options, and the response around the text.
"""

from __future__ import annotations

import json
import weakref
from collections.abc import Callable
from typing import IO, Any, AnyStr, Protocol

from werkzeug.wrappers import Response

from ..wire import json as wire

__all__ = ["DefaultJSONProvider", "JSONProvider"]

# Any, in this file: JSON values, and keyword arguments that belong to whichever library a provider uses.

_OPTIONS = frozenset({"default", "ensure_ascii", "indent", "separators", "sort_keys"})
_COMPACT = (",", ":")


class App(Protocol):
    """What a provider needs of its app."""

    @property
    def debug(self) -> bool: ...
    @property
    def response_class(self) -> Callable[..., Response]: ...


class JSONProvider:
    """JSON operations for an app. A subclass gives `dumps` and `loads`; the rest follows.

    Args:
        app: held weakly, as the app holds the provider.

    Example:
        >>> class Plain(JSONProvider):
        ...     def dumps(self, obj, **kwargs):
        ...         return json.dumps(obj, **kwargs)
        ...
        ...     def loads(self, s, **kwargs):
        ...         return json.loads(s, **kwargs)
        >>> app.json = Plain(app)
    """

    def __init__(self, app: App) -> None:
        self._app: App = weakref.proxy(app)

    def dumps(self, obj: Any, **kwargs: Any) -> str:
        """Write a value as JSON text.

        Args:
            kwargs: whatever the library behind the provider takes.
        """
        raise NotImplementedError(f"{type(self).__name__} must define dumps(obj, **kwargs)")

    def dump(self, obj: Any, fp: IO[str], **kwargs: Any) -> None:
        """Write a value as JSON into a file opened for text (UTF-8)."""
        fp.write(self.dumps(obj, **kwargs))

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        """Read JSON from text or bytes.

        Raises:
            ValueError: it is not JSON; a request that carried it is then answered with 400.
        """
        raise NotImplementedError(f"{type(self).__name__} must define loads(s, **kwargs)")

    def load(self, fp: IO[AnyStr], **kwargs: Any) -> Any:
        """Read JSON from a file opened for text or for bytes."""
        return self.loads(fp.read(), **kwargs)

    def response(self, *args: Any, **kwargs: Any) -> Response:
        """Make a response of values, `jsonify`'s way.

        Args:
            args: one value to write, or several to write as a list; none are `null`.
            kwargs: instead of `args`, the items of a dict to write.

        Raises:
            TypeError: both are given.
        """
        obj = self._prepare_response_obj(args, kwargs)
        return self._app.response_class(self.dumps(obj), mimetype="application/json")

    def _prepare_response_obj(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if args and kwargs:
            raise TypeError("app.json.response() takes either args or kwargs, not both")
        if not args and not kwargs:
            return None
        if len(args) == 1:
            return args[0]
        return args or kwargs


class DefaultJSONProvider(JSONProvider):
    """JSON as the standard library writes it, with dates, decimals, UUIDs, dataclasses and `__html__` besides.

    Attributes:
        default: gives a JSON value for an object that JSON has no word for, or raises TypeError.
        ensure_ascii: write characters beyond ASCII as escapes. Off makes other languages' texts smaller.
        sort_keys: write the keys of every dict in order, so that equal values are equal texts (and cacheable). Needs
            keys of one type.
        compact: no indentation, line breaks and spaces in responses. None: only in debug mode are there any.
        mimetype: of the responses.

    Example:
        >>> app.json.sort_keys = False
        >>> app.json.dumps({"b": 1, "a": 2})
        '{"b": 1, "a": 2}'
    """

    default: Callable[[Any], Any] = staticmethod(wire.default)
    ensure_ascii: bool = True
    sort_keys: bool = True
    compact: bool | None = None
    mimetype: str = "application/json"

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        # The functions that routes have chosen by these attributes are old.
        thaw = getattr(self._app, "thaw", None)
        if thaw is not None:
            thaw()

    def dumps(self, obj: Any, **kwargs: Any) -> str:
        """Write a value as JSON text.

        Args:
            kwargs: arguments of `json.dumps`; `default`, `ensure_ascii` and `sort_keys` are the provider's own if not
                given.
        """
        kwargs.setdefault("default", self.default)
        kwargs.setdefault("ensure_ascii", self.ensure_ascii)
        kwargs.setdefault("sort_keys", self.sort_keys)
        if kwargs.keys() <= _OPTIONS:
            return wire.dumps(obj, **kwargs)
        return json.dumps(obj, **kwargs)  # `cls`, `skipkeys`, `allow_nan` …: the standard library's own

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        """Read JSON from text or bytes.

        Args:
            kwargs: arguments of `json.loads`.
        """
        return json.loads(s, **kwargs) if kwargs else wire.loads(s)

    def response(self, *args: Any, **kwargs: Any) -> Response:
        """Make a response of values, `jsonify`'s way, by the provider's attributes.

        Args:
            args: one value to write, or several to write as a list; none are `null`.
            kwargs: instead of `args`, the items of a dict to write.

        Raises:
            TypeError: both are given.
        """
        obj = self._prepare_response_obj(args, kwargs)
        return self._app.response_class(self._body(obj), mimetype=self.mimetype)

    @property
    def encode_response(self) -> Callable[[Any], bytes] | None:
        """The function that gives the body of a response to one value, as the attributes and the app are now.

        It saves building a response. None if a subclass, or somebody on this object, has replaced `response`: then only
        calling that will do.
        """
        if not _is(self.response, DefaultJSONProvider.response):
            return None
        if self._is_laid_out or not _is(self.dumps, DefaultJSONProvider.dumps):
            return self._body
        # PERF: past the text, and past five frames: 0.8 µs less.
        return wire.line_encoder(self.default, self.sort_keys, self.ensure_ascii)

    @property
    def is_standard(self) -> bool:
        """Whether the text is still that of a provider nobody has touched; how responses are laid out aside."""
        return (
            # PERF: `_is`, without its frame: asked twice a session.
            getattr(self.dumps, "__func__", None) is DefaultJSONProvider.dumps
            and getattr(self.loads, "__func__", None) is DefaultJSONProvider.loads
            and self.default is wire.default
            and self.ensure_ascii
            and self.sort_keys
        )

    @property
    def _is_laid_out(self) -> bool:
        return self.compact is False or (self.compact is None and self._app.debug)

    def _body(self, obj: Any) -> bytes:
        text = self.dumps(obj, indent=2) if self._is_laid_out else self.dumps(obj, separators=_COMPACT)
        return f"{text}\n".encode()


def _is(method: Callable[..., Any], function: Callable[..., Any]) -> bool:
    """Tell whether a bound method is this function: not overridden by a subclass, nor replaced on the object."""
    return getattr(method, "__func__", None) is function
