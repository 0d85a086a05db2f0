"""The subject behind WSGI middleware, as many an application written for Flask has it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from subject import app  # type: ignore[import-not-found]  # beside this file, which a server loads


class Around:
    def __init__(self, inner: Callable[..., Iterable[bytes]]) -> None:
        self.inner = inner

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        return self.inner(environ, start_response)


app.wsgi_app = Around(app.wsgi_app)
