"""The socket for equipment: what an extension is, and the verbs it has. The one file an author of extensions reads.

    class Greeter:
        name = "greeter"
        requires = ()

        def setup(self, fit: Fitting) -> None:
            fit.before(say_hello)

    app.fit(Greeter())

Built-in equipment is fitted the same way, and so is anything with Flask's `init_app(app)`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar, runtime_checkable

import click
import msgspec

from .core.base import App
from .core.blueprint import Blueprint
from .core.ctx import Context, request_var
from .core.errors import SetupError
from .core.services import Recipe, Scope
from .pipeline.plan import Layer
from .pipeline.step import Step, is_async

T = TypeVar("T")
Hook = Callable[[Context], Any]


@runtime_checkable
class Extension(Protocol):
    """Something that can be fitted to an app. Built-in and third-party alike.

    Attributes:
        name: config prefix, service key, log name.
        requires: names that must be fitted first.
    """

    name: str
    requires: tuple[str, ...]

    def setup(self, fit: Fitting) -> None:
        """Declare; runs once, and does no I/O."""


class Fitting:
    """The verbs of an extension, bound to one app and one extension.

    Args:
        app: what is equipped.
        name: the extension's name.
    """

    def __init__(self, app: App, name: str) -> None:
        self.app = app
        self.name = name

    def config(self, section: type[T]) -> T:
        """Read a typed section of the config, from `NAME_*` keys, validated now.

        Args:
            section: a dataclass or `msgspec.Struct`; field `url` of an extension named "cache" is `CACHE_URL`.

        Raises:
            SetupError: a value of the wrong type, or one missing; the text names the key.
        """
        prefix = f"{self.name.upper()}_"
        values = {
            key.removeprefix(prefix).lower(): value for key, value in self.app.config.items() if key.startswith(prefix)
        }
        try:
            return msgspec.convert(values, section, strict=False)
        except msgspec.ValidationError as error:
            raise SetupError(
                f"the configuration of {self.name!r} is not valid: {error}. Its keys are those of"
                f" {section.__qualname__}, as {prefix}NAME in app.config"
            ) from error

    def provide(
        self,
        kind: type[Any],
        factory: Callable[..., Any],
        *,
        scope: Scope = "request",
        ping: Callable[[Any], Any] | None = None,
    ) -> None:
        """Provide a service: views get it by a parameter annotated with its type, others by `app.service(Type)`.

        Args:
            kind: the type.
            factory: takes the app or nothing; a generator function yields the instance, and is resumed at its end.
            scope: "request" for one each piece of work, "app" for one each process.
            ping: asks an instance whether it is well; raises if not.
        """
        self.app.services.add(Recipe(kind, factory, scope, ping, self.name))
        services = self.app.services
        self.app.sources[kind] = lambda ctx: services.get(ctx, kind)

    def before(
        self,
        f: Hook,
        *,
        first: bool = False,
        after: Hook | None = None,
        blocking: bool = True,
        when: Callable[[App], bool] | None = None,
    ) -> None:
        """Run a step before the view, after the app's equipment and before the guests' hooks.

        Args:
            f: takes the context; a result that is not None is the answer. May be async.
            first: before all that is fitted.
            after: right after this step.
            blocking: whether it may block; one that never does is run on the event loop itself.
            when: asked each time plans are compiled; where it says no, the step has no place in them.
        """
        _place(self.app.fitted_before, self._step(f, "before", blocking, when), first, after)

    def after(
        self,
        f: Hook,
        *,
        first: bool = False,
        after: Hook | None = None,
        blocking: bool = True,
        when: Callable[[App], bool] | None = None,
    ) -> None:
        """Run a step on the response (`ctx.response`), after the guests' own.

        A function with the attribute `takes_answer = True` works on a light `Answer` too; with any other step a route's
        responses are whole Responses. The session is saved by the last step; `first=True` stands before it.
        """
        _place(self.app.fitted_after, self._step(f, "after", blocking, when), first, after)

    def layer(self, layer: Layer) -> None:
        """Put code around each request: a generator function with one `yield`, given the context."""
        self.app.layers.append(layer)

    def source(self, kind: type[Any], extract: Callable[[Context], Any]) -> None:
        """Fill view parameters annotated with a type."""
        self.app.sources[kind] = extract
        self.app.thaw()

    def respond(self, kind: type[Any], convert: Callable[[Context, Any], Any]) -> None:
        """Make a response, or another return value, of what a view returns of this type."""
        self.app.responders[kind] = convert
        self.app.thaw()

    def on_error(self, error: type[Exception] | int, handler: Callable[[Any], Any]) -> None:
        """Answer an exception or a status, unless a guest's handler is nearer."""
        self.app.register_error_handler(error, handler)

    def routes(self, blueprint: Blueprint, **options: Any) -> None:
        """Add pages."""
        self.app.register_blueprint(blueprint, **options)

    def command(self, command: click.Command) -> None:
        """Add a verb to the command line."""
        self.app.cli.add_command(command)

    def template(
        self, *, filters: Mapping[str, Callable[..., Any]] | None = None, tests: Mapping[str, Callable[..., Any]] | None = None, **names: Any
    ) -> None:
        """Add globals, filters and tests to the templates."""
        environment = self.app.jinja_env
        environment.globals.update(names)
        environment.filters.update(filters or {})
        environment.tests.update(tests or {})

    def listen(self, signal: Any, f: Callable[..., Any]) -> None:
        """Receive a signal of this app."""
        # weak=False: a lambda or a method of the extension has no other owner.
        signal.connect(f, sender=self.app, weak=False)

    def lifespan(self, span: Callable[..., Any]) -> None:
        """Start and stop something: a generator function, sync or async, with one `yield`."""
        self.app.lifespan_functions.append(span)

    @staticmethod
    def context() -> Context | None:
        """The context of the request at hand, for code that is called without one; None outside of requests."""
        return request_var.get(None)

    def check(self, id: str, f: Callable[[App], Any]) -> None:  # noqa: A002  # an id is what it is
        """Check something at start-up: *f* returns None, or a text that says what is wrong and what to do."""
        self.app.checks.append((f"{self.name}.{id}", f))

    @staticmethod
    def _step(f: Hook, phase: str, blocking: bool, when: Callable[[App], bool] | None) -> Step:
        awaits = is_async(f)
        return Step(f, phase, f, awaits, blocking and not awaits, when)


def _place(steps: list[Step], step: Step, first: bool, after: Hook | None) -> None:
    if after is not None:
        for index, other in enumerate(steps):
            if other.function == after:
                steps.insert(index + 1, step)
                return
        raise SetupError(f"no fitted step is {after!r}; fit it before {step.name!r}")
    if first:
        steps.insert(0, step)
    else:
        steps.append(step)


def fit(app: App, extension: Any) -> Any:
    """Fit an extension to an app; what `app.fit` does.

    Raises:
        SetupError: it is fitted already, needs another one first, or is no extension.
    """
    setup = getattr(extension, "setup", None)
    if setup is None:
        init_app = getattr(extension, "init_app", None)
        if init_app is None:
            raise SetupError(
                f"{extension!r} cannot be fitted: it has neither setup(fit) with a name, nor Flask's init_app(app)"
            )
        init_app(app)
        return extension
    name = getattr(extension, "name", None)
    if not name:
        raise SetupError(f"{extension!r} has no name; an extension needs name = '...' for its configuration and its log")
    if name in app.fitted:
        raise SetupError(f"two extensions named {name!r} are fitted: {app.fitted[name]!r} and {extension!r}")
    missing = [other for other in getattr(extension, "requires", ()) if other not in app.fitted]
    if missing:
        raise SetupError(f"{name!r} needs {', '.join(map(repr, missing))}; fit that first")
    app.fitted[name] = extension
    setup(Fitting(app, name))
    app.thaw()
    return extension
