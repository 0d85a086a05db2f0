"""Every option of `carboy run`, stated once.

`Options` is the only definition: the command line, the environment (`CARBOY_*`), the configuration (`SERVER_*`) and
the operator's documentation are made from its fields. Nothing here acts; the rest of the room reads these values.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from .errors import OptionError

Kind = Literal["text", "path", "whole", "seconds", "bytes", "share", "switch", "choice", "octal", "workers"]
Source = Literal["command line", "environment", "configuration", "default"]

WHERE = "Where to listen"
DOOR = "Door"
WORKERS = "Workers"
RECYCLING = "Recycling"
CONNECTIONS = "Connections"
LIMITS = "Limits"
SOCKETS = "WebSockets"
ORIGIN = "Hosts and proxies"
STOPPING = "Stopping"
ANSWERS = "Answers"
OBSERVING = "Seeing it run"
TLS = "TLS"
PROCESS = "Process"


@dataclass(frozen=True, slots=True)
class Field:
    """What is known of one option: enough to make a flag, a variable, a configuration key and a line of help."""

    name: str
    kind: Kind
    default: object
    group: str
    help: str
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    metavar: str | None = None
    short: str | None = None

    @property
    def flag(self) -> str:
        """`--max-requests`."""
        return "--" + self.name.replace("_", "-")

    @property
    def flags(self) -> tuple[str, ...]:
        """All spellings for the command line; a switch has its negation too (`--websockets/--no-websockets`)."""
        long = f"{self.flag}/--no-{self.flag[2:]}" if self.kind == "switch" else self.flag
        return (self.short, long) if self.short else (long,)

    @property
    def env(self) -> str:
        """`CARBOY_MAX_REQUESTS`."""
        return "CARBOY_" + self.name.upper()

    @property
    def config_key(self) -> str:
        """`SERVER_MAX_REQUESTS`, a key of the application's configuration."""
        return "SERVER_" + self.name.upper()

    def parse(self, raw: object, origin: str | None = None) -> Any:
        """Turn a text (or a value of the right type already) into the option's value.

        Args:
            raw: what the command line, the environment or the configuration holds.
            origin: where it stood, for the error; the flag if not given.

        Raises:
            OptionError: it does not fit; the text says what would.
        """
        if raw is None and self.default is None:
            return None
        try:
            value = _PARSERS[self.kind](raw)
        except (TypeError, ValueError) as error:
            raise OptionError(f"{origin or self.flag} is {raw!r}; {_EXPECTED[self.kind]}") from error
        if self.choices and value not in self.choices:
            raise OptionError(f"{origin or self.flag} is {raw!r}; choose one of {', '.join(self.choices)}")
        if value is not None and self.minimum is not None and value < self.minimum:
            raise OptionError(f"{origin or self.flag} is {raw!r}; the least is {self.minimum:g}")
        if value is not None and self.maximum is not None and value > self.maximum:
            raise OptionError(f"{origin or self.flag} is {raw!r}; the most is {self.maximum:g}")
        return value


def _number_with_unit(raw: object, units: Mapping[str, float]) -> float:
    if isinstance(raw, bool):
        raise TypeError("a switch is no number")
    if isinstance(raw, int | float):
        return float(raw)
    text = str(raw).strip().lower()
    for unit in sorted(units, key=len, reverse=True):
        if text.endswith(unit):
            return float(text[: -len(unit)]) * units[unit]
    return float(text)


def _seconds(raw: object) -> float:
    value = _number_with_unit(raw, {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400})
    if not value >= 0:  # NaN is not
        raise ValueError("not a time")
    return value


def _bytes(raw: object) -> int:
    units = {"": 1, "b": 1}
    for power, letter in enumerate("kmgt", start=1):
        for suffix in ("", "b", "ib"):
            units[letter + suffix] = 1024**power
    units.pop("")
    value = int(_number_with_unit(raw, units))
    if value < 0:
        raise ValueError("negative")
    return value


def _whole(raw: object) -> int:
    if isinstance(raw, bool) or (isinstance(raw, float) and not raw.is_integer()):
        raise TypeError("not a whole number")
    return int(raw if isinstance(raw, int | float) else str(raw).strip().replace("_", ""))


def _switch(raw: object) -> bool:
    if isinstance(raw, bool):
        return raw
    text = str(raw).strip().lower()
    if text in {"1", "true", "yes", "on"}:
        return True
    if text in {"0", "false", "no", "off", ""}:
        return False
    raise ValueError(text)


def _octal(raw: object) -> int:
    return raw if isinstance(raw, int) and not isinstance(raw, bool) else int(str(raw).strip(), 8)


def _workers(raw: object) -> int:
    if isinstance(raw, str) and raw.strip().lower() == "auto":
        return 0
    value = _whole(raw)
    if value < 0:
        raise ValueError("negative")
    return value


def _text(raw: object) -> str | None:
    return None if raw is None or raw == "" else str(raw)


_PARSERS: dict[Kind, Callable[[object], Any]] = {
    "text": _text,
    "path": _text,
    "whole": _whole,
    "seconds": _seconds,
    "bytes": _bytes,
    "share": lambda raw: _number_with_unit(raw, {"%": 0.01}),
    "switch": _switch,
    "choice": _text,
    "octal": _octal,
    "workers": _workers,
}
_EXPECTED: dict[Kind, str] = {
    "text": "a text is expected",
    "path": "a path is expected",
    "whole": "a whole number is expected",
    "seconds": "a time is expected: seconds, or 500ms, 30s, 5m, 2h",
    "bytes": "a size is expected: bytes, or 64K, 512M, 2G",
    "share": "a share is expected: 0.1 or 10%",
    "switch": "yes or no is expected",
    "choice": "one of the choices is expected",
    "octal": "file permissions are expected, in octal: 660",
    "workers": "a number of processes is expected, or auto",
}


def _option(
    default: Any,
    kind: Kind,
    group: str,
    help_text: str,
    *,
    choices: tuple[str, ...] = (),
    minimum: float | None = None,
    maximum: float | None = None,
    metavar: str | None = None,
    short: str | None = None,
) -> Any:
    return field(
        default=default,
        metadata={
            "kind": kind,
            "group": group,
            "help": help_text,
            "choices": choices,
            "minimum": minimum,
            "maximum": maximum,
            "metavar": metavar,
            "short": short,
        },
    )


@dataclass(frozen=True, slots=True)
class Options:
    """How `carboy run` serves. Frozen; times in seconds, sizes in bytes, 0 switches a limit off.

    Example:
        >>> Options.load({"port": "9000"}, {"CARBOY_PORT": "1", "CARBOY_WORKERS": "3"}, {}).workers
        3
    """

    host: str = _option("127.0.0.1", "text", WHERE, "Address to bind; 0.0.0.0 or :: for all.", short="-h")
    port: int = _option(8000, "whole", WHERE, "Port to bind; 0 takes a free one.", short="-p", minimum=0, maximum=65535)
    unix: str | None = _option(None, "path", WHERE, "Unix socket instead of host and port.")
    unix_mode: int = _option(0o660, "octal", WHERE, "Permissions of the Unix socket.", metavar="MODE")
    fd: int | None = _option(None, "whole", WHERE, "Inherited listening socket, by number.", minimum=0)
    fastcgi: str | None = _option(None, "text", WHERE, "Speak FastCGI at unix:/path or host:port.", metavar="ADDRESS")

    interface: str = _option(
        "asgi", "choice", DOOR, "asgi (safe on the internet), rsgi or wsgi (faster, see docs).", choices=("asgi", "rsgi", "wsgi"), short="-i"
    )
    http: str = _option("1", "choice", DOOR, "HTTP versions: 1, 2, or auto for both.", choices=("1", "2", "auto"))
    websockets: bool = _option(True, "switch", DOOR, "Accept WebSocket handshakes.")
    root_path: str | None = _option(None, "text", DOOR, "Prefix under which a proxy publishes the app.", metavar="PREFIX")

    workers: int = _option(0, "workers", WORKERS, "Processes; auto: the CPU limit of this machine.", short="-w", metavar="N|auto")
    threads: int = _option(0, "whole", WORKERS, "Threads a worker for def views; 0: chosen by door.", minimum=0)
    pin: bool = _option(False, "switch", WORKERS, "Give each worker a processor of its own (Linux).")
    runtime_threads: int = _option(2, "whole", WORKERS, "Threads a worker for HTTP parsing.", minimum=1, maximum=64)
    loop: str = _option("auto", "choice", WORKERS, "Event loop; auto takes uvloop if present.", choices=("auto", "uvloop", "asyncio"))
    ready_path: str | None = _option(None, "text", WORKERS, "GET that must answer < 400 before a worker counts.", metavar="PATH")
    start_timeout: float = _option(60.0, "seconds", WORKERS, "Time a worker has to become ready.", minimum=1)
    wedge_timeout: float = _option(6.0, "seconds", WORKERS, "Blocked loop: worker replaced after this.")
    thread_timeout: float = _option(60.0, "seconds", WORKERS, "No thread free for so long: worker replaced.")
    spare: bool = _option(True, "switch", WORKERS, "Keep one process ready to take a worker's place.")

    max_requests: int = _option(0, "whole", RECYCLING, "Replace a worker after so many requests.", minimum=0)
    max_age: float = _option(0.0, "seconds", RECYCLING, "Replace a worker after this time.")
    max_memory: int = _option(0, "bytes", RECYCLING, "Replace a worker above this resident memory.")
    jitter: float = _option(0.1, "share", RECYCLING, "Spread of those limits, so that workers differ.", minimum=0, maximum=1)

    backlog: int = _option(4096, "whole", CONNECTIONS, "Connections the kernel queues.", minimum=1)
    backpressure: int = _option(4096, "whole", CONNECTIONS, "Open connections a worker.", minimum=1)
    header_timeout: float = _option(10.0, "seconds", CONNECTIONS, "First byte and headers must come within.", minimum=0.1)
    header_buffer: int = _option(65536, "bytes", CONNECTIONS, "Most bytes of request line and headers.", minimum=8192)
    keep_alive: bool = _option(True, "switch", CONNECTIONS, "Keep connections open between requests.")

    max_body: int = _option(
        16 * 1024 * 1024, "bytes", LIMITS, "Most bytes of a body, if app and route say nothing.", minimum=0
    )
    body_timeout: float = _option(20.0, "seconds", LIMITS, "A body must not pause for longer.")
    body_rate: int = _option(1024, "bytes", LIMITS, "Least bytes a second of a body, once --body-timeout is spent.", minimum=0)
    write_timeout: float = _option(45.0, "seconds", LIMITS, "A client must not stop reading for longer.")
    request_timeout: float = _option(60.0, "seconds", LIMITS, "An answer must begin within; routes may say timeout=.")
    max_in_flight: int = _option(4096, "whole", LIMITS, "Most requests at once in a worker; others get 503.", minimum=0)
    max_lag: float = _option(1.0, "seconds", LIMITS, "Loop busy for longer with requests: new ones get 503.")
    queue_timeout: float = _option(5.0, "seconds", LIMITS, "Longest wait of a def view for a thread, then 503.")

    ws_max_message: int = _option(1024 * 1024, "bytes", SOCKETS, "Most bytes of a WebSocket message, unpacked.", minimum=0)
    ws_ping: float = _option(20.0, "seconds", SOCKETS, "Ask a silent peer for a sign of life after this.")
    ws_ping_timeout: float = _option(20.0, "seconds", SOCKETS, "A peer that gives none for so long is dropped.")
    ws_compression: bool = _option(True, "switch", SOCKETS, "Offer permessage-deflate.")

    trusted_hosts: str | None = _option(None, "text", ORIGIN, "Host names served, .name for all below it; others get 400.", metavar="NAMES")
    trusted_proxies: str | None = _option(None, "text", ORIGIN, "Networks whose forwarding headers count: 10.0.0.0/8,unix.", metavar="CIDRS")
    proxy_headers: str | None = _option(None, "text", ORIGIN, "The headers that those set, if not all.", metavar="NAMES")
    request_ids: str = _option(
        "trusted", "choice", ORIGIN, "Whose X-Request-ID is kept: of trusted proxies, any, or no ids at all.", choices=("trusted", "any", "off")
    )

    compress: bool = _option(True, "switch", ANSWERS, "Compress what gains by it, unless the app does: zstd, br, gzip.")
    security: str = _option(
        "basic", "choice", ANSWERS, "Headers that break no application, all defaults of a new one, or none.", choices=("basic", "full", "off")
    )

    drain: float = _option(0.5, "seconds", STOPPING, "Serve what was accepted, before stopping.", maximum=20)
    stop_timeout: float = _option(30.0, "seconds", STOPPING, "Everything is gone after this.", minimum=1)

    access_log: str = _option("off", "choice", OBSERVING, "One line a request: off, line or json.", choices=("off", "line", "json"))
    access_log_file: str | None = _option(None, "path", OBSERVING, "Where those lines go; standard output if not given.")
    access_log_sample: float = _option(1.0, "share", OBSERVING, "Share of requests logged; those with 5xx always are.", minimum=0, maximum=1)
    management: str | None = _option(None, "text", OBSERVING, "Port for health and metrics: host:port or unix:/path.", metavar="ADDRESS")
    metrics_path: str | None = _option(None, "text", OBSERVING, "Answer Prometheus on the public port too, here.", metavar="PATH")
    health_prefix: str | None = _option(None, "text", OBSERVING, "Answer livez, readyz, startupz there too, below this.", metavar="PATH")
    ping_timeout: float = _option(2.0, "seconds", OBSERVING, "Time the services have to answer readyz.", minimum=0.01)
    report_blocking: float | None = _option(None, "seconds", OBSERVING, "Report what blocks a loop for longer; app.debug: 0.1.", metavar="SECONDS")

    tls_cert: str | None = _option(None, "path", TLS, "Certificate chain, PEM.")
    tls_key: str | None = _option(None, "path", TLS, "Private key, PEM.")
    tls_password: str | None = _option(None, "text", TLS, "Password of the key (better: CARBOY_TLS_PASSWORD).")
    tls_min: str = _option("1.2", "choice", TLS, "Oldest TLS version spoken.", choices=("1.2", "1.3"))
    tls_client_ca: str | None = _option(None, "path", TLS, "Clients must show a certificate of this CA.")

    pid_file: str | None = _option(None, "path", PROCESS, "Write the main process id here.")
    control: str | None = _option("auto", "text", PROCESS, "Socket of `carboy ctl`; auto, off, or a path.", metavar="PATH")
    log_level: str = _option(
        "info", "choice", PROCESS, "Least level of the server's own log.", choices=("debug", "info", "warning", "error")
    )

    #: Names of the options that the command line or the environment gave; no option itself.
    given: tuple[str, ...] = field(default=(), repr=False, compare=False)

    @classmethod
    def fields(cls) -> tuple[Field, ...]:
        """All options in the order of the help page."""
        return _FIELDS

    @classmethod
    def groups(cls) -> dict[str, tuple[Field, ...]]:
        """All options by group, in the order of the help page."""
        grouped: dict[str, list[Field]] = {}
        for each in _FIELDS:
            grouped.setdefault(each.group, []).append(each)
        return {name: tuple(members) for name, members in grouped.items()}

    @classmethod
    def load(
        cls,
        cli_values: Mapping[str, object] | None = None,
        environ: Mapping[str, str] | None = None,
        config: Mapping[str, object] | None = None,
    ) -> Options:
        """Collect the options: command line over environment over configuration over default.

        Args:
            cli_values: by field name; `None` means "not given".
            environ: `CARBOY_*` variables; others are ignored, an empty one counts as not given.
            config: the application's configuration; only its `SERVER_*` keys are read.

        Raises:
            OptionError: a value does not fit; the text names where it stood.
        """
        values: dict[str, Any] = {}
        for each, origin, raw in _given(cli_values or {}, environ or {}, config or {}):
            values[each.name] = each.parse(raw, origin)
        options = cls(**values, given=tuple(values))
        options.check()
        return options

    def completed(self, config: Mapping[str, object]) -> Options:
        """Take from the application's configuration what nobody nearer has given.

        Args:
            config: only its `SERVER_*` keys that name an option are read.

        Raises:
            OptionError: a value does not fit.
        """
        found = {
            each.name: each.parse(config[each.config_key], each.config_key)
            for each in _FIELDS
            if each.name not in self.given
            and getattr(self, each.name) == each.default
            and config.get(each.config_key) is not None
        }
        options = dataclasses.replace(self, **found, given=(*self.given, *found))
        options.check()
        return options

    def check(self) -> None:
        """Refuse what contradicts itself.

        Raises:
            OptionError: two options exclude each other, or one needs another.
        """
        places = [name for name in ("unix", "fd", "fastcgi") if getattr(self, name) is not None]
        if len(places) > 1:
            raise OptionError(f"--{places[0]} and --{places[1]} both say where to listen; give one of them")
        if (self.tls_cert is None) != (self.tls_key is None):
            raise OptionError("TLS needs both files: give --tls-cert and --tls-key")
        if self.tls_client_ca and not self.tls_cert:
            raise OptionError("--tls-client-ca asks clients for certificates; give --tls-cert and --tls-key too")
        for name in ("tls_cert", "tls_key", "tls_client_ca"):
            path = getattr(self, name)
            if path is not None and not Path(path).is_file():
                raise OptionError(f"--{name.replace('_', '-')} {path}: there is no such file")
        if self.pin and not hasattr(os, "sched_setaffinity"):
            raise OptionError("--pin needs Linux: here the system lets no program choose its processor")
        if self.ready_path is not None and not self.ready_path.startswith("/"):
            raise OptionError(f"--ready-path is {self.ready_path!r}; a path begins with /")
        if self.drain >= self.stop_timeout:
            raise OptionError(f"--drain {self.drain:g} must be shorter than --stop-timeout {self.stop_timeout:g}")

    def to_json(self) -> str:
        """All values as text, for the way to a worker."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Options:
        """The inverse of `to_json`."""
        values = json.loads(text)
        return cls(**{**values, "given": tuple(values["given"])})


def _given(
    cli_values: Mapping[str, object], environ: Mapping[str, str], config: Mapping[str, object]
) -> Iterator[tuple[Field, str, object]]:
    for each in _FIELDS:
        if cli_values.get(each.name) is not None:
            yield each, each.flag, cli_values[each.name]
        elif environ.get(each.env):
            yield each, each.env, environ[each.env]
        elif config.get(each.config_key) is not None:
            yield each, each.config_key, config[each.config_key]


_FIELDS: tuple[Field, ...] = tuple(
    Field(name=each.name, default=each.default, **each.metadata) for each in dataclasses.fields(Options) if each.metadata
)
