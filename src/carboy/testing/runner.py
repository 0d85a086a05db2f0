"""The runner of an app's commands in tests: click's, with the app already found."""

from __future__ import annotations

from typing import Any

import click
from click.testing import CliRunner as ClickRunner
from click.testing import Result

from ..core.commands import ScriptInfo
from .subject import Subject


class CliRunner(ClickRunner):
    """Invoke an app's commands in isolation and look at their output.

    Args:
        app: the app whose commands these are.
        **kwargs: as `click.testing.CliRunner`.

    Example::

        result = app.test_cli_runner().invoke(args=["hello"])
        assert "Hello" in result.output
    """

    def __init__(self, app: Subject, **kwargs: Any) -> None:
        self.app = app
        super().__init__(**kwargs)

    def invoke(  # type: ignore[override]  # the command is optional here: the app's own group
        self, cli: click.Command | None = None, args: Any = None, **kwargs: Any
    ) -> Result:
        """Run a command as the command line would.

        Args:
            cli: the command; defaults to the app's own group, `app.cli`.
            args: the words after the command's name, a string or a list.
            **kwargs: as `click.testing.CliRunner.invoke`; `obj` defaults to a `ScriptInfo` of the app.
        """
        if "obj" not in kwargs:
            kwargs["obj"] = ScriptInfo(create_app=lambda: self.app)
        return super().invoke(self.app.cli if cli is None else cli, args, **kwargs)
