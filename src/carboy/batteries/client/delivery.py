"""One call: its attempts, their limits of time and size, and the two transports that httpx2 sends through.

The logic is `_deliver`, a generator of commands; `pipeline/both.py` makes both colours of it. It stands below httpx2's
redirects and authentication, so each request of theirs is an attempt of its own, and all share one `Errand`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import httpx2

from ...pipeline.both import Call, both
from .breaker import Breakers, Outcome
from .errors import CircuitOpen, DeadlineExceeded, ResponseTooLarge
from .guard import check_host, guarded
from .retry import is_failure, may_retry, pause_before
from .settings import Settings

log = logging.getLogger("carboy.http")

#: Key of the errand in a request's extensions, and of the number of attempts in a response's.
ERRAND, ATTEMPTS = "carboy.errand", "carboy.attempts"
#: Never taken along to another origin, whatever the settings say.
_CREDENTIALS = ("authorization", "proxy-authorization", "cookie")


@dataclass(slots=True)
class Errand:
    """One call of the user's, over all its attempts and redirects.

    Attributes:
        retries: most attempts after the first, for each request.
        until: end of the whole call, on the monotonic clock; None for no limit.
        deadline: the seconds it had, for the error's text.
        is_stream: the caller reads the body; neither its time nor the deadline's is ours.
        origin: the first request's.
        attempts: requests sent so far.
    """

    retries: int
    until: float | None
    deadline: float | None
    is_stream: bool
    origin: tuple[str, str, int | None] | None = None
    attempts: int = 0

    def remaining(self) -> float | None:
        """Seconds left.

        Raises:
            DeadlineExceeded: none.
        """
        if self.until is None:
            return None
        left = self.until - time.monotonic()
        if left <= 0:
            raise self.too_late()
        return left

    def too_late(self) -> DeadlineExceeded:
        return DeadlineExceeded(f"the call took longer than its deadline of {self.deadline:g} s, in {self.attempts} attempts")


class Double(Protocol):
    """What stands in for the network in tests."""

    breakers: Breakers

    def answer(self, request: httpx2.Request) -> httpx2.Response: ...

    def pause(self, seconds: float) -> None: ...


class House(Protocol):
    """What a delivery asks of the client it belongs to."""

    settings: Settings
    breakers: Breakers
    #: In place of the network, while a test has one.
    double: Double | None


@dataclass(frozen=True, slots=True)
class Carrier:
    """What every call of one pool has in common.

    Attributes:
        carry: sends one request through the pool; of the pool's colour.
        is_public: only public addresses may be called.
    """

    house: House
    carry: Callable[[httpx2.Request], Any]
    is_public: bool
    awaits: bool

    @property
    def max_response(self) -> int:
        settings = self.house.settings
        return settings.public_max_response if self.is_public else settings.max_response


def _deliver(carrier: Carrier, request: httpx2.Request) -> Generator[Call, Any, httpx2.Response]:
    """Send a request until there is an answer worth having, or no sense in another attempt."""
    house = carrier.house
    settings, double = house.settings, house.double
    breakers = house.breakers if double is None else double.breakers
    errand: Errand = request.extensions.get(ERRAND) or errand_of(settings)
    if carrier.is_public:
        check_host(request.url, settings.public_hosts)
        request.extensions = guarded(request.extensions, request.url.host, awaits=carrier.awaits)
    _leave_private_headers(request, errand, settings)
    if carrier.max_response:
        # What is unpacked has no size until it is unpacked.
        request.headers["accept-encoding"] = "identity"
    origin = origin_of(request.url)
    is_resendable = isinstance(request.stream, httpx2.ByteStream)
    wanted: dict[str, float | None] = dict(request.extensions.get("timeout", {}))
    for retry in range(errand.retries + 1):
        left = errand.remaining()
        request.extensions["timeout"] = wanted if left is None else {name: left if value is None else min(value, left) for name, value in wanted.items()}
        ticket = breakers.enter(origin)
        errand.attempts += 1
        outcome: Outcome = "abandoned"
        trouble: httpx2.Response | Exception
        try:
            response: httpx2.Response = yield Call(_send, _asend, (carrier, double, request, errand))
        except Exception as error:
            trouble = error
            outcome = "failure" if is_failure(error) else "abandoned"
        else:
            trouble = response
            outcome = "failure" if is_failure(response) else "success"
        finally:
            # "abandoned" here: nobody waits any more, and the generator is closed.
            breakers.leave(ticket, outcome)
        pause = None
        if outcome == "failure" and retry < errand.retries and may_retry(request.method, is_resendable, trouble) and breakers.lets(origin):
            pause = pause_before(retry, trouble, settings)
        if pause is None or (errand.until is not None and time.monotonic() + pause >= errand.until):
            return _handed_over(trouble, carrier, errand)
        why = f"{trouble.status_code}" if isinstance(trouble, httpx2.Response) else f"{type(trouble).__name__}: {trouble}"
        log.info("%s %s: %s; attempt %d of %d in %.2f s", request.method, shown(request.url), why, retry + 2, errand.retries + 1, pause)
        if isinstance(trouble, httpx2.Response):
            yield Call(_close, _aclose, (trouble,))
        if double is None:
            yield Call(time.sleep, asyncio.sleep, (pause,))
        else:
            double.pause(pause)
    raise AssertionError("unreachable: the last attempt is handed over")


deliver, adeliver = both(_deliver)


def errand_of(settings: Settings) -> Errand:
    """The errand of a request that was not made by our own verbs."""
    return Errand(settings.retries, None, None, True)


def origin_of(url: httpx2.URL) -> str:
    """Host and port."""
    port = url.port or {"http": 80, "https": 443, "ws": 80, "wss": 443}.get(url.scheme, 0)
    return f"[{url.host}]:{port}" if ":" in url.host else f"{url.host}:{port}"


def shown(url: httpx2.URL) -> str:
    """A URL for the log: without credentials and query, which may be secrets."""
    return str(url.copy_with(username=None, password=None, query=None, fragment=None))


def _leave_private_headers(request: httpx2.Request, errand: Errand, settings: Settings) -> None:
    """Another origin than the caller's own choice gets none of the caller's credentials."""
    origin = (request.url.scheme, request.url.host, request.url.port)
    if errand.origin is None:
        errand.origin = origin
    elif origin != errand.origin:
        for name in (*_CREDENTIALS, *settings.private_headers):
            request.headers.pop(name, None)


def _handed_over(outcome: httpx2.Response | Exception, carrier: Carrier, errand: Errand) -> httpx2.Response:
    if not isinstance(outcome, httpx2.Response):
        if errand.attempts > 1 and not isinstance(outcome, DeadlineExceeded | CircuitOpen):
            outcome.add_note(f"after {errand.attempts} attempts")
        raise outcome
    outcome.extensions[ATTEMPTS] = errand.attempts
    limit = carrier.max_response
    if limit or (errand.until is not None and not errand.is_stream):
        outcome.stream = Limited(outcome, limit, None if errand.is_stream else errand)
    return outcome


# -- what the commands do ---------------------------------------------------------------------------


def _send(carrier: Carrier, double: Double | None, request: httpx2.Request, errand: Errand) -> httpx2.Response:
    response: httpx2.Response = double.answer(request) if double is not None else carrier.carry(request)
    return response


async def _asend(carrier: Carrier, double: Double | None, request: httpx2.Request, errand: Errand) -> httpx2.Response:
    if double is not None:
        return double.answer(request)
    try:
        async with asyncio.timeout(errand.remaining()):
            response: httpx2.Response = await carrier.carry(request)
            return response
    except TimeoutError as error:
        raise errand.too_late() from error


def _close(response: httpx2.Response) -> None:
    response.close()


async def _aclose(response: httpx2.Response) -> None:
    await response.aclose()


class Limited(httpx2.SyncByteStream, httpx2.AsyncByteStream):
    """A response's body that ends at a size, or at a deadline, by an error.

    Sync code cannot be woken from a read: there the deadline is seen between two pieces, so a body may overrun it by
    one read time-out.
    """

    def __init__(self, response: httpx2.Response, limit: int, errand: Errand | None) -> None:
        self.inner: Any = response.stream
        self.limit = limit
        self.errand = errand
        self.size = 0
        coding = response.headers.get("content-encoding", "identity").lower()
        length = response.headers.get("content-length", "")
        self.refusal: str | None = None
        if limit and coding != "identity":
            self.refusal = f"the answer is compressed ({coding}), though it was asked not to be, so its size cannot be told"
        elif limit and length.isdecimal() and int(length) > limit:
            self.refusal = f"the answer has {length} bytes; the most is {limit}"

    def _begin(self) -> None:
        if self.refusal is not None:
            raise ResponseTooLarge(self.refusal)

    def _count(self, chunk: bytes) -> bytes:
        self.size += len(chunk)
        if self.limit and self.size > self.limit:
            raise ResponseTooLarge(f"the answer has more than {self.limit} bytes")
        return chunk

    def __iter__(self) -> Iterator[bytes]:
        self._begin()
        for chunk in self.inner:
            if self.errand is not None:
                self.errand.remaining()
            yield self._count(chunk)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self._begin()
        chunks = aiter(self.inner)
        errand = self.errand
        while True:
            try:
                async with asyncio.timeout(errand.remaining() if errand is not None else None):
                    chunk = await anext(chunks)
            except StopAsyncIteration:
                return
            except TimeoutError as error:
                if errand is None:
                    raise
                raise errand.too_late() from error
            yield self._count(chunk)

    def close(self) -> None:
        self.inner.close()

    async def aclose(self) -> None:
        await self.inner.aclose()


# -- what httpx2 sends through ----------------------------------------------------------------------


class SyncTransport(httpx2.BaseTransport):
    """httpx2's way from a `Client` to a delivery."""

    def __init__(self, house: House, carry: Callable[[httpx2.Request], httpx2.Response], end: Callable[[], None], *, is_public: bool) -> None:
        self.carrier = Carrier(house, carry, is_public, awaits=False)
        self.end = end

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        return deliver(self.carrier, request)

    def close(self) -> None:
        self.end()


class AsyncTransport(httpx2.AsyncBaseTransport):
    """httpx2's way from an `AsyncClient` to a delivery."""

    def __init__(
        self,
        house: House,
        carry: Callable[[httpx2.Request], Awaitable[httpx2.Response]],
        end: Callable[[], Awaitable[None]],
        *,
        is_public: bool,
    ) -> None:
        self.carrier = Carrier(house, carry, is_public, awaits=True)
        self.end = end

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        return await adeliver(self.carrier, request)

    async def aclose(self) -> None:
        await self.end()
