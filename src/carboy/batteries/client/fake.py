"""A double of all other servers, for tests: says what they answer, keeps what they were asked, touches no network.

    with app.http.fake() as upstream:
        users = upstream.get("https://api.example/users/7").respond(json={"name": "Ada"})
        assert client.get("/profile/7").json == {"name": "Ada"}
        assert len(users.calls) == 1

It stands where the network would, below httpx2 and below retries and breakers, so those are tested too; pauses
before a retry are noted and not slept. Both colours and all threads meet the same double.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from fnmatch import fnmatchcase
from types import TracebackType
from typing import Any

import httpx2

from .breaker import Breakers
from .delivery import House
from .errors import UnexpectedCall

#: What a declared call gives: a response made anew each time, or an error.
Reply = Callable[[httpx2.Request], httpx2.Response]


class Route:
    """A declared call: its answers, and the requests that came.

    Attributes:
        method: upper-case.
        url: absolute, or below `HTTP_CLIENT_BASE_URL`; `*` stands for any text. Without a query, any query matches.
        calls: the requests, in order.
    """

    def __init__(self, method: str, url: httpx2.URL) -> None:
        self.method = method
        self.url = url
        self.calls: list[httpx2.Request] = []
        self.replies: list[Reply] = []

    def __repr__(self) -> str:
        return f"{self.method} {self.url}"

    def respond(
        self,
        status: int = 200,
        *,
        json: Any = None,
        text: str | None = None,
        content: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Route:
        """Answer the next call with this; the last answer declared serves all further ones."""
        return self.answer(lambda _: httpx2.Response(status, headers=headers, json=json, text=text, content=content))

    def fail(self, error: type[httpx2.TransportError] | httpx2.TransportError) -> Route:
        """Let the next call fail: `httpx2.ConnectError`, `httpx2.ReadTimeout` …"""

        def raising(request: httpx2.Request) -> httpx2.Response:
            raise error(f"{error.__name__} declared for {self!r}", request=request) if isinstance(error, type) else error

        return self.answer(raising)

    def answer(self, reply: Reply) -> Route:
        """Answer the next call with what a function makes of the request."""
        self.replies.append(reply)
        return self

    def matches(self, request: httpx2.Request) -> bool:
        """Whether a request is meant."""
        if self.method not in ("*", request.method):
            return False
        if self.url.query and sorted(self.url.params.multi_items()) != sorted(request.url.params.multi_items()):
            return False
        return fnmatchcase(_bare(request.url), _bare(self.url))


class Fake:
    """The double: declare with `get`, `post` and so on; look at `calls` afterwards.

    Attributes:
        calls: every request, in order, the unexpected among them.
        pauses: seconds that would have been waited before retries.
    """

    def __init__(self, home: House) -> None:
        self.home = home
        self.routes: list[Route] = []
        self.calls: list[httpx2.Request] = []
        self.unexpected: list[str] = []
        self.pauses: list[float] = []
        self.lock = threading.Lock()
        self.breakers = Breakers(home.settings.breaker_failures, home.settings.breaker_pause)

    # -- declaring ----------------------------------------------------------------------------------

    def route(self, method: str, url: str) -> Route:
        """Declare a call; of several that match, the one declared last is meant."""
        target = httpx2.URL(url)
        if target.is_relative_url:
            base = self.home.settings.base_url
            if not base:
                raise ValueError(f"{url!r} is relative, and HTTP_CLIENT_BASE_URL is not set; declare the whole URL")
            target = httpx2.URL(base.rstrip("/") + "/" + url.lstrip("/"))
        made = Route(method.upper(), target)
        with self.lock:
            self.routes.insert(0, made)
        return made

    def get(self, url: str) -> Route:
        return self.route("GET", url)

    def head(self, url: str) -> Route:
        return self.route("HEAD", url)

    def post(self, url: str) -> Route:
        return self.route("POST", url)

    def put(self, url: str) -> Route:
        return self.route("PUT", url)

    def patch(self, url: str) -> Route:
        return self.route("PATCH", url)

    def delete(self, url: str) -> Route:
        return self.route("DELETE", url)

    # -- standing in --------------------------------------------------------------------------------

    def answer(self, request: httpx2.Request) -> httpx2.Response:
        """Answer as declared.

        Raises:
            UnexpectedCall: nothing declared matches.
        """
        with self.lock:
            self.calls.append(request)
            for route in self.routes:
                if route.replies and route.matches(request):
                    reply = route.replies[min(len(route.calls), len(route.replies) - 1)]
                    route.calls.append(request)
                    break
            else:
                declared = ", ".join(map(repr, reversed(self.routes))) or "nothing"
                text = f"{request.method} {request.url} was called, and the test has declared {declared}"
                self.unexpected.append(text)
                raise UnexpectedCall(text)
        return reply(request)

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)

    def __enter__(self) -> Fake:
        if self.home.double is not None:
            raise RuntimeError("there is a double already: declare further calls on that one")
        self.home.double = self
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.home.double = None
        # The application may have turned the error into a 500.
        if error is None and self.unexpected:
            raise UnexpectedCall("; ".join(self.unexpected))


def _bare(url: httpx2.URL) -> str:
    return str(url.copy_with(query=None, fragment=None, username=None, password=None))
