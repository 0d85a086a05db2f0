"""What the testing room knows of the application under test.

The room stands below `app.py` and may not name the class `Carboy`; this Protocol lists the members it uses. The
values behind them come from the user's own subclasses and providers, so they are strangers here: hence `Any`.
"""

from __future__ import annotations

from typing import Any, Protocol


class Subject(Protocol):
    """An application as its tests see it: a callable server's end, and the parts that build a request."""

    config: Any
    json: Any
    session_interface: Any
    response_class: Any
    cli: Any

    # Two shapes, as a server finds them: (environ, start_response) and (scope, receive, send).
    def __call__(self, *args: Any) -> Any: ...

    def test_request_context(self, *args: Any, **kwargs: Any) -> Any: ...
