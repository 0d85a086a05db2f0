"""Applications of other people, as they are on the registry, served by the real command.

Each has a cached environment of its own with pinned requirements, the real Flask beside; see
`tests/extensions/environment.py`. Nothing of theirs is in this project.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import Client

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "extensions"))

from environment import environment  # noqa: E402  # after the path
from serving import forwarding, served  # noqa: E402


class Application:
    """One that is being served: its port, its environment's Python, and its log."""

    def __init__(self, port: int, python: Path, log: Path) -> None:
        self.port = port
        self.python = python
        self.log = log
        self.url = f"http://127.0.0.1:{port}"

    def client(self) -> Client:
        """Give a browser without windows: Werkzeug's test client, over HTTP."""
        return Client(forwarding(self.port))


Serve = Callable[..., Application]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """A function that serves an application of the environment of a requirements file with `carboy run`."""
    with ExitStack() as stack:

        def start(requirements: str, target: str, *options: str, environ: dict[str, str] | None = None, cwd: Path | None = None) -> Any:
            python = environment(HERE / f"{requirements}.txt")
            log = tmp_path / "server.log"
            port = stack.enter_context(served(target, python, cwd=cwd or tmp_path, log=log, options=options, environ=environ))
            return Application(port, python, log)

        yield start
