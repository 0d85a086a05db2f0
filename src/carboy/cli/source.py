"""Who answers a rule: the function, its colour, and the line where it is written.

It reads the registries that an application shows to everybody (`url_map`, `view_functions`), so it works on a
subclass, an extension's wrapper and a class view alike. What a request really walks through is told by its plan.
"""

import inspect
import os
import sys
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

from ..pipeline.step import is_async, origin

#: Answered by the framework where a view does not do it itself.
AUTOMATIC = frozenset({"HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class Answerer:
    """A function that answers some methods of a rule.

    Attributes:
        methods: sorted.
        name: as its author calls it, `Class.method` in a class view.
        module: the dotted name of the module it is written in.
        colour: `sync` or `async`.
        where: `file:line`.
    """

    methods: tuple[str, ...]
    name: str
    module: str
    colour: str
    where: str


@dataclass(frozen=True, slots=True)
class Route:
    """A rule with those who answer it, one for each function."""

    rule: str
    endpoint: str
    domain: str
    answerers: tuple[Answerer, ...]


def routes_of(app: Any, *, all_methods: bool = False) -> list[Route]:
    """All routes in the order in which rules are tried.

    Args:
        app: the application, whatever its class.
        all_methods: count HEAD and OPTIONS too.
    """
    routes = []
    for rule in app.url_map.iter_rules():
        methods = {"WS"} if rule.websocket else rule.methods or {"ANY"}
        if not all_methods and methods - AUTOMATIC:
            methods = methods - AUTOMATIC
        view = app.view_functions.get(rule.endpoint)
        answerers = answerers_of(view, methods) if view is not None else (_nobody(methods),)
        domain = (rule.host if app.url_map.host_matching else rule.subdomain) or ""
        routes.append(Route(rule.rule, str(rule.endpoint), domain, answerers))
    return routes


def answerers_of(view: Callable[..., Any], methods: Collection[str]) -> tuple[Answerer, ...]:
    """Take a view apart: one answerer, or one for each method of a class view."""
    cls = getattr(view, "view_class", None)
    by_function: dict[Callable[..., Any], list[str]] = {}
    for method in sorted(methods):
        by_function.setdefault(_method_of(cls, method) or view, []).append(method)
    if cls is not None and view in by_function and len(by_function) > 1:
        # OPTIONS, which the class leaves to the framework, belongs to no function of its own.
        first, *_ = (function for function in by_function if function is not view)
        by_function[first] = sorted(by_function[first] + by_function.pop(view))
    per_method = getattr(view, "per_method", None)
    own_colour = cls is None or (per_method is not None and per_method.view is view)
    return tuple(
        Answerer(
            tuple(names),
            _name(function),
            str(getattr(inspect.unwrap(function), "__module__", None) or "?"),
            # NOTE: a decorator around a class view is what the engine calls; its colour counts, not the method's.
            "async" if is_async(function if own_colour else view) else "sync",
            near(origin(function)),
        )
        for function, names in sorted(by_function.items(), key=lambda item: item[1])
    )


def near(where: str) -> str:
    """Shorten the path of a `file:line`: from the working directory, or from where it is imported."""
    path, colon, line = where.rpartition(":")
    if not colon or not os.path.isabs(path):
        return where
    folders = sorted((os.path.realpath(folder) for folder in sys.path if folder), key=len, reverse=True)
    for folder in (os.path.realpath(os.curdir), *folders):
        inner = os.path.relpath(os.path.realpath(path), folder)
        # A library below the working directory (a .venv) is better named from where it is imported.
        if not inner.startswith((os.pardir, "." + os.sep)) and "site-packages" not in inner:
            return f"{inner}:{line}"
    return where


def modules_of(routes: Iterable[Route]) -> dict[str, dict[tuple[str, str], list[Answerer]]]:
    """Sort routes by module, then by (domain, rule): the shape of `routes --tree`."""
    tree: dict[str, dict[tuple[str, str], list[Answerer]]] = {}
    for route in routes:
        for answerer in route.answerers:
            rules = tree.setdefault(answerer.module, {})
            rules.setdefault((route.domain, route.rule), []).append(answerer)
    return dict(sorted(tree.items()))


def _nobody(methods: Iterable[str]) -> Answerer:
    return Answerer(tuple(sorted(methods)), "(no view)", "(no view)", "", "")


def _method_of(cls: type | None, method: str) -> Callable[..., Any] | None:
    """The function of a class view that answers a method."""
    names = ("head", "get") if method == "HEAD" else ("websocket",) if method == "WS" else (method.lower(),)
    for name in names if cls is not None else ():
        function = getattr(cls, name, None)
        if inspect.isfunction(function):
            return function
    has_methods = any(inspect.isfunction(getattr(cls, name, None)) for name in ("get", "post", "put", "patch", "delete"))
    dispatch = getattr(cls, "dispatch_request", None)
    return dispatch if cls is not None and not has_methods and inspect.isfunction(dispatch) else None


def _name(function: Callable[..., Any]) -> str:
    plain = inspect.unwrap(function)
    name = str(getattr(plain, "__qualname__", None) or type(plain).__qualname__)
    return name.rpartition("<locals>.")[2]
