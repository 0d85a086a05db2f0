"""Seeing an application run: access log, metrics across workers, health pages, traces.

Reading order: `record` (one request), `doors` (who makes it), `observer` (one process), `memory` (all of them), then
what is made of it: `log`, `metrics`, `health`, `trace`; `extension` and `serving` are the two ways in.
"""

from __future__ import annotations

from .extension import Observe
from .settings import Settings

__all__ = ["Observe", "Settings"]
