"""`carboy shell`: Python, with the application loaded and its context active. `await` works at the prompt."""

import ast
import asyncio
import code
import inspect
import os
import sys
from types import CodeType
from typing import Any

import click

from ..core.commands import with_appcontext
from ..core.ctx import app_var


class AwaitingConsole(code.InteractiveConsole):
    """A console that runs what is awaited at its prompt, on one loop that lasts as long as the console."""

    def __init__(self, names: dict[str, Any]) -> None:
        super().__init__(names)
        self.compile.compiler.flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        self.runner = asyncio.Runner()

    def runcode(self, code: CodeType) -> None:
        if not code.co_flags & inspect.CO_COROUTINE:
            super().runcode(code)
            return
        try:
            # With this flag a code object is a coroutine's, to be awaited.
            self.runner.run(eval(code, self.locals))
        except SystemExit:
            raise
        except BaseException:  # as the console itself does: KeyboardInterrupt ends the line, not the session
            self.showtraceback()

    def close(self) -> None:
        self.runner.close()


@click.command("shell", short_help="Run a shell in the app context.")
@with_appcontext
def shell_command() -> None:
    """Run an interactive Python shell with the application's context active.

    The shell has 'app', 'g', and what the application's shell context processors give. 'await' may be used.
    """
    app: Any = app_var.get().app
    names: dict[str, Any] = {}
    startup = os.environ.get("PYTHONSTARTUP")
    if startup and os.path.isfile(startup):
        with open(startup, encoding="utf-8") as file:
            exec(compile(file.read(), startup, "exec"), names)  # as the interpreter does with this file
    names.update(app.make_shell_context())
    _complete_from(names)
    click.echo(f"Python {sys.version} on {sys.platform}\nApp: {app.import_name}\nInstance: {app.instance_path}")
    console = AwaitingConsole(names)
    try:
        console.interact(banner="", exitmsg="")
    finally:
        console.close()


def _complete_from(names: dict[str, Any]) -> None:
    """Set up the line editor as the interpreter would, completing from the shell's names."""
    prepare = getattr(sys, "__interactivehook__", None)
    if prepare is None:
        return
    try:
        import readline
        from rlcompleter import Completer
    except ImportError:
        pass  # no line editor on this Python
    else:
        readline.set_completer(Completer(names).complete)
    # The hook loads ~/.inputrc and the history, and binds the tab key.
    prepare()
