"""Who is measured, on which server, in which set-up; add a line to add one."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import peers

APPS = Path(__file__).parent / "apps"
GRANIAN = ("granian==2.8.7", "uvloop", "jinja2")


@dataclass(frozen=True)
class Contestant:
    """One row of the tables.

    Attributes:
        name: as printed.
        door: what it is compared with: the bare callable of this door on granian.
        target: what the server serves, `module:name`.
        full_target: the same for the workload with hooks and a session; None if it cannot do that.
        environment: its venv; None is ours.
        package: whose version is printed.
        requirements: of its venv.
        server: "granian", "carboy run", or the module's own (`python module.py PORT`).
    """

    name: str
    door: str
    target: str
    full_target: str | None = None
    environment: str | None = None
    package: str = ""
    requirements: tuple[str, ...] = ()
    server: str = "granian"

    def python(self) -> str:
        """The interpreter that runs it."""
        if self.environment is None:
            return sys.executable
        return peers.python_of(self.environment, (*GRANIAN, *self.requirements))

    def command(self, target: str, port: int) -> list[str]:
        """How its server is started; run in the folder of the applications."""
        python = self.python()
        if self.server == "own":
            return [python, f"{target.partition(':')[0]}.py", str(port), target.partition(":")[2]]
        if self.server == "carboy run":
            run = [python, "-m", "carboy", "run", target, "-h", "127.0.0.1", "-p", str(port), "--workers", "1"]
            return [*run, "--log-level", "error"]
        door = {"asgi": [], "rsgi": [], "wsgi": ["--blocking-threads", "4"]}[self.door]
        return [
            python, "-m", "granian", "--interface", self.door, "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
            "--runtime-threads", "2", "--loop", "uvloop", "--log-level", "error", *door, target,
        ]  # fmt: skip


def peer(name: str, door: str, module: str, requirements: tuple[str, ...], server: str = "granian") -> Contestant:
    """A peer whose application is `module:app`, with `module:full_app` beside it."""
    environment = module.removesuffix("_app") if module != "flask_app" else "flask-served"
    return Contestant(name, door, f"{module}:app", f"{module}:full_app", environment, requirements[0], requirements, server)


BARE = (
    Contestant("bare ASGI", "asgi", "bare:asgi", "bare:asgi"),
    Contestant("bare WSGI", "wsgi", "bare:wsgi", "bare:wsgi"),
    Contestant("bare RSGI", "rsgi", "bare:rsgi", "bare:rsgi"),
)
CARBOY = (
    Contestant("Carboy, ASGI, async views", "asgi", "carboy_app:app", "carboy_app:full_app", package="carboy"),
    Contestant("Carboy, ASGI, def views", "asgi", "carboy_app:sync_app", "carboy_app:full_sync_app", package="carboy"),
    Contestant("Carboy, WSGI, def views", "wsgi", "carboy_app:sync_app", "carboy_app:full_sync_app", package="carboy"),
    Contestant("Carboy, RSGI, async views", "rsgi", "carboy_app:app", "carboy_app:full_app", package="carboy"),
    Contestant("Carboy, `carboy run`, async views", "asgi", "carboy_app:app", "carboy_app:full_app", package="carboy", server="carboy run"),
)
PEERS = (
    peer("Flask", "wsgi", "flask_app", ("flask",)),
    peer("Bottle", "wsgi", "bottle_app", ("bottle",)),
    peer("Starlette", "asgi", "starlette_app", ("starlette", "itsdangerous")),
    peer("FastAPI", "asgi", "fastapi_app", ("fastapi", "itsdangerous")),
    peer("BlackSheep", "asgi", "blacksheep_app", ("blacksheep", "itsdangerous")),
    peer("Falcon", "asgi", "falcon_app", ("falcon", "itsdangerous")),
    peer("Quart", "asgi", "quart_app", ("quart",)),
    Contestant("Litestar", "asgi", "litestar_app:app", None, "litestar", "litestar", ("litestar",)),
    peer("aiohttp, own server", "asgi", "aiohttp_app", ("aiohttp",), "own"),
    peer("Tornado, own server", "asgi", "tornado_app", ("tornado",), "own"),
)
ALL = (*BARE, *CARBOY, *PEERS)
