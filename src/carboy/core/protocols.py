"""What the files of the core need to know of each other's objects, so that none imports another in a ring."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol


class AppLike(Protocol):
    """What a context needs of its app."""

    config: Any
    app_ctx_globals_class: type[Any]

    @property
    def name(self) -> str: ...

    def create_url_adapter(self, request: Any) -> Any: ...
    def open_session(self, request: Any) -> Any: ...
    def begin(self, ctx: Any) -> None:
        """Open what must be open before a request is matched, then match it."""

    def match(self, ctx: Any) -> None: ...
    def tear_down(self, ctx: Any, exc: BaseException | None, owns_app: bool) -> None: ...
    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]: ...
