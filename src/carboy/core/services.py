"""Services: recipes kept by the app, instances kept by the work that asked for them.

A recipe is a factory for a type. Asked for through a context, its instance lives as long as its scope: the context's
(`request`) or the app's (`app`). A generator factory is closed at the end of that life.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, cast

from .ctx import Context
from .errors import SetupError

T = TypeVar("T")
Scope = Literal["request", "app"]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a service is made.

    Attributes:
        kind: the type it is asked for by.
        factory: takes the app, or nothing; a generator function yields the instance once.
        scope: whose life it shares.
        ping: asks an instance whether it is well; raises if not. Feeds readiness.
        name: for people.
    """

    kind: type
    factory: Callable[..., Any]
    scope: Scope
    ping: Callable[[Any], Any] | None
    name: str


class Services:
    """An app's recipes, and the instances that live as long as the app."""

    def __init__(self) -> None:
        self.recipes: dict[type, Recipe] = {}
        self.made: dict[type, Any] = {}
        self.flows: list[Generator[Any, None, None]] = []
        self.lock = threading.RLock()

    def __iter__(self) -> Iterator[Recipe]:
        return iter(self.recipes.values())

    def add(self, recipe: Recipe) -> None:
        """Add a recipe.

        Raises:
            SetupError: the type has one, or the factory is async.
        """
        if recipe.kind in self.recipes:
            other = self.recipes[recipe.kind]
            raise SetupError(
                f"{recipe.kind.__qualname__} is provided twice, by {other.name!r} and by {recipe.name!r}; provide a"
                " subclass of it, or fit only one of them"
            )
        if inspect.iscoroutinefunction(recipe.factory) or inspect.isasyncgenfunction(recipe.factory):
            raise SetupError(
                f"the factory of {recipe.kind.__qualname__} is async; make it in a lifespan function and provide a factory"
                " that returns what was made"
            )
        self.recipes[recipe.kind] = recipe

    def get(self, ctx: Context, kind: type[T]) -> T:
        """The instance of a type for this piece of work, made at the first asking.

        Raises:
            LookupError: nothing provides the type.
        """
        recipe = self.recipes.get(kind)
        if recipe is None:
            known = ", ".join(sorted(one.__qualname__ for one in self.recipes)) or "none"
            raise LookupError(f"nothing provides {kind.__qualname__}; provided are: {known}")
        if recipe.scope == "app":
            if kind not in self.made:
                with self.lock:
                    if kind not in self.made:
                        self.made[kind] = _make(ctx.app, recipe, self.flows)
            return cast(T, self.made[kind])
        made = ctx.services
        if made is None:
            made = ctx.services = ({}, [])
        instances, flows = made
        if kind not in instances:
            instances[kind] = _make(ctx.app, recipe, flows)
        return cast(T, instances[kind])

    def close(self) -> None:
        """End the instances that live as long as the app."""
        flows, self.flows = self.flows, []
        self.made.clear()
        close_flows(flows)


def _make(app: Any, recipe: Recipe, flows: list[Generator[Any, None, None]]) -> Any:
    made: Any = recipe.factory(app) if inspect.signature(recipe.factory).parameters else recipe.factory()
    if inspect.isgenerator(made):
        flow = cast("Generator[Any, None, None]", made)
        flows.append(flow)
        return next(flow)
    return made


def close_flows(flows: list[Generator[Any, None, None]]) -> None:
    """Resume generator factories after their yield, the last made first; all of them, then raise."""
    errors: list[Exception] = []
    for flow in reversed(flows):
        try:
            next(flow, None)
            flow.close()
        except Exception as error:
            errors.append(error)
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise ExceptionGroup("several services failed to close", errors)
