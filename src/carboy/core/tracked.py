"""Registries with Flask's shapes that tell when they are edited.

Extensions read and edit `app.before_request_funcs`, `app.view_functions` and their like in place, before the first
request or in the middle of it. Plans are compiled from them once, so an edit must be seen: these are plain dicts and
lists that call back. A request pays nothing for it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any, Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


def _telling(base: type, names: tuple[str, ...]) -> dict[str, Any]:
    """Methods of *base* that also call `self.changed`."""

    def telling(name: str) -> Callable[..., Any]:
        plain = getattr(base, name)

        def method(self: Any, *args: Any, **kwargs: Any) -> Any:
            result = plain(self, *args, **kwargs)
            self.changed()
            return result

        method.__name__ = name
        method.__doc__ = plain.__doc__
        return method

    return {name: telling(name) for name in names}


_LIST = ("append", "extend", "insert", "remove", "pop", "clear", "sort", "reverse", "__setitem__", "__delitem__", "__iadd__")
_DICT = ("__setitem__", "__delitem__", "pop", "popitem", "clear", "update", "setdefault", "__ior__")


class TrackedList(list[V], Generic[V]):
    """A list that calls `changed` after each edit."""

    def __init__(self, changed: Callable[[], None], values: Any = ()) -> None:
        super().__init__(values)
        self.changed = changed

    def __reduce__(self) -> tuple[Any, ...]:
        return list, (list(self),)


class TrackedDict(dict[K, V], Generic[K, V]):
    """A dict that calls `changed` after each edit."""

    def __init__(self, changed: Callable[[], None], values: Any = ()) -> None:
        super().__init__(values)
        self.changed = changed

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)


class TrackedLists(defaultdict[K, list[V]], Generic[K, V]):
    """A `defaultdict(list)` whose lists are tracked too."""

    def __init__(self, changed: Callable[[], None]) -> None:
        super().__init__(list)
        self.changed = changed

    def __missing__(self, key: K) -> list[V]:
        made: TrackedList[V] = TrackedList(self.changed)
        # Not through __setitem__: an empty list changes nothing.
        dict.__setitem__(self, key, made)
        return made

    def __setitem__(self, key: K, value: list[V]) -> None:
        super().__setitem__(key, value if isinstance(value, TrackedList) else TrackedList(self.changed, value))
        self.changed()

    def setdefault(self, key: K, default: Any = ()) -> list[V]:
        if key not in self:
            self[key] = list(default or ())
        return self[key]

    def update(self, *args: Any, **kwargs: Any) -> None:
        values: dict[Any, Any] = dict(*args, **kwargs)
        for key, value in values.items():
            self[key] = value

    def __reduce__(self) -> tuple[Any, ...]:
        return defaultdict, (list, {key: list(value) for key, value in self.items()})


for _name, _method in _telling(list, _LIST).items():
    setattr(TrackedList, _name, _method)
for _name, _method in _telling(dict, _DICT).items():
    setattr(TrackedDict, _name, _method)
for _name, _method in _telling(defaultdict, ("__delitem__", "pop", "popitem", "clear")).items():
    setattr(TrackedLists, _name, _method)
