"""Who is measured, on which server, in which set-up; add a line to add one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import peers

APPS = Path(__file__).parent / "apps"
#: Why a cell is empty, by workload; what begins with "websocket" or "database" stands for all of them.
NO_SOCKETS = {"websocket": "WSGI has no WebSockets"}
NO_ROWS = {"database": "not among those measured with a database"}


@dataclass(frozen=True)
class Contestant:
    """One row of the tables.

    Attributes:
        name: as printed.
        door: what it is compared with: the bare callable of this door on granian.
        targets: what its server serves, `module:name`, by group of workloads (see `workloads.py`).
        environment: of `environments.toml`.
        packages: whose versions are printed.
        server: "granian", "carboy run", or the module's own (`python module.py PORT NAME`).
        lacks: reasons for workloads it does not do.
        is_quick: measured in a quick run, too.
    """

    name: str
    door: str
    targets: Mapping[str, str]
    environment: str = "carboy"
    packages: tuple[str, ...] = ()
    server: str = "granian"
    lacks: Mapping[str, str] = field(default_factory=dict)
    is_quick: bool = False

    def command(self, group: str, port: int) -> list[str]:
        """How its server is started; run in the folder of the applications.

        Raises:
            peers.NotInstallable: it cannot be had.
        """
        python, target = peers.python_of(self.environment), self.targets[group]
        if self.server == "own":
            return [python, f"{target.partition(':')[0]}.py", str(port), target.partition(":")[2]]
        if self.server == "carboy run":
            run = [python, "-m", "carboy", "run", target, "-h", "127.0.0.1", "-p", str(port), "--workers", "1"]
            return [*run, "--log-level", "error"]
        # Threads of a WSGI server wait for the database; elsewhere more of them only cost.
        threads = "8" if group == "database" else "4"
        door = {"asgi": [], "rsgi": [], "wsgi": ["--blocking-threads", threads]}[self.door]
        return [
            python, "-m", "granian", "--interface", self.door, "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
            "--runtime-threads", "2", "--loop", "uvloop", "--log-level", "error", *door, target,
        ]  # fmt: skip

    def reason(self, work: str) -> str | None:
        """Why it does not do a workload, None if it does."""
        return next((why for prefix, why in self.lacks.items() if work.startswith(prefix)), None)


def peer(
    name: str,
    door: str,
    environment: str,
    package: str = "",
    *,
    server: str = "granian",
    full: str = "",
    rows: str = "",
    lacks: Mapping[str, str] = {},
    is_quick: bool = False,
) -> Contestant:
    """A peer whose application is `<environment>_app:app`, with `full_app` beside it and, if it has `rows`, `<environment>_rows:app`.

    Args:
        full: where `full_app` is, if it is elsewhere.
        rows: the driver with which it asks the database.
    """
    targets = {"app": f"{environment}_app:app", "full": full or f"{environment}_app:full_app"}
    if rows:
        targets["database"] = f"{environment}_rows:app"
    given = {**(NO_SOCKETS if door == "wsgi" else {}), **({} if rows else NO_ROWS), **lacks}
    packages = (package or environment, *((rows,) if rows else ()))
    return Contestant(name, door, targets, environment, packages, server, given, is_quick)


def bare(door: str) -> Contestant:
    targets = {"app": f"bare:{door}", "full": f"bare:{door}"}
    if door != "rsgi":
        targets["database"] = f"bare_rows:{door}"
    lacks = NO_SOCKETS if door == "wsgi" else NO_ROWS if door == "rsgi" else {}
    return Contestant(f"bare {door.upper()}", door, targets, packages=("granian",), lacks=lacks, is_quick=True)


def carboy(name: str, door: str, app: str, *, server: str = "granian", lacks: Mapping[str, str] = {}) -> Contestant:
    targets = {"app": f"carboy_app:{app}", "full": f"carboy_app:full_{app}"}
    if "database" not in lacks:
        targets["database"] = f"carboy_rows:{app}"
    return Contestant(f"Carboy, {name}", door, targets, packages=("carboy",), server=server, lacks=lacks, is_quick=True)


BARE = (bare("asgi"), bare("wsgi"), bare("rsgi"))
CARBOY = (
    carboy("ASGI, async views", "asgi", "app"),
    carboy("ASGI, def views", "asgi", "sync_app", lacks={"websocket": "the views of WebSockets are async"}),
    carboy("WSGI, def views", "wsgi", "sync_app", lacks=NO_SOCKETS),
    carboy("RSGI, async views", "rsgi", "app", lacks=NO_ROWS),
    carboy("`carboy run`, async views", "asgi", "app", server="carboy run", lacks=NO_ROWS),
)
PEERS = (
    peer("Flask", "wsgi", "flask", rows="psycopg", is_quick=True),
    peer("Django", "wsgi", "django", full="django_full:app", rows="psycopg"),
    peer("Bottle", "wsgi", "bottle"),
    peer("Starlette", "asgi", "starlette", rows="asyncpg", is_quick=True),
    peer("FastAPI", "asgi", "fastapi", rows="asyncpg", is_quick=True),
    peer("Litestar", "asgi", "litestar"),
    peer("BlackSheep", "asgi", "blacksheep", is_quick=True),
    peer("Falcon", "asgi", "falcon", rows="asyncpg"),
    peer("Quart", "asgi", "quart"),
    peer("Emmett55", "rsgi", "emmett55", full="emmett55_app:app"),
    peer("aiohttp, own server", "asgi", "aiohttp", server="own", rows="asyncpg"),
    peer("Sanic, own server", "asgi", "sanic", server="own"),
    peer("Robyn, own server", "asgi", "robyn", server="own"),
    peer("socketify, own server", "asgi", "socketify", server="own"),
    peer("Tornado, own server", "asgi", "tornado", server="own"),
)
ALL = (*BARE, *CARBOY, *PEERS)
