"""Configuration: a dict with ways to fill it, and app attributes that stand in it."""

from __future__ import annotations

import errno
import json
import os
import types
from collections.abc import Callable
from typing import IO, Any, Generic, TypeVar, overload

from werkzeug.utils import import_string

T = TypeVar("T")


class ConfigAttribute(Generic[T]):
    """An attribute of the app that is an entry of its config."""

    def __init__(self, name: str, get_converter: Callable[[Any], T] | None = None) -> None:
        self.__name__ = name
        self.get_converter = get_converter

    @overload
    def __get__(self, obj: None, owner: None) -> ConfigAttribute[T]: ...
    @overload
    def __get__(self, obj: Any, owner: type[Any]) -> T: ...
    def __get__(self, obj: Any | None, owner: type[Any] | None = None) -> T | ConfigAttribute[T]:
        if obj is None:
            return self
        value = obj.config[self.__name__]
        return self.get_converter(value) if self.get_converter is not None else value

    def __set__(self, obj: Any, value: Any) -> None:
        obj.config[self.__name__] = value


class Config(dict[str, Any]):
    """An app's settings. Only upper-case names are taken from objects, files and mappings.

    Args:
        root_path: relative file names start here.
        defaults: the first content.

    Source: the documented behaviour of Flask 3.1's `Config`.
    """

    def __init__(self, root_path: str | os.PathLike[str], defaults: dict[str, Any] | None = None) -> None:
        super().__init__(defaults or {})
        self.root_path = root_path
        #: Called with no arguments after a change; the app then compiles its plans anew.
        self.changed: Callable[[], None] | None = None

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, value)
        if self.changed is not None:
            self.changed()

    def __delitem__(self, key: str) -> None:
        super().__delitem__(key)
        if self.changed is not None:
            self.changed()

    def update(self, *args: Any, **kwargs: Any) -> None:
        super().update(*args, **kwargs)
        if self.changed is not None:
            self.changed()

    def setdefault(self, key: str, default: Any = None) -> Any:
        if key not in self:
            self[key] = default
        return self[key]

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.root_path, dict(self))

    def from_envvar(self, variable_name: str, silent: bool = False) -> bool:
        """Load the file that an environment variable names, as `from_pyfile` does.

        Returns:
            True if it was loaded.

        Raises:
            RuntimeError: the variable is not set, and *silent* is false.
        """
        name = os.environ.get(variable_name)
        if name:
            return self.from_pyfile(name, silent=silent)
        if silent:
            return False
        raise RuntimeError(
            f"the environment variable {variable_name!r} is not set, and the configuration could not be loaded;"
            f" set {variable_name} to the path of a configuration file"
        )

    def from_prefixed_env(self, prefix: str = "FLASK", *, loads: Callable[[str], Any] = json.loads) -> bool:
        """Load every environment variable that starts with `PREFIX_`, in sorted order.

        A value is parsed with *loads* and kept as text where that fails. `A__B` sets a key of the dict `A`.
        """
        start = f"{prefix}_"
        for variable in sorted(os.environ):
            if not variable.startswith(start):
                continue
            value: Any = os.environ[variable]
            try:
                value = loads(value)
            except Exception:  # FLASK: whatever the parser raises, the text itself is the value
                value = os.environ[variable]
            *parents, last = variable.removeprefix(start).split("__")
            place: dict[str, Any] = self
            for parent in parents:
                # Not setdefault on self: a nested dict is changed in place.
                if parent not in place:
                    place[parent] = {}
                place = place[parent]
            place[last] = value
        return True

    def from_pyfile(self, filename: str | os.PathLike[str], silent: bool = False) -> bool:
        """Run a Python file and load its upper-case names.

        Raises:
            OSError: it cannot be read; with *silent*, only where it is there and cannot be read.
        """
        path = os.path.join(self.root_path, filename)
        module = types.ModuleType("config")
        module.__file__ = str(path)
        try:
            with open(path, mode="rb") as file:
                exec(compile(file.read(), path, "exec"), module.__dict__)  # noqa: S102  # a configuration file is code
        except OSError as error:
            if silent and error.errno in (errno.ENOENT, errno.EISDIR, errno.ENOTDIR):
                return False
            error.strerror = f"Unable to load configuration file ({error.strerror})"
            raise
        self.from_object(module)
        return True

    def from_object(self, obj: object | str) -> None:
        """Load the upper-case attributes of a module, class or object, or of what an import string names."""
        if isinstance(obj, str):
            obj = import_string(obj)
        for key in dir(obj):
            if key.isupper():
                self[key] = getattr(obj, key)

    def from_file(
        self,
        filename: str | os.PathLike[str],
        load: Callable[[IO[Any]], Any],
        silent: bool = False,
        text: bool = True,
    ) -> bool:
        """Load the mapping that *load* makes of a file: `config.from_file("c.toml", tomllib.load, text=False)`."""
        path = os.path.join(self.root_path, filename)
        try:
            with open(path, "r" if text else "rb") as file:
                values = load(file)
        except OSError as error:
            if silent and error.errno in (errno.ENOENT, errno.EISDIR):
                return False
            error.strerror = f"Unable to load configuration file ({error.strerror})"
            raise
        return self.from_mapping(values)

    def from_mapping(self, mapping: Any = None, **kwargs: Any) -> bool:
        """Load the upper-case keys of a mapping and of the keyword arguments."""
        values: dict[str, Any] = dict(mapping) if mapping is not None else {}
        values.update(kwargs)
        for key, value in values.items():
            if key.isupper():
                self[key] = value
        return True

    def get_namespace(self, namespace: str, lowercase: bool = True, trim_namespace: bool = True) -> dict[str, Any]:
        """Return the entries whose key starts with *namespace*, as keyword arguments for something."""
        found = {}
        for key, value in self.items():
            if key.startswith(namespace):
                name = key[len(namespace) :] if trim_namespace else key
                found[name.lower() if lowercase else name] = value
        return found

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {dict.__repr__(self)}>"

