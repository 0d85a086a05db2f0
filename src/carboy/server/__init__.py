"""The server behind `carboy run`: a supervisor, its workers, and granian for HTTP.

Reading order: `options` (every option), `supervisor` (the main process), `worker` (the others), `granian_doors`.
"""

from __future__ import annotations

from .errors import BindError, ControlError, OptionError, ServerError, WorkerFailed
from .options import Field, Options
from .serve import serve

__all__ = [
    "BindError",
    "ControlError",
    "Field",
    "OptionError",
    "Options",
    "ServerError",
    "WorkerFailed",
    "serve",
]
