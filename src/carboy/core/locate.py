"""Finding the application: from a target such as `shop.web:create_app("dev")`, or from what lies in the directory.

The rules are Flask's, so that every project that works with `flask --app` is found here too. A failure says what was
looked for, where, and what to write instead; errors of the project's own code keep their cause.

An application is known by what its class can do. This file must not know the class itself: that class carries a
command group, and the group comes here to load it.
"""

import ast
import difflib
import importlib
import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn, Protocol, TypeGuard

import click

from .cycle import find_cycle, shown

APP_NAMES = ("app", "application")
FACTORY_NAMES = ("create_app", "make_app")
FILE_NAMES = ("wsgi.py", "app.py")

_APPLICATION = ("wsgi_app", "app_context", "register_blueprint")


class NoAppException(click.UsageError):
    """No application could be loaded; the message says why and what to do."""


class NothingHere(NoAppException):
    """No application was named, and the working directory has none of the usual files."""


class _Missing(NoAppException):
    """The module itself does not exist."""


class Application(Protocol):
    """What a command needs of an application, whatever its class."""

    name: str
    debug: bool

    def app_context(self) -> Any: ...  # a context manager; its class is the application's own choice


def is_application(value: object) -> TypeGuard[Application]:
    """Tell whether a value found in a module is an application object (and not a blueprint, a class or a proxy)."""
    # The class is asked, not the value: `from carboy import current_app` in a module must not count as a second
    # application, and asking the proxy raises where no context is active.
    return all(hasattr(type(value), name) for name in _APPLICATION)


def find_app(target: str | os.PathLike[str] | None = None) -> Application:
    """Load the application that a target names.

    Args:
        target: `[path/]module[:name]`; the module dotted or a file or a directory, the name a variable, a factory, or
            a factory with literal arguments in parentheses. None looks for `wsgi.py`, then `app.py`, here.

    Raises:
        NothingHere: no target, and neither file.
        NoAppException: nothing, or not one thing, or not an application was found; or the import failed.
    """
    if target is not None:
        path, name = split_target(os.fspath(target))
        if (inner := _project_file(path)) is not None:
            path = inner
        module = _imported(prepare_import(path))
        _must_be_the_file(path, module)
        return _chosen(module, name)
    for file in FILE_NAMES:
        app = locate_app(prepare_import(file), None, raise_if_not_found=False)
        if app is not None:
            return app
    raise _nothing_here()


def check_target(target: str | None) -> None:
    """See whether there is anything to import for a target, without importing it.

    For who leaves the import to another process: what is misspelt can be told before anything is started.

    Raises:
        NoAppException: there is neither such a file nor such a module.
    """
    if target is None:
        if not any(_is_there(prepare_import(file)) for file in FILE_NAMES):
            raise _nothing_here()
        return
    path, _ = split_target(target)
    module_name = prepare_import(_project_file(path) or path)
    if not _is_there(module_name):
        raise _Missing(_missing(module_name))


def _is_there(module_name: str) -> bool:
    """Tell whether the outermost package of a module can be found; looking further would import it."""
    top = module_name.partition(".")[0]
    try:
        return top in sys.modules or importlib.util.find_spec(top) is not None
    except (ImportError, ValueError):
        return False


def _nothing_here() -> NothingHere:
    return NothingHere(
        f"Could not find an application: there is no {' or '.join(FILE_NAMES)} in {os.getcwd()}.\n"
        "Name it with the '--app MODULE[:NAME]' option, or in the CARBOY_APP or FLASK_APP environment variable."
    )


def split_target(target: str) -> tuple[str, str | None]:
    """Split `module:name` at its colon; a drive letter's colon is part of the path."""
    drive, rest = os.path.splitdrive(target)
    path, colon, name = rest.partition(":")
    return drive + path, name if colon else None


def prepare_import(path: str | os.PathLike[str]) -> str:
    """Make a file, a package directory or a dotted name importable, and return the dotted name to import.

    The directory that holds the outermost package goes first in `sys.path`.
    """
    full = Path(os.path.realpath(path))
    if full.suffix == ".py":
        full = full.with_suffix("")
    if full.name == "__init__":
        full = full.parent
    parts = [full.name]
    folder = full.parent
    while (folder / "__init__.py").exists() and folder.name:
        parts.append(folder.name)
        folder = folder.parent
    if not sys.path or sys.path[0] != str(folder):
        sys.path.insert(0, str(folder))
    return ".".join(reversed(parts))


def locate_app(module_name: str, app_name: str | None, raise_if_not_found: bool = True) -> Application | None:
    """Import a module and find the application in it.

    Args:
        module_name: dotted, importable now.
        app_name: a variable, a factory, or a factory with literal arguments; None detects it.
        raise_if_not_found: False returns None if the module itself does not exist. An error inside an existing
            module is always raised.
    """
    try:
        module = _imported(module_name)
    except _Missing:
        if raise_if_not_found:
            raise
        return None
    return _chosen(module, app_name)


def find_best_app(module: ModuleType) -> Application:
    """Detect the application in a module: `app` or `application`, else the only one, else a factory's.

    Raises:
        NoAppException: there is none, there are several, or the factory needs arguments.
    """
    for name in APP_NAMES:
        value = getattr(module, name, None)
        if is_application(value):
            return value
    name_of = getattr(module, "__name__", "module")
    found = {name: value for name, value in vars(module).items() if is_application(value)}
    distinct = list({id(value): value for value in found.values()}.values())
    if len(distinct) == 1:
        return distinct[0]
    if distinct:
        choices = " or ".join(f"'{name_of}:{name}'" for name in found)
        raise NoAppException(f"There are several applications in module {name_of!r}. Say which: {choices}.")
    for name in FACTORY_NAMES:
        factory = getattr(module, name, None)
        if not inspect.isfunction(factory):
            continue
        if (refusal := _refusal(factory, (), {})) is not None:
            raise NoAppException(
                f"The factory {name!r} of module {name_of!r} cannot be called without arguments ({refusal}).\n"
                f"Give them: '{name_of}:{name}(…)'. They are read as Python literals."
            )
        made = _called(factory, f"{name_of}:{name}")
        if is_application(made):
            return made
    raise NoAppException(_nothing_in(module, name_of))


def find_app_by_string(module: ModuleType, app_name: str) -> Application:
    """Find the application by a name in the module, or by a call of a factory in it.

    Raises:
        NoAppException: the text is no name or call, the name does not exist, or it leads to no application.
    """
    name, args, kwargs = _parse(app_name)
    home = module.__name__
    target = f"{home}:{app_name.strip()}"
    try:
        value = getattr(module, name)
    except AttributeError as error:
        near = difflib.get_close_matches(name, vars(module), n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        file = getattr(module, "__file__", None)
        where = f" ({shown(file)})" if file else ""
        raise NoAppException(f"There is no {name!r} in module {home!r}{where}.{hint}") from error
    if args is not None or inspect.isfunction(value):
        if not callable(value):
            raise NoAppException(f"{target!r} calls {name!r}, which is a {type(value).__name__}; leave out the parentheses.")
        if (refusal := _refusal(value, args or (), kwargs)) is not None:
            raise NoAppException(
                f"The factory {name!r} of module {home!r} could not be called with the given arguments ({refusal}).\n"
                f"Its signature is {name}{inspect.signature(value)}."
            )
        value = _called(value, target, args or (), kwargs)
    if is_application(value):
        return value
    raise NoAppException(
        f"{target!r} gives no application but {_described(value)}. "
        "It must be a Carboy (or Flask) object, or a function that returns one."
    )


def _imported(module_name: str) -> ModuleType:
    try:
        __import__(module_name)
    except ImportError as error:
        if _is_missing(error, module_name):
            raise _Missing(_missing(module_name)) from error
        _explain_import(module_name, error)
    except (AttributeError, SyntaxError) as error:
        _explain_import(module_name, error)
    return sys.modules[module_name]


def _chosen(module: ModuleType, app_name: str | None) -> Application:
    return find_best_app(module) if app_name is None else find_app_by_string(module, app_name)


def _parse(app_name: str) -> tuple[str, tuple[Any, ...] | None, dict[str, Any]]:
    """Take `name` or `name(literals)` apart; without parentheses the arguments are None."""
    text = app_name.strip()
    try:
        node = ast.parse(text, mode="eval").body
    except SyntaxError as error:
        raise NoAppException(f"{text!r} is neither a name nor a call such as 'create_app(\"dev\")'.") from error
    match node:
        case ast.Name(id=name):
            return name, None, {}
        case ast.Call(func=ast.Name(id=name), args=args, keywords=keywords):
            try:
                if any(word.arg is None for word in keywords):
                    raise ValueError("** is not a literal")
                return (
                    name,
                    tuple(ast.literal_eval(arg) for arg in args),
                    {str(word.arg): ast.literal_eval(word.value) for word in keywords},
                )
            except ValueError as error:
                raise NoAppException(
                    f"The arguments of {text!r} are not Python literals; text stands in quotes, as in 'create_app(\"dev\")'."
                ) from error
    raise NoAppException(f"{text!r} is neither a plain name nor a call of one, such as 'create_app(\"dev\")'.")


def _refusal(factory: Callable[..., object], args: tuple[Any, ...], kwargs: dict[str, Any]) -> str | None:
    """Why the factory cannot take these arguments; None if it can. A TypeError from inside it is not this."""
    try:
        inspect.signature(factory, follow_wrapped=False).bind(*args, **kwargs)
    except TypeError as error:
        return str(error)
    except ValueError:  # a builtin without a signature
        return None
    return None


def _called(
    factory: Callable[..., object], target: str, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
) -> object:
    made = factory(*args, **kwargs or {})
    if inspect.iscoroutine(made):
        made.close()
        raise NoAppException(
            f"The factory {target!r} is an 'async def'; no loop runs while the application is made.\n"
            "Make it a 'def', and await what must be awaited at start-up in the application's lifespan."
        )
    return made


def _project_file(path: str) -> str | None:
    """For a directory that is no package: its `wsgi.py` or `app.py`, so that a project can be named by its folder."""
    folder = Path(path)
    if not folder.is_dir() or (folder / "__init__.py").exists() or Path(f"{path}.py").exists():
        return None
    return next((str(folder / file) for file in FILE_NAMES if (folder / file).exists()), None)


def _must_be_the_file(path: str, module: ModuleType) -> None:
    """Refuse a module of the same name from elsewhere: `flask.py` or `test.py` would load something else."""
    asked = next((file for file in (Path(path), Path(f"{path}.py")) if file.is_file() and file.suffix == ".py"), None)
    loaded = getattr(module, "__file__", None)
    if asked is None or loaded is None or not os.path.exists(loaded) or os.path.samefile(asked, loaded):
        return
    raise NoAppException(
        f"{shown(str(asked))} was asked for, but 'import {module.__name__}' gives {shown(loaded)}, imported before.\n"
        "Rename your file: its name is taken by another module."
    )


def _is_missing(error: ImportError, module_name: str) -> bool:
    """Tell whether the module itself (or a package above it) does not exist, rather than something it imports."""
    name = error.name if isinstance(error, ModuleNotFoundError) else None
    return name is not None and f"{module_name}.".startswith(f"{name}.") and not _own_frames(error)


def _missing(module_name: str) -> str:
    folder = Path(sys.path[0] or os.curdir)
    known = {entry.stem for entry in folder.glob("*.py")} | {entry.parent.name for entry in folder.glob("*/__init__.py")}
    top = module_name.partition(".")[0]
    lines = [f"Could not import {module_name!r}: it is neither in {folder} nor installed."]
    if "/" in module_name or os.sep in module_name:
        lines.append("A module is named with dots, a file with its '.py'.")
    elif top in known and module_name.endswith(".py"):
        lines.append(f"Say {top!r}, or the path of the file.")
    elif near := difflib.get_close_matches(top, sorted(known), n=1):
        lines.append(f"Did you mean {near[0]!r}?")
    return "\n".join(lines)


def _nothing_in(module: ModuleType, name: str) -> str:
    lines = [
        f"Could not find an application in module {name!r}: no {' or '.join(APP_NAMES)}, no other Carboy (or Flask) object,"
        f" no {' or '.join(FACTORY_NAMES)} that returns one.",
        f"Name it: '{name}:NAME' for a variable, '{name}:FACTORY(…)' for a function that returns the application.",
    ]
    for folder in map(Path, getattr(module, "__path__", ())):
        for file in FILE_NAMES:
            if (folder / file).exists():
                lines.append(f"The package has {shown(str(folder / file))}; did you mean '{name}.{Path(file).stem}'?")
    return "\n".join(lines)


def _described(value: object) -> str:
    if value is None:
        return "None (does the factory return what it makes?)"
    if inspect.isclass(value):
        return f"the class {value.__qualname__!r} itself"
    return f"a {type(value).__module__}.{type(value).__qualname__}"


def _explain_import(module_name: str, error: ImportError | AttributeError | SyntaxError) -> NoReturn:
    """Raise what is wrong in the project's own code, with the place; an AttributeError that is no cycle passes."""
    cycle = find_cycle(error)
    if cycle is not None:
        raise NoAppException(f"While importing {module_name!r}:\n{cycle}") from error
    if isinstance(error, SyntaxError):
        text = "".join(traceback.format_exception_only(error)).rstrip()
        raise NoAppException(
            f"While importing {module_name!r}: {type(error).__name__} in "
            f"{shown(error.filename or '?')}:{error.lineno or '?'}\n\n{text}"
        ) from error
    if isinstance(error, ImportError):
        frames = _own_frames(error)
        lines = traceback.format_list(frames) + traceback.format_exception_only(error)
        place = f" at {shown(frames[-1].filename)}:{frames[-1].lineno}" if frames else ""
        remedy = _install(error.name) if isinstance(error, ModuleNotFoundError) and error.name else ""
        raise NoAppException(
            f"While importing {module_name!r}, an ImportError was raised{place}:\n\n{''.join(lines).rstrip()}{remedy}"
        ) from error
    raise error


def _install(name: str) -> str:
    package = name.partition(".")[0]
    if package != name and package in sys.modules:
        where = getattr(sys.modules[package], "__file__", None)
        return f"\nRemedy: {package!r} ({shown(where) if where else 'built in'}) has no {name!r}; correct the name, or look at its version."
    return f"\nRemedy: install what provides {package!r} into {sys.prefix}, or correct the name."


def _own_frames(error: BaseException) -> list[traceback.FrameSummary]:
    """The traceback without this file's line and importlib's."""
    ours = {__file__, importlib.__file__}
    return [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename not in ours and not frame.filename.startswith("<frozen")
    ]
