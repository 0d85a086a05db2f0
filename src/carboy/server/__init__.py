"""The server behind `carboy run`: a supervisor, its workers, and granian for HTTP.

Reading order: `options` (every option), `start`, `supervisor` (the main process), `worker` (the others),
`granian_doors`. The main process's half is imported when it is called for: a worker needs none of it, and pays for
every module in memory.
"""

from __future__ import annotations

from .around import Around
from .errors import BindError, ControlError, OptionError, ServerError, WorkerFailed
from .options import Field, Options

__all__ = [
    "Around",
    "BindError",
    "ControlError",
    "Field",
    "OptionError",
    "Options",
    "ServerError",
    "WorkerFailed",
    "serve",
]


def serve(target: str | None = None, options: Options | None = None, around: Around | None = None) -> int:
    """Serve an application until told to stop.

    Args:
        target: as in `carboy run TARGET`: `pkg:app`, `pkg:factory("x")`, a file; None looks for wsgi.py, then app.py.
        options: how; all defaults if not given. What is neither given there nor differs from its default may be set
            by the application's configuration (`SERVER_*`).
        around: what else is put around the application, in every worker.

    Returns:
        The exit code: 0 after an orderly stop, 1 if the server could not start (the reason is printed), 130 if it was
        interrupted before.

    Example:
        >>> serve("shop:app", Options(port=9000, workers=2))  # doctest: +SKIP
        0
    """
    from .start import start

    return start(target, options or Options(), around)
