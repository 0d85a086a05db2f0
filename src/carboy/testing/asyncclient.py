"""The async test client: the same requests, cookies and sessions as `Client`, awaited on the loop of the test.

Requests are built and cookies kept by a `Client` that never sends; each request runs through the ASGI door on the
caller's own loop, so that tests and app share connections, locks and tasks. The lifespan runs in `async with`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlsplit

from werkzeug.datastructures import Headers
from werkzeug.test import ClientRedirectError, Cookie, TestResponse
from werkzeug.wrappers import Request
from werkzeug.wsgi import get_current_url

from .asgi import ASGIExchange, Lifespan
from .client import Client
from .subject import Subject
from .websocket import AsyncSocketSession

REDIRECTS = frozenset({301, 302, 303, 305, 307, 308})


@dataclass(frozen=True, slots=True)
class StreamedResponse:
    """An answer whose body is still coming.

    Attributes:
        status: as in `200 OK`.
        headers: of the answer.
        chunks: the pieces of the body, as they arrive.
    """

    status: str
    headers: Headers
    chunks: AsyncIterator[bytes]

    @property
    def status_code(self) -> int:
        """The status as a number."""
        return int(self.status[:3])


class _Desk(Client):
    """Builds requests and keeps cookies. Where Werkzeug would send a redirected request, it is handed out."""

    def open(self, *args: Any, **kwargs: Any) -> Any:
        kwargs.pop("buffered", None)
        return self._request_from(args, kwargs)

    def request_for(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Request:
        """Build the request that these arguments of `open` mean."""
        return self._request_from(args, kwargs)

    def socket_for(self, args: tuple[Any, ...], kwargs: dict[str, Any], state: dict[str, Any] | None) -> AsyncSocketSession:
        """Make the session that these arguments of `websocket` mean."""
        subprotocols = kwargs.pop("subprotocols", ())
        return self._socket(self._request_from(args, kwargs), subprotocols, state)

    def redirected(self, response: TestResponse) -> Request:
        """Build the request that a redirect leads to."""
        request: Any = self.resolve_redirect(response)  # ends in `open`, above
        return request  # type: ignore[no-any-return]

    def stamp(self, request: Request) -> None:
        """Add the cookies that belong to a request."""
        self._add_cookies_to_wsgi(request.environ)

    def take(self, request: Request, headers: Headers) -> None:
        """Keep the cookies that came with an answer."""
        url = urlsplit(get_current_url(request.environ))
        self._update_cookies_from_response(url.hostname or "localhost", url.path, headers.getlist("Set-Cookie"))


class AsyncClient:
    """Send requests to an app from async tests.

    In `async with` the app's lifespan runs: started before the first line of the block, stopped after the last.
    Requests may run at the same time, with `asyncio.gather`.

    Args:
        app: the app under test.
        use_cookies: keep the cookies of answers for the requests that follow.
        **kwargs: as `werkzeug.test.Client`.

    Example::

        async def test_index(app):
            async with AsyncClient(app) as client:
                response = await client.get("/")
                assert response.status_code == 200
    """

    def __init__(self, app: Subject, use_cookies: bool = True, **kwargs: Any) -> None:
        self.application = app
        self._desk = _Desk(app, kwargs.pop("response_wrapper", app.response_class), use_cookies=use_cookies, **kwargs)
        self._lifespan: Lifespan | None = None

    @property
    def environ_base(self) -> dict[str, Any]:
        """Defaults of every request's environ; may be changed."""
        return self._desk.environ_base

    async def __aenter__(self) -> Self:
        self._lifespan = Lifespan(self.application)
        await self._lifespan.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        lifespan, self._lifespan = self._lifespan, None
        if lifespan is not None:
            await lifespan.stop()

    async def open(self, *args: Any, follow_redirects: bool = False, **kwargs: Any) -> TestResponse:
        """Send one request and give its answer, whole.

        Args:
            *args: a path and more, as `Client.open`.
            follow_redirects: go on until an answer is no redirect; the others are in `response.history`.
            **kwargs: as `Client.open`.
        """
        request = self._desk.request_for(args, kwargs)
        response = await self._send(request)
        history: list[TestResponse] = []
        visited: set[tuple[str | None, int]] = set()
        while follow_redirects and response.status_code in REDIRECTS:
            step = (response.location, response.status_code)
            if step in visited:
                raise ClientRedirectError(f"a loop: {step[1]} to {step[0]} has been followed already")
            visited.add(step)
            response.history = tuple(history)
            history.append(response)
            response = await self._send(self._desk.redirected(response))
        response.history = tuple(history)
        return response

    @asynccontextmanager
    async def stream(self, *args: Any, **kwargs: Any) -> AsyncIterator[StreamedResponse]:
        """Send a request and read its answer while it comes; leaving the block hangs up.

        Example::

            async with client.stream("/events") as response:
                async for chunk in response.chunks:
                    ...
        """
        request = self._desk.request_for(args, kwargs)
        exchange = self._exchange(request)
        try:
            status, lines = await exchange.begin()
            headers = Headers(lines)
            self._desk.take(request, headers)
            async with aclosing(_pieces(exchange)) as chunks:
                yield StreamedResponse(status, headers, chunks)
        finally:
            await exchange.leave()

    def websocket(self, *args: Any, subprotocols: Sequence[str] = (), **kwargs: Any) -> AsyncSocketSession:
        """Open a WebSocket in an `async with` block.

        Args:
            *args: a path and more, as `open`.
            subprotocols: to offer, in order of preference.
            **kwargs: as `open`: `headers`, `query_string`, `base_url` …

        Raises:
            WebSocketRefused: the application does not want it; at the start of the block.

        Example::

            async with client.websocket("/chat/7") as ws:
                await ws.send("hello")
                assert await ws.receive() == "7: hello"
        """
        state = self._lifespan.state if self._lifespan is not None else None
        return self._desk.socket_for(args, {**kwargs, "subprotocols": subprotocols}, state)

    @asynccontextmanager
    async def session_transaction(self, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        """Open the session between two requests; what is changed in it is saved at the end of the block.

        Example::

            async with client.session_transaction() as session:
                session["user"] = 7
        """
        with self._desk.session_transaction(*args, **kwargs) as session:
            yield session

    def get_cookie(self, key: str, domain: str = "localhost", path: str = "/") -> Cookie | None:
        """Give a cookie that is kept; None if there is none."""
        return self._desk.get_cookie(key, domain, path)

    def set_cookie(self, key: str, value: str = "", **kwargs: Any) -> None:
        """Keep a cookie, as if an answer had set it."""
        self._desk.set_cookie(key, value, **kwargs)

    def delete_cookie(self, key: str, **kwargs: Any) -> None:
        """Forget a cookie."""
        self._desk.delete_cookie(key, **kwargs)

    async def get(self, *args: Any, **kwargs: Any) -> TestResponse:
        """Send GET; as `open`."""
        return await self.open(*args, method="GET", **kwargs)

    async def post(self, *args: Any, **kwargs: Any) -> TestResponse:
        """Send POST; as `open`."""
        return await self.open(*args, method="POST", **kwargs)

    async def put(self, *args: Any, **kwargs: Any) -> TestResponse:
        """Send PUT; as `open`."""
        return await self.open(*args, method="PUT", **kwargs)

    async def patch(self, *args: Any, **kwargs: Any) -> TestResponse:
        """Send PATCH; as `open`."""
        return await self.open(*args, method="PATCH", **kwargs)

    async def delete(self, *args: Any, **kwargs: Any) -> TestResponse:
        """Send DELETE; as `open`."""
        return await self.open(*args, method="DELETE", **kwargs)

    async def head(self, *args: Any, **kwargs: Any) -> TestResponse:
        """Send HEAD; as `open`."""
        return await self.open(*args, method="HEAD", **kwargs)

    async def options(self, *args: Any, **kwargs: Any) -> TestResponse:
        """Send OPTIONS; as `open`."""
        return await self.open(*args, method="OPTIONS", **kwargs)

    def _exchange(self, request: Request) -> ASGIExchange:
        self._desk.stamp(request)
        state = self._lifespan.state if self._lifespan is not None else None
        return ASGIExchange(self.application, request.environ, state)

    async def _send(self, request: Request) -> TestResponse:
        exchange = self._exchange(request)
        try:
            status, lines = await exchange.begin()
            body = [piece async for piece in _pieces(exchange)]
        finally:
            await exchange.leave()
        headers = Headers(lines)
        self._desk.take(request, headers)
        response = self._desk.response_wrapper(body, status, headers, request=request)
        response.json_module = self.application.json
        return response

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.application!r}>"


async def _pieces(exchange: ASGIExchange) -> AsyncGenerator[bytes, None]:
    while (piece := await exchange.piece()) is not None:
        yield piece
