"""`app.http`: the client of an app, made when it is first asked for, closed with the app's lifespan."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from functools import cached_property
from importlib.metadata import version
from types import TracebackType
from typing import Any

import httpx2
import msgspec

from ...extend import Fitting
from .breaker import Breakers
from .callers import Caller, SyncCaller
from .delivery import Double
from .fake import Fake
from .propagate import headers_of
from .settings import Settings


class HTTPClient(Caller):
    """Calls to other servers: `await app.http.get(url)`; `app.http.sync` for `def`, `app.http.public` for strangers' URLs.

    Args:
        settings: what the app says; `HTTP_CLIENT_*` keys of the configuration outrank it.

    Example:
        >>> from carboy import Carboy
        >>> from carboy.batteries.client import HTTPClient
        >>> app = Carboy(__name__)
        >>> client = app.fit(HTTPClient(base_url="https://api.example", retries=1))
        >>> app.http is client
        True

    Every app has one with the default settings; fit it where the app sets its own.
    """

    name = "http_client"
    requires: tuple[str, ...] = ()

    def __init__(self, **settings: Any) -> None:
        super().__init__(self)
        self.given = settings
        self.settings = msgspec.convert(settings, Settings)
        self.breakers = Breakers(self.settings.breaker_failures, self.settings.breaker_pause)
        self.double: Double | None = None
        self.user_agent = "carboy"
        self.context: Callable[[], Any] = lambda: None

    def setup(self, fit: Fitting) -> None:
        """Read the configuration, and stand by to be closed."""
        from_config = fit.config(Settings)
        changed = {name: value for name, value in msgspec.structs.asdict(from_config).items() if value != getattr(Settings(), name)}
        self.settings = msgspec.convert({**self.given, **changed}, Settings)
        self.breakers = Breakers(self.settings.breaker_failures, self.settings.breaker_pause)
        self.user_agent = self.settings.user_agent or f"{fit.app.name} carboy/{version('carboy')}"
        self.context = fit.context
        fit.lifespan(lambda: self)
        if fit.app.lifespan_state.is_started:
            # Made by a request. First in, last out: what is stopped before may still call.
            fit.app.lifespan_state.opened.insert(0, self)

    @cached_property
    def sync(self) -> SyncCaller:
        """The same for `def` code: one pool a process, for all its threads."""
        return SyncCaller(self)

    @cached_property
    def public(self) -> PublicCaller:
        """The same for URLs that strangers give: public addresses alone, in pools of its own."""
        return PublicCaller(self)

    def fake(self) -> Fake:
        """A double of all other servers, for a test: `with app.http.fake() as upstream`."""
        return Fake(self)

    # -- what the callers ask -----------------------------------------------------------------------

    def handed_on(self) -> Mapping[str, str]:
        """The headers that the request at hand hands on."""
        ctx = self.context()
        return headers_of(ctx.request if ctx is not None else None)

    @cached_property
    def _certificates(self) -> Any:
        return httpx2.create_ssl_context(verify=self.settings.verify, trust_env=self.settings.trust_env)

    def certificates(self) -> Any:
        """What servers are checked by. PERF: read once a process; it is the dearest part of a pool."""
        return self._certificates

    # -- the app's lifespan -------------------------------------------------------------------------

    async def __aenter__(self) -> HTTPClient:
        # They take tenths of a second to read, which the first call would take from the loop.
        await asyncio.to_thread(self.certificates)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        errors: list[Exception] = []
        for verbs in (self, self.public):
            try:
                await verbs.close()
            except Exception as failure:  # the others are to be closed all the same
                errors.append(failure)
            try:
                verbs.sync.close()
            except Exception as failure:  # as above
                errors.append(failure)
        if errors:
            raise ExceptionGroup("some connections to other servers could not be closed", errors)


class PublicCaller(Caller):
    """`app.http.public`: calls that must not reach the inside of one's own network."""

    def __init__(self, home: HTTPClient) -> None:
        super().__init__(home, is_public=True)

    @cached_property
    def sync(self) -> SyncCaller:
        """The same for `def` code."""
        return SyncCaller(self.home, is_public=True)


_making = threading.Lock()


def client_of(app: Any) -> HTTPClient:
    """The client of an app; made, with the settings of the configuration, where none was fitted."""
    with _making:
        found = app.fitted.get(HTTPClient.name)
        if found is None:
            found = HTTPClient()
            # Not by `fit`, which makes the plans anew: they have no part in this, and there may be requests under way.
            found.setup(Fitting(app, found.name))
            app.fitted[found.name] = found
        client: HTTPClient = found
        return client
