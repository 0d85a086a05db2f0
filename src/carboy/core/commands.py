"""Commands that belong to an application: the group on `app.cli` and `blueprint.cli`, and how a command gets its app.

Every command runs inside the context of the application that the command line loaded. A command may be `def` or
`async def`. The commands that come with the house are not here but in `cli/`.
"""

import asyncio
import contextvars
import inspect
import os
import threading
from collections.abc import Callable, Coroutine
from functools import update_wrapper
from typing import Any, TypeVar, cast

import click

from .ctx import app_var
from .locate import Application, NoAppException, find_app

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

_FALSE = frozenset({"0", "false", "no"})


def get_debug_flag() -> bool:
    """Tell whether debug mode is asked for in `CARBOY_DEBUG`, else in `FLASK_DEBUG`."""
    value = os.environ.get("CARBOY_DEBUG", os.environ.get("FLASK_DEBUG", ""))
    return bool(value) and value.lower() not in _FALSE


def get_load_dotenv(default: bool = True) -> bool:
    """Tell whether dotenv files are to be loaded: not if `CARBOY_SKIP_DOTENV`, else `FLASK_SKIP_DOTENV`, says so."""
    value = os.environ.get("CARBOY_SKIP_DOTENV", os.environ.get("FLASK_SKIP_DOTENV", ""))
    return value.lower() in _FALSE if value else default


class ScriptInfo:
    """What a command line knows of the application it works on; each click context carries it as `obj`.

    Args:
        app_import_path: the target, as `find_app` reads it; None looks in the working directory.
        create_app: makes the application instead; takes no argument.
        set_debug_flag: set the application's `debug` from the environment when it is loaded.
        load_dotenv_defaults: whether the command line reads `.env` and its like by itself.

    Attributes:
        data: free for the commands of an application to pass things along.
    """

    def __init__(
        self,
        app_import_path: str | None = None,
        create_app: Callable[..., Any] | None = None,
        set_debug_flag: bool = True,
        load_dotenv_defaults: bool = True,
    ) -> None:
        self.app_import_path = app_import_path
        self.create_app = create_app
        self.data: dict[Any, Any] = {}
        self.set_debug_flag = set_debug_flag
        self.load_dotenv_defaults = get_load_dotenv(load_dotenv_defaults)
        self._loaded_app: Application | None = None

    def load_app(self) -> Any:  # the application's class stands above this floor, and may be a user's own
        """Load the application, once; later calls give the same object.

        Raises:
            NoAppException: it could not be found or imported; the message says where and what to do.
        """
        if self._loaded_app is not None:
            return self._loaded_app
        app: Application | None = self.create_app() if self.create_app is not None else find_app(self.app_import_path)
        if app is None:
            raise NoAppException("The function that makes the application returned None; does it return what it makes?")
        if self.set_debug_flag:
            app.debug = get_debug_flag()
        self._loaded_app = app
        return app


pass_script_info = click.make_pass_decorator(ScriptInfo, ensure=True)


def with_appcontext(f: F) -> F:
    """Run a command's function inside the context of the application.

    The application is loaded if no context is active. Commands made with `@app.cli.command()` have this already.
    The function may be `async def`.
    """

    @click.pass_context
    def run_with_app(click_ctx: click.Context, /, *args: Any, **kwargs: Any) -> Any:
        if app_var.get(None) is None:
            app = click_ctx.ensure_object(ScriptInfo).load_app()
            click_ctx.with_resource(app.app_context())
        return click_ctx.invoke(plain(f), *args, **kwargs)

    return cast(F, update_wrapper(run_with_app, f))


def plain(f: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function itself, or for an `async def` one that runs it to its end."""
    if not inspect.iscoroutinefunction(f):
        return f

    def run_to_end(*args: Any, **kwargs: Any) -> Any:
        return _run_to_end(f(*args, **kwargs))

    return update_wrapper(run_to_end, f)


class AppGroup(click.Group):
    """A click group whose commands run inside the application's context.

    The group on `app.cli` and `blueprint.cli`:

        @app.cli.command("greet")
        @click.argument("name")
        def greet(name): ...
    """

    def command(self, *args: Any, **kwargs: Any) -> Any:
        """Register a command, as `click.Group.command` does.

        Args:
            with_appcontext: False leaves the function outside the application's context.
        """
        wrap = with_appcontext if kwargs.pop("with_appcontext", True) else plain
        if args and callable(args[0]):  # @group.command, without parentheses
            return super().command(**kwargs)(wrap(args[0]))
        register = super().command(*args, **kwargs)

        def decorator(f: Callable[..., Any]) -> Any:
            return register(wrap(f))

        return decorator

    def group(self, *args: Any, **kwargs: Any) -> Any:
        """Register a group, as `click.Group.group` does; it is an AppGroup unless `cls` says otherwise."""
        kwargs.setdefault("cls", AppGroup)
        return super().group(*args, **kwargs)


def _run_to_end(work: Coroutine[Any, Any, T]) -> T:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    # A loop already runs in this thread (a command invoked from an async test): take another thread, with the same
    # contexts, both Python's and click's, which is kept per thread.
    click_ctx = click.get_current_context(silent=True)
    result: list[T] = []
    error: list[BaseException] = []

    def run() -> None:
        try:
            if click_ctx is None:
                result.append(asyncio.run(work))
            else:
                with click_ctx.scope(cleanup=False):
                    result.append(asyncio.run(work))
        except BaseException as exc:  # it belongs to the caller, KeyboardInterrupt and SystemExit too
            error.append(exc)

    thread = threading.Thread(target=contextvars.copy_context().run, args=(run,), name="carboy-command")
    thread.start()
    thread.join()
    if error:
        raise error[0]
    return result[0]
