"""What a door needs of the app behind it; an app is never imported here."""

from __future__ import annotations

from typing import Any, Protocol

from ..pipeline.plan import Journey, Plan
from ..wire.request import Request


class Visit(Journey, Protocol):
    """A request's context, as a door sees it."""

    plan: Plan
    holds: int

    @property
    def request(self) -> Request: ...
    @property
    def scope(self) -> Any: ...
    def hold(self) -> None: ...
    def release(self, exc: BaseException | None = None) -> None: ...


class Served(Protocol):
    """The app behind a door."""

    request_class: type[Request]
    response_class: type[Any]
    mounts: Any
    config: Any
    #: Whether mounts, or middleware around one of the doors, may want the request.
    has_detours: bool

    def find(self, request: Any, on_loop: bool = False) -> Any:
        """The context of a request, with its plan."""

    def is_replaced(self, name: str) -> bool: ...
    def body_limit(self, plan: Plan) -> int | None: ...
    def make_response(self, rv: Any) -> Any: ...
