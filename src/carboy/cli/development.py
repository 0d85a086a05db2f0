"""`app.run()`: Werkzeug's development server, as in Flask. For everything else there is `carboy run`."""

from __future__ import annotations

import os
from typing import Any

import click
import werkzeug.serving

from ..core.commands import get_debug_flag, get_load_dotenv
from . import flask_commands


def run_development_server(
    app: Any,
    host: str | None,
    port: int | None,
    debug: bool | None,
    load_dotenv: bool,
    options: dict[str, Any],
) -> None:
    """Serve until interrupted.

    Args:
        host: 127.0.0.1, or the config's SERVER_NAME, unless told.
        port: 5000, or the config's SERVER_NAME, unless told.
        debug: sets `app.debug`.
        load_dotenv: read `.env` and its like first.
        options: Werkzeug's `run_simple` takes them.
    """
    # The command line imports the application; a call left in the module must not start a second server.
    if os.environ.get("FLASK_RUN_FROM_CLI") == "true" or os.environ.get("CARBOY_RUN_FROM_CLI") == "true":
        if not werkzeug.serving.is_running_from_reloader():
            click.secho(
                " * Ignoring a call to 'app.run()' that would block the current command.\n   Only call 'app.run()' in an"
                " 'if __name__ == \"__main__\"' guard.",
                fg="red",
            )
        return
    if get_load_dotenv(load_dotenv):
        flask_commands.load_dotenv()
        if "FLASK_DEBUG" in os.environ or "CARBOY_DEBUG" in os.environ:
            app.debug = get_debug_flag()
    if debug is not None:
        app.debug = bool(debug)
    server_name = app.config.get("SERVER_NAME")
    configured_host = configured_port = None
    if server_name:
        configured_host, _, configured_port = server_name.partition(":")
    if not host:
        host = str(configured_host or "127.0.0.1")
    if port or port == 0:
        port = int(port)
    else:
        port = int(configured_port) if configured_port else 5000
    options.setdefault("use_reloader", app.debug)
    options.setdefault("use_debugger", app.debug)
    options.setdefault("threaded", True)
    # FLASK: looked up when called, since many a program silences the banner by replacing it in `flask.cli`.
    flask_commands.show_server_banner(app.debug, app.name)
    try:
        werkzeug.serving.run_simple(host, port, app, **options)
    finally:
        # Setup is possible again once the server has stopped, as in an interactive shell.
        app._got_first_request = False
