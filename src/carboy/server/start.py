"""From a target and options to an exit code: open what is needed, run the supervisor, leave nothing behind."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Mapping

from .around import Around, options_by_name
from .control import ControlServer
from .errors import BindError, ServerError
from .listen import open_listener
from .machine import raise_descriptor_limit
from .options import Options
from .pidfile import pid_file
from .services import ServiceSockets
from .spawn import Spawner, wait_loaded
from .supervisor import Supervisor
from .systemd import Notifier, activated_sockets

log = logging.getLogger("carboy.server")

#: Options that say where to listen.
PLACE = ("host", "port", "unix", "unix_mode", "fd", "fastcgi", "backlog")


def start(target: str | None, options: Options, around: Around | None = None) -> int:
    """Serve an application until told to stop; see `carboy.server.serve`."""
    configure_log(options)
    try:
        options.check()
        raise_descriptor_limit()
        with contextlib.ExitStack() as held:
            return _start(target, options, held, around)
    except ServerError as error:
        print(f"carboy: {error}", file=sys.stderr, flush=True)
        return 1
    except KeyboardInterrupt:
        return 130


def _start(target: str | None, asked: Options, held: contextlib.ExitStack, around: Around | None) -> int:
    # Both take their variables out of the environment, so before any worker inherits it.
    activated, notifier = activated_sockets(os.environ), Notifier(os.environ)
    # Before the application is loaded: a port that is taken is said at once, and clients can queue already.
    listener = open_listener(asked, activated)
    early = held.enter_context(contextlib.ExitStack())
    early.callback(listener.close)
    spawner = Spawner(target, around)
    try:
        first = spawner.spawn()
    except OSError as error:
        raise ServerError(f"no process can be started: {error.strerror}") from error
    try:
        loaded = wait_loaded(first, asked.start_timeout)
        options = asked.completed(loaded["config"])
        configure_log(options)
        if any(getattr(options, name) != getattr(asked, name) for name in PLACE) and not listener.borrowed:
            early.close()
            listener = open_listener(options, [])
            held.callback(listener.close)
        services = ServiceSockets()
        held.callback(services.close)
        first.listens = loaded["listens"]
        services.provide(first.listens)
        if around is not None:
            spawner.shared = _opened(around, options)
        held.enter_context(pid_file(options.pid_file))
        control = open_control(options)
        if control is not None:
            held.callback(control.close)
        supervisor = Supervisor(spawner, options, listener, control, notifier, first, services)
    except BaseException:
        first.end()
        raise
    return supervisor.run()


def _opened(around: Around, options: Options) -> Mapping[str, int]:
    try:
        return around.open(options_by_name(options))
    except (OSError, ValueError) as error:
        raise ServerError(str(error)) from error


def open_control(options: Options) -> ControlServer | None:
    if options.control in {None, "", "off"}:
        return None
    if options.control != "auto":
        return ControlServer(options.control)
    try:
        return ControlServer(None)
    except (BindError, OSError) as error:
        # Serving matters more than being asked how it goes.
        log.warning("no control socket (%s); `carboy ctl` will not find this server", error)
        return None


def configure_log(options: Options) -> None:
    """Give the server's log a handler, unless the caller has configured logging."""
    log.setLevel(options.log_level.upper())
    if not log.hasHandlers():
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        log.addHandler(handler)
