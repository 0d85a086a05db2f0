"""The verbs: `await app.http.get(url)`, and `app.http.sync.get(url)` from a `def`. What they share is written once.

Each caller has its pools: the async one a pool for each event loop (a connection belongs to its loop), the sync one a
pool for the process. They are made at the first call, and forgotten by a forked child.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import threading
import time
import weakref
from collections.abc import AsyncIterable, Coroutine, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from functools import partial
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Generic, Protocol, TypedDict, TypeVar, Unpack
from urllib.request import getproxies

import httpx2

from .delivery import ERRAND, AsyncTransport, Errand, House, SyncTransport

Answer = TypeVar("Answer")
Opened = TypeVar("Opened")

#: Most redirects followed where a call asks for it and the settings do not.
MOST_REDIRECTS = 5
#: Seconds that a pool of another loop has to close.
_CLOSING = 2.0


class CallOptions(TypedDict, total=False):
    """What a call may say: httpx2's own arguments, then ours.

    Attributes:
        timeout: seconds for each phase, or httpx2's Timeout; the settings' if not given.
        retries: most attempts after the first.
        deadline: seconds for the whole call; None for no limit.
        propagate: hand on the ids of the request at hand.
    """

    content: str | bytes | Iterable[bytes] | AsyncIterable[bytes]
    data: Mapping[str, Any]
    files: Any
    json: Any
    params: Mapping[str, Any] | Sequence[tuple[str, Any]] | str
    headers: Mapping[str, str] | Sequence[tuple[str, str]] | httpx2.Headers
    auth: httpx2.Auth | tuple[str, str] | None
    follow_redirects: bool
    timeout: float | httpx2.Timeout | None
    extensions: dict[str, Any]
    retries: int
    deadline: float | None
    propagate: bool


class Home(House, Protocol):
    """The client that a caller belongs to."""

    user_agent: str

    def handed_on(self) -> Mapping[str, str]:
        """The headers that the request at hand hands on."""
        ...

    def certificates(self) -> Any:
        """What httpx2 checks servers by; the same object for all pools."""
        ...


_living: weakref.WeakSet[Verbs[Any, Any]] = weakref.WeakSet()


class Verbs(Generic[Answer, Opened]):
    """The verbs of either colour: *Answer* is what a call gives, *Opened* what a stream gives."""

    def __init__(self, home: Home, *, is_public: bool = False) -> None:
        self.home = home
        self.is_public = is_public
        self.making = threading.Lock()
        _living.add(self)

    def request(self, method: str, url: httpx2.URL | str, **options: Unpack[CallOptions]) -> Answer:
        raise NotImplementedError

    def stream(self, method: str, url: httpx2.URL | str, **options: Unpack[CallOptions]) -> Opened:
        raise NotImplementedError

    def forget(self) -> None:
        raise NotImplementedError

    def get(self, url: httpx2.URL | str, **options: Unpack[CallOptions]) -> Answer:
        """GET."""
        return self.request("GET", url, **options)

    def head(self, url: httpx2.URL | str, **options: Unpack[CallOptions]) -> Answer:
        """HEAD."""
        return self.request("HEAD", url, **options)

    def options(self, url: httpx2.URL | str, **options: Unpack[CallOptions]) -> Answer:
        """OPTIONS."""
        return self.request("OPTIONS", url, **options)

    def post(self, url: httpx2.URL | str, **options: Unpack[CallOptions]) -> Answer:
        """POST; not sent again once a byte of it may have arrived."""
        return self.request("POST", url, **options)

    def put(self, url: httpx2.URL | str, **options: Unpack[CallOptions]) -> Answer:
        """PUT."""
        return self.request("PUT", url, **options)

    def patch(self, url: httpx2.URL | str, **options: Unpack[CallOptions]) -> Answer:
        """PATCH; not sent again once a byte of it may have arrived."""
        return self.request("PATCH", url, **options)

    def delete(self, url: httpx2.URL | str, **options: Unpack[CallOptions]) -> Answer:
        """DELETE."""
        return self.request("DELETE", url, **options)

    def _prepared(self, options: CallOptions, *, is_stream: bool) -> dict[str, Any]:
        """A call's options as httpx2 takes them; ours go along in the request's extensions."""
        settings = self.home.settings
        arguments: dict[str, Any] = dict(options)
        retries: int = arguments.pop("retries", settings.retries)
        deadline: float | None = arguments.pop("deadline", settings.deadline)
        if retries < 0 or (deadline is not None and deadline <= 0):
            raise ValueError(f"retries={retries} must not be negative, and deadline={deadline} must be seconds, or None for no limit")
        if arguments.pop("propagate", settings.propagate):
            headers = httpx2.Headers(arguments.get("headers"))
            for name, value in self.home.handed_on().items():
                headers.setdefault(name, value)
            arguments["headers"] = headers
        until = time.monotonic() + deadline if deadline is not None else None
        arguments["extensions"] = {**arguments.get("extensions", {}), ERRAND: Errand(retries, until, deadline, is_stream)}
        return arguments

    @property
    def uses_proxies(self) -> bool:
        """Whether the environment names proxies that count; a guarded call must see whom it is connected to."""
        return self.home.settings.trust_env and not self.is_public and bool(getproxies())

    def _pool_options(self) -> dict[str, Any]:
        settings = self.home.settings
        return {
            "verify": self.home.certificates(),
            "http2": settings.http2,
            "limits": httpx2.Limits(
                max_connections=settings.max_connections,
                max_keepalive_connections=settings.max_keepalive,
                keepalive_expiry=settings.keepalive_expiry,
            ),
        }

    def _client_options(self) -> dict[str, Any]:
        settings = self.home.settings
        return {
            "base_url": "" if self.is_public else settings.base_url,
            "headers": {"user-agent": self.home.user_agent},
            "cookies": _no_cookies(),
            "timeout": httpx2.Timeout(
                connect=settings.connect_timeout, read=settings.read_timeout, write=settings.write_timeout, pool=settings.pool_timeout
            ),
            "follow_redirects": settings.redirects > 0,
            "max_redirects": settings.redirects or MOST_REDIRECTS,
        }


def _no_cookies() -> CookieJar:
    """A jar that keeps nothing: one pool serves all users, and what a server sets for one must not be sent for another."""
    return CookieJar(DefaultCookiePolicy(allowed_domains=[]))


def _is_on_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


class Caller(Verbs[Coroutine[Any, Any, httpx2.Response], AbstractAsyncContextManager[httpx2.Response]]):
    """Calls from `async def`.

    Example:
        >>> async def view():
        ...     answer = await app.http.get("https://api.example/users/7")
        ...     return answer.json()
    """

    def __init__(self, home: Home, *, is_public: bool = False) -> None:
        super().__init__(home, is_public=is_public)
        self.pools: dict[asyncio.AbstractEventLoop, httpx2.AsyncClient] = {}

    def request(self, method: str, url: httpx2.URL | str, **options: Unpack[CallOptions]) -> Coroutine[Any, Any, httpx2.Response]:
        """Call, and read the whole answer.

        Raises:
            RuntimeError: there is no event loop here: in a `def` it is `app.http.sync`.
            httpx2.HTTPError: no answer; its subclasses in `errors.py` say what of ours was in the way.
        """
        return self.client().request(method, url, **self._prepared(options, is_stream=False))

    def stream(self, method: str, url: httpx2.URL | str, **options: Unpack[CallOptions]) -> AbstractAsyncContextManager[httpx2.Response]:
        """Call, and hand over the answer with its body unread: `async with app.http.stream("GET", url) as answer`."""
        return self.client().stream(method, url, **self._prepared(options, is_stream=True))

    def client(self) -> httpx2.AsyncClient:
        """httpx2's own client with this loop's pool; retries and breakers are below it.

        Raises:
            RuntimeError: there is no event loop here.
        """
        if not _is_on_loop():
            raise RuntimeError("app.http is for 'async def'; in a 'def' call app.http.sync.get(...), and so on")
        loop = asyncio.get_running_loop()
        found = self.pools.get(loop)
        if found is None:
            with self.making:
                for other in [each for each in self.pools if each.is_closed()]:
                    del self.pools[other]
                found = self.pools[loop] = httpx2.AsyncClient(transport=self._transport(), **self._client_options())
        return found

    def _transport(self) -> AsyncTransport:
        if self.uses_proxies:
            # httpx2 reads the environment in its clients alone.
            through = httpx2.AsyncClient(cookies=_no_cookies(), **self._pool_options())
            return AsyncTransport(self.home, partial(through.send, stream=True), through.aclose, is_public=False)
        straight = httpx2.AsyncHTTPTransport(trust_env=self.home.settings.trust_env, **self._pool_options())
        return AsyncTransport(self.home, straight.handle_async_request, straight.aclose, is_public=self.is_public)

    async def close(self) -> None:
        """Close every pool, each on its own loop."""
        with self.making:
            pools, self.pools = self.pools, {}
        here = asyncio.get_running_loop()
        for loop, client in pools.items():
            if loop is here:
                await client.aclose()
            elif loop.is_running():
                closing: concurrent.futures.Future[None] = asyncio.run_coroutine_threadsafe(client.aclose(), loop)
                await asyncio.wait_for(asyncio.wrap_future(closing), _CLOSING)

    def forget(self) -> None:
        self.making = threading.Lock()
        self.pools = {}


class SyncCaller(Verbs[httpx2.Response, AbstractContextManager[httpx2.Response]]):
    """Calls from `def`, from any thread.

    Example:
        >>> def view():
        ...     return app.http.sync.get("https://api.example/users/7").json()
    """

    def __init__(self, home: Home, *, is_public: bool = False) -> None:
        super().__init__(home, is_public=is_public)
        self.pool: httpx2.Client | None = None

    def request(self, method: str, url: httpx2.URL | str, **options: Unpack[CallOptions]) -> httpx2.Response:
        """Call, and read the whole answer.

        Raises:
            RuntimeError: this is an event loop's thread, which must not wait: there it is `await app.http`.
            httpx2.HTTPError: no answer; its subclasses in `errors.py` say what of ours was in the way.
        """
        return self.client().request(method, url, **self._prepared(options, is_stream=False))

    def stream(self, method: str, url: httpx2.URL | str, **options: Unpack[CallOptions]) -> AbstractContextManager[httpx2.Response]:
        """Call, and hand over the answer with its body unread: `with app.http.sync.stream("GET", url) as answer`."""
        return self.client().stream(method, url, **self._prepared(options, is_stream=True))

    def client(self) -> httpx2.Client:
        """httpx2's own client with the process's pool; retries and breakers are below it.

        Raises:
            RuntimeError: this is an event loop's thread.
        """
        if _is_on_loop():
            raise RuntimeError("app.http.sync would block the event loop here; await app.http.get(...), and so on")
        if self.pool is None:
            with self.making:
                if self.pool is None:
                    self.pool = httpx2.Client(transport=self._transport(), **self._client_options())
        return self.pool

    def _transport(self) -> SyncTransport:
        if self.uses_proxies:
            through = httpx2.Client(cookies=_no_cookies(), **self._pool_options())
            return SyncTransport(self.home, partial(through.send, stream=True), through.close, is_public=False)
        straight = httpx2.HTTPTransport(trust_env=self.home.settings.trust_env, **self._pool_options())
        return SyncTransport(self.home, straight.handle_request, straight.close, is_public=self.is_public)

    def close(self) -> None:
        """Close the pool."""
        with self.making:
            pool, self.pool = self.pool, None
        if pool is not None:
            pool.close()

    def forget(self) -> None:
        self.making = threading.Lock()
        self.pool = None


def _forked() -> None:
    for verbs in tuple(_living):
        verbs.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
