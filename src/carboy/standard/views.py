"""Views as classes: `View` and `MethodView` as in Flask, and Carboy's `Handler`.

`as_view` makes a plain function that any caller may call, in any colour. On that function sits `per_method`,
from which the engine takes, at freeze, one callable for each HTTP method in the colour its author gave it; so
`async def get` runs on the event loop while `def post` of the same class runs in a worker thread. A decorated
view function has no use for it (the decorator must not be walked around), which `PerMethod.view` shows.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Collection
from typing import Any, ClassVar, Protocol, cast

from werkzeug.wrappers import Request as WerkzeugRequest

from ..core.ctx import app_var, request_var
from ..core.request import Request
from ..extend import Fitting
from ..pipeline.drive import drive
from ..pipeline.offload import offload

http_method_funcs: frozenset[str] = frozenset(
    {"get", "post", "head", "options", "delete", "put", "trace", "patch"}
)

# Parameters a view may ask for by name besides its URL variables; each is a field of the context.
OFFERED = ("request", "session", "g", "app")


class ViewFunction(Protocol):
    """What `as_view` returns: a function with the class and its settings written on it."""

    __name__: str
    __module__: str
    view_class: type[View]
    methods: Collection[str] | None
    provide_automatic_options: bool | None
    per_method: PerMethod

    def __call__(self, **variables: Any) -> Any: ...


class PerMethod:
    """The callables of a class view, one for each HTTP method, in their own colour.

    It counts only while `per_method.view` *is* the function it was found on: a decorator that copies `__dict__`
    (`functools.wraps` does) copies the reference, and must still be called.
    """

    __slots__ = ("make", "shared", "view")

    def __init__(self, view: ViewFunction, make: Callable[[type[View]], View], shared: View | None) -> None:
        self.view = view
        self.make = make
        self.shared = shared

    def for_method(self, method: str) -> Callable[..., Any] | None:
        """The callable that answers *method*, or None if only the view function itself can.

        It is called with the URL variables, and whatever else its signature asks for, as keyword arguments; its
        signature and annotations are those of the user's method without `self`. `view.view_class` is read now:
        a class put there before freeze is the one that answers.
        """
        cls = self.view.view_class if self.shared is None else type(self.shared)
        name = _answering(cls, method)
        if name is None:
            return None
        obtain = self._shared_instance if self.shared is not None else functools.partial(self.make, cls)
        return _callable_for(cls, name, obtain)

    def _shared_instance(self) -> View:
        return cast(View, self.shared)

    def __repr__(self) -> str:
        return f"<PerMethod of {self.view.__name__!r}: {self.view.view_class.__qualname__}>"


class View:
    """A view as a class: each request makes an instance and calls `dispatch_request`.

    ```python
    class Hello(View):
        def dispatch_request(self, name: str) -> str:
            return f"Hello {name}"

    app.add_url_rule("/hello/<name>", view_func=Hello.as_view("hello"))
    ```
    """

    #: The HTTP methods the view answers; None leaves it to the rule (GET).
    methods: ClassVar[Collection[str] | None] = None
    #: Whether OPTIONS is answered by the framework; None leaves it to the rule.
    provide_automatic_options: ClassVar[bool | None] = None
    #: Applied to the view function in this order, the first one innermost.
    decorators: ClassVar[list[Callable[..., Any]]] = []
    #: False makes one instance in `as_view` and uses it for all requests; do not write to `self` then.
    init_every_request: ClassVar[bool] = True

    # A stranger's view takes what its rule's variables are and returns what `make_response` knows: hence Any.
    def dispatch_request(self, *args: Any, **variables: Any) -> Any:
        """Answer the request. Subclasses override this; it may be `async def`."""
        raise NotImplementedError(f"{type(self).__qualname__} has no dispatch_request method; define one")

    @classmethod
    def as_view(cls, name: str, *class_args: Any, **class_kwargs: Any) -> ViewFunction:
        """Make the view function to register with `add_url_rule`.

        Args:
            name: the name of the function, hence the endpoint if the rule gives none.
            class_args: passed to the class when an instance is made.
            class_kwargs: likewise.
        """
        shared = None if cls.init_every_request else cls(*class_args, **class_kwargs)

        def make(view_class: type[View]) -> View:
            return view_class(*class_args, **class_kwargs)

        # FLASK: a view function closes over `class_args` and `class_kwargs`; extensions that make the instance
        # themselves look for these names there.
        def plain(**variables: Any) -> Any:
            # The class is read from the finished function, decorators and all: whoever replaces `view_class`
            # there means the next request.
            handler = view.view_class(*class_args, **class_kwargs) if shared is None else shared
            dispatch = handler.dispatch_request
            return app_var.get().app.ensure_sync(dispatch)(**_with_asked_for(dispatch, variables))

        undecorated = cast(ViewFunction, plain)
        undecorated.__name__ = name
        undecorated.__module__ = cls.__module__
        view = undecorated
        for decorate in cls.decorators:
            view = decorate(view)
        view.view_class = cls
        view.__name__ = name
        view.__doc__ = cls.__doc__
        view.__module__ = cls.__module__
        view.methods = cls.methods
        view.provide_automatic_options = cls.provide_automatic_options
        if view is undecorated:
            view.per_method = PerMethod(view, make, shared)
        return view


class MethodView(View):
    """A view with a method for each HTTP method: `get`, `post`, `put` … in any mix of `def` and `async def`.

    `methods` is collected from the class and its bases unless the class sets it; HEAD falls back to `get`.

    ```python
    class Item(MethodView):
        def get(self, id: int) -> dict[str, int]:
            return {"id": id}

        async def delete(self, id: int) -> tuple[str, int]:
            await forget(id)
            return "", 204

    app.add_url_rule("/items/<int:id>", view_func=Item.as_view("item"))
    ```
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "methods" in cls.__dict__:
            return
        found = {method for base in cls.__bases__ for method in getattr(base, "methods", None) or ()}
        found |= {name.upper() for name in http_method_funcs if hasattr(cls, name)}
        if found:
            cls.methods = found

    def dispatch_request(self, *args: Any, **variables: Any) -> Any:
        """Call the method named like the HTTP method; the engine does without this where it can."""
        method = _method_of(self)
        ensure_sync = request_var.get().app.ensure_sync
        return ensure_sync(method)(*args, **_with_asked_for(method, variables))


class Handler(MethodView):
    """A view class with a preamble, an epilogue and an answer for its errors, all inheritable.

    Each of the three may be `def` or `async def`, whatever the colour of the HTTP method. In a method that is
    `async def` a hook that is `def` runs in a worker thread, since it may block.

    ```python
    class Private(Handler):
        def prepare(self):
            if "user" not in self.session:
                return "Log in first", 401

    class Orders(Private):
        async def get(self, request: Request, id: int):
            return await load_order(id)

    app.add_url_rule("/orders/<int:id>", view_func=Orders.as_view("orders"))
    ```
    """

    # Read from the context, so that a shared instance (init_every_request = False) holds nothing of a request
    # and `__init__` of a subclass need not call this one's.

    @property
    def request(self) -> Request:
        """The current request."""
        return cast(Request, request_var.get().request)

    @property
    def app(self) -> Any:  # the user's own subclass of the app
        """The app that is answering."""
        return request_var.get().app

    @property
    def session(self) -> Any:  # whatever the session interface made
        """The current session."""
        return request_var.get().session

    @property
    def g(self) -> Any:  # app_ctx_globals_class
        """The namespace of the current context."""
        return request_var.get().g

    def prepare(self) -> Any:
        """Run before the HTTP method; anything but None is the answer and the method is not called."""
        return None

    def on_finish(self) -> Any:
        """Run after the method, always: after an early answer and after an error too."""

    def write_error(self, error: Exception) -> Any:
        """Answer for an exception of `prepare` or the method; by default it goes on to the app's handlers."""
        raise error

    def dispatch_request(self, *args: Any, **variables: Any) -> Any:
        """The whole handler for a caller without a loop; the engine does without this where it can."""
        method = _method_of(self)
        call = functools.partial(method, *args, **_with_asked_for(method, variables))
        return drive(_handle(self, _Hooks.of(type(self)), call, _without_loop))


class _Hooks:
    """Which of a Handler's three hooks its class overrides: the others are not called at all."""

    __slots__ = ("finishes", "prepares", "writes_errors")

    def __init__(self, prepares: bool, finishes: bool, writes_errors: bool) -> None:
        self.prepares = prepares
        self.finishes = finishes
        self.writes_errors = writes_errors

    @classmethod
    def of(cls, handler: type[Handler]) -> _Hooks:
        return cls(
            handler.prepare is not Handler.prepare,
            handler.on_finish is not Handler.on_finish,
            handler.write_error is not Handler.write_error,
        )

    def __bool__(self) -> bool:
        return self.prepares or self.finishes or self.writes_errors


async def _handle(
    handler: Handler,
    hooks: _Hooks,
    method: Callable[[], Any],
    run: Callable[..., Awaitable[Any]],
) -> Any:
    """The order of a Handler, stated once; *run* knows how to call a step of either colour here."""
    try:
        try:
            answer = await run(handler.prepare) if hooks.prepares else None
            return await run(method) if answer is None else answer
        except Exception as error:
            if not hooks.writes_errors:
                raise
            return await run(handler.write_error, error)
    finally:
        if hooks.finishes:
            await run(handler.on_finish)


async def _on_loop(step: Callable[..., Any], *args: Any) -> Any:
    """Call a step from the event loop: `async def` here, `def` in a worker thread."""
    if inspect.iscoroutinefunction(step):
        return await step(*args)
    return await offload(step, *args)


async def _without_loop(step: Callable[..., Any], *args: Any) -> Any:
    """Call a step from a thread without a loop; never suspends."""
    return request_var.get().app.ensure_sync(step)(*args)


def _answering(cls: type[View], method: str) -> str | None:
    """The attribute of *cls* that answers HTTP *method* without the help of the view function."""
    if not issubclass(cls, MethodView):
        return "dispatch_request" if cls.dispatch_request is not View.dispatch_request else None
    if cls.dispatch_request not in (MethodView.dispatch_request, Handler.dispatch_request):
        return None  # its author wants to see every request
    for name in ("head", "get") if method == "HEAD" else (method.lower(),):
        if getattr(cls, name, None) is not None:
            return name
    return None


def _method_of(handler: MethodView) -> Callable[..., Any]:
    """The bound method that answers the current request."""
    verb: str = request_var.get().request.method
    method: Callable[..., Any] | None = getattr(handler, verb.lower(), None)
    if method is None and verb == "HEAD":
        method = getattr(handler, "get", None)
    if method is None:
        # FLASK: an AssertionError, as there; the rule allows a method that the class does not have.
        raise AssertionError(
            f"Unimplemented method {verb!r}: its rule allows {verb}, but {type(handler).__qualname__} has no "
            f"'{verb.lower()}' method; define it or take {verb} out of methods="
        )
    return method


def _async_callable(name: str, obtain: Callable[[], View], hooks: _Hooks | None) -> Callable[..., Any]:
    async def call(**variables: Any) -> Any:
        return await getattr(obtain(), name)(**variables)

    if not hooks:
        return call

    async def handle(**variables: Any) -> Any:
        handler = cast(Handler, obtain())
        method = functools.partial(getattr(handler, name), **variables)
        return await _handle(handler, hooks, method, _on_loop)

    return handle


def _blocking_callable(name: str, obtain: Callable[[], View], hooks: _Hooks | None) -> Callable[..., Any]:
    def call(**variables: Any) -> Any:
        return getattr(obtain(), name)(**variables)

    if not hooks:
        return call

    def handle(**variables: Any) -> Any:
        handler = cast(Handler, obtain())
        method = functools.partial(getattr(handler, name), **variables)
        return drive(_handle(handler, hooks, method, _without_loop))

    return handle


def _callable_for(cls: type[View], name: str, obtain: Callable[[], View]) -> Callable[..., Any]:
    """A function in the colour of the user's method that makes the instance and calls it."""
    method = getattr(cls, name)
    hooks = _Hooks.of(cls) if issubclass(cls, Handler) else None
    if inspect.iscoroutinefunction(method):
        call = _async_callable(name, obtain, hooks)
    else:
        call = _blocking_callable(name, obtain, hooks)
    call.__name__ = name
    call.__qualname__ = getattr(method, "__qualname__", name)
    call.__module__ = getattr(method, "__module__", cls.__module__)
    call.__doc__ = method.__doc__
    call.__wrapped__ = method  # type: ignore[attr-defined]  # file:line of the user's code is found through it
    signature = _signature_without_self(cls, name)
    call.__signature__ = signature  # type: ignore[attr-defined]  # read by inspect.signature
    call.__annotations__ = {
        parameter.name: parameter.annotation
        for parameter in signature.parameters.values()
        if parameter.annotation is not parameter.empty
    }
    if signature.return_annotation is not signature.empty:
        call.__annotations__["return"] = signature.return_annotation
    return call


def _signature_without_self(cls: type[View], name: str) -> inspect.Signature:
    """The signature of a method as its caller sees it, annotations resolved where that is possible."""
    method = getattr(cls, name)
    try:
        signature = inspect.signature(method, eval_str=True)
    except Exception:  # noqa: BLE001  # a name that exists for type checkers only: whoever needs the annotation will say so
        signature = inspect.signature(method)
    if isinstance(inspect.getattr_static(cls, name), staticmethod | classmethod):
        return signature
    return signature.replace(parameters=list(signature.parameters.values())[1:])


def _with_asked_for(function: Callable[..., Any], variables: dict[str, Any]) -> dict[str, Any]:
    """Add the request, session, g or app that *function* asks for and no URL variable gives."""
    asked = _asked_for(getattr(function, "__func__", function))
    missing = [(name, field) for name, field in asked if name not in variables]
    if not missing:
        return variables
    ctx = request_var.get()
    return variables | {name: getattr(ctx, field) for name, field in missing}


@functools.lru_cache(maxsize=1024)
def _asked_for(function: Callable[..., Any]) -> tuple[tuple[str, str], ...]:
    """Pairs of a parameter of *function* and the field of the context that fills it."""
    try:
        parameters = inspect.signature(function, eval_str=True).parameters
    except Exception:  # noqa: BLE001  # see _signature_without_self; without annotations the names still tell
        parameters = inspect.signature(function).parameters
    found = []
    for parameter in parameters.values():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            continue
        if parameter.default is not parameter.empty:
            continue
        annotation = parameter.annotation
        if isinstance(annotation, type) and issubclass(annotation, WerkzeugRequest):
            found.append((parameter.name, "request"))
        elif parameter.name in OFFERED:
            found.append((parameter.name, parameter.name))
    return tuple(found)


class Views:
    """The equipment: checks at start-up that class views have the methods their rules allow."""

    name = "views"
    requires: tuple[str, ...] = ()

    def setup(self, fit: Fitting) -> None:
        """Declare the check."""
        fit.check("methods", check_methods)


def check_methods(app: Any) -> str | None:
    """Which rules allow a method that their class does not have, which would be a 500; None if none does."""
    mistakes = []
    for rule in app.url_map.iter_rules():
        cls = getattr(app.view_functions.get(rule.endpoint), "view_class", None)
        if not (isinstance(cls, type) and issubclass(cls, MethodView)):
            continue
        if cls.dispatch_request not in (MethodView.dispatch_request, Handler.dispatch_request):
            continue
        if rule.websocket:
            if getattr(app.view_functions[rule.endpoint], "per_method", None) is None:
                mistakes.append(f"{rule.rule} is a WebSocket's, and {cls.__module__}.{cls.__qualname__} has decorators, which know of pages alone")
            elif not hasattr(cls, "websocket"):
                mistakes.append(f"{rule.rule} is a WebSocket's; {cls.__module__}.{cls.__qualname__} has no method websocket")
            continue
        missing = sorted(
            method
            for method in rule.methods or ()
            # HEAD comes with GET, and the framework answers OPTIONS unless it is told not to.
            if method not in ("HEAD", "OPTIONS") and _answering(cls, method) is None
        )
        if missing:
            mistakes.append(f"{rule.rule} allows {', '.join(missing)}, which {cls.__module__}.{cls.__qualname__} has not")
    return f"{'; '.join(mistakes)}: define the method, or take it out of methods=" if mistakes else None
