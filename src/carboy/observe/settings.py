"""What is observed, and where it goes: one frozen value, read from `OBSERVE_*` keys or from the server's options."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

LogFormat = Literal["off", "line", "json"]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How an application is observed; everything is off until asked for.

    Attributes:
        log: the access log's format.
        log_file: where it goes; standard output if not given. A file that was moved away is opened anew.
        log_sample: share of the requests that are logged; those answered with 5xx always are.
        metrics_path: path of the metrics on the application's own port; None for nowhere.
        health_prefix: prefix of `livez`, `readyz`, `startupz` on the application's own port, `/` for none; None for
            nowhere.
        ping_timeout: seconds a service has to answer its ping.
        memory: file of the shared counters, where the server cannot hand them to its workers (gunicorn, uvicorn).
        blocking: seconds; calls that block the event loop for longer are reported. 0 for never; if not given, 0.1 where
            the application is in debug mode, else never.
        traces: make OpenTelemetry spans where its SDK is installed and set up.
    """

    log: LogFormat = "off"
    log_file: str | None = None
    log_sample: Annotated[float, msgspec.Meta(ge=0, le=1)] = 1.0
    metrics_path: str | None = None
    health_prefix: str | None = None
    ping_timeout: Annotated[float, msgspec.Meta(gt=0)] = 2.0
    memory: str | None = None
    blocking: Annotated[float, msgspec.Meta(ge=0)] | None = None
    traces: bool = True
