"""`app.http`: retries, deadlines, breakers, what is handed on, the double for tests; against real upstreams on loopback."""

from __future__ import annotations

import asyncio
import gzip
import os
import random
import re
import shutil
import subprocess
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carboy import Carboy
from carboy.batteries.client import (
    AddressRefused,
    CircuitOpen,
    DeadlineExceeded,
    HTTPClient,
    ResponseTooLarge,
    Settings,
    UnexpectedCall,
)
from carboy.batteries.client.breaker import TRANSITIONS, Breakers
from carboy.batteries.client.guard import is_public
from carboy.batteries.client.retry import may_retry, pause_before, retry_after
from carboy.core.errors import SetupError

Handler = Callable[[BaseHTTPRequestHandler], None]


class Upstream:
    """A server whose pages are functions of the handler; it keeps the heads of what it was asked."""

    def __init__(self) -> None:
        self.pages: dict[str, Handler] = {}
        self.heads: list[tuple[str, str, dict[str, str]]] = []
        self.connections = 0
        outer = self

        class Answers(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                outer.connections += 1

            def serve(self) -> None:
                path = self.path.partition("?")[0]
                outer.heads.append((self.command, self.path, {name.lower(): value for name, value in self.headers.items()}))
                self.body = self.rfile.read(int(self.headers.get("content-length", 0)))
                outer.pages[path](self)

            do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = serve

            def log_message(self, *_: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            request_queue_size = 128
            daemon_threads = True

        self.server = Server(("127.0.0.1", 0), Answers)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def give(handler: BaseHTTPRequestHandler, status: int = 200, body: bytes = b"ok", **headers: str) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.send_header("content-length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def after_failures(count: int, status: int = 503, **headers: str) -> Handler:
    left = [count]

    def page(handler: BaseHTTPRequestHandler) -> None:
        if left[0]:
            left[0] -= 1
            give(handler, status, **headers)
        else:
            give(handler)

    return page


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    served = Upstream()
    yield served
    served.close()


#: Pauses so short that tests need not wait.
QUICK: dict[str, Any] = {"HTTP_CLIENT_RETRY_PAUSE": 0.001}


def make_app(**config: Any) -> Carboy:
    app = Carboy(__name__)
    app.config.update(QUICK, **config)
    return app


Ask = Callable[..., httpx2.Response]


@pytest.fixture(params=["sync", "async"])
def ask(request: pytest.FixtureRequest) -> Iterator[Callable[[Carboy], Ask]]:
    """Calls in either colour; the app's lifespan runs around the async ones, and closes their pool."""
    closing: list[Callable[[], None]] = []

    def of(app: Carboy) -> Ask:
        if request.param == "sync":
            closing.append(lambda: app.http.sync.close())
            closing.append(lambda: app.http.public.sync.close())

            def ask_sync(method: str, url: str, *, public: bool = False, **options: Any) -> httpx2.Response:
                return (app.http.public if public else app.http).sync.request(method, url, **options)

            return ask_sync

        def ask_async(method: str, url: str, *, public: bool = False, **options: Any) -> httpx2.Response:
            async def main() -> httpx2.Response:
                async with app.async_test_client():
                    return await (app.http.public if public else app.http).request(method, url, **options)

            return asyncio.run(main())

        return ask_async

    yield of
    for close in closing:
        close()


# -- what an app has --------------------------------------------------------------------------------


def test_each_app_has_one_client() -> None:
    """`app.http` is made once, and a fitted one is it."""
    app, fitted = Carboy(__name__), Carboy("other")

    mine = fitted.fit(HTTPClient(retries=7))

    assert app.http is app.http
    assert fitted.http is mine
    assert (app.http.settings.retries, fitted.http.settings.retries) == (2, 7)


def test_the_configuration_outranks_what_the_app_says() -> None:
    """`HTTP_CLIENT_*` keys win over arguments."""
    app = make_app(HTTP_CLIENT_RETRIES=0)

    assert app.fit(HTTPClient(retries=7, read_timeout=3)).settings == Settings(retries=0, read_timeout=3, retry_pause=0.001)


@pytest.mark.parametrize(("key", "value"), [("RETRIES", -1), ("READ_TIMEOUT", 0), ("RETRYS", 1), ("VERIFY", 3)])
def test_a_wrong_setting_is_named(key: str, value: object) -> None:
    """A key that is not known, and a value out of range, say so."""
    app = make_app(**{f"HTTP_CLIENT_{key}": value})

    with pytest.raises(SetupError, match=r"configuration of 'http_client' is not valid.*HTTP_CLIENT_NAME"):
        _ = app.http


def test_importing_carboy_does_not_import_httpx2() -> None:
    """What is not used is not loaded; without httpx2 the error names the extra."""
    script = """
import sys
import carboy
app = carboy.Carboy("x")
assert "httpx2" not in sys.modules
sys.modules["httpx2"] = None
try:
    app.http
except ImportError as error:
    print(error)
"""
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True)

    assert said.stdout.strip() == "app.http needs httpx2, which is not installed: pip install 'carboy[http]'"


def test_the_wrong_colour_says_which_is_right() -> None:
    """A `def` cannot await, and the loop's thread must not wait."""
    app = make_app()

    async def blocking() -> None:
        app.http.sync.get("http://127.0.0.1:1/")

    with pytest.raises(RuntimeError, match=r"app\.http\.sync\.get"):
        _ = app.http.get("http://127.0.0.1:1/")
    with pytest.raises(RuntimeError, match=r"await app\.http\.get"):
        asyncio.run(blocking())


def test_one_pool_a_loop_and_closed_with_the_lifespan(upstream: Upstream) -> None:
    """Calls share connections; the lifespan's end closes them, and a client asked for in a request knows it too."""
    app = make_app()
    upstream.pages["/"] = give

    @app.get("/")
    async def view() -> dict[str, int]:
        answers = [await app.http.get(upstream.url + "/") for _ in range(3)]
        return {"answers": len(answers)}

    async def main() -> None:
        async with app.async_test_client() as client:
            assert (await client.get("/")).json == {"answers": 3}
            (pool,) = app.http.pools.values()
            assert not pool.is_closed
        assert pool.is_closed
        assert app.http.pools == {}

    asyncio.run(main())
    assert upstream.connections == 1


def test_an_app_that_asks_for_it_at_set_up_has_it_ready() -> None:
    """The certificates are read as the app starts, in a thread: the first call does not take that time from the loop."""
    app = make_app()
    client = app.http
    assert "_certificates" not in vars(client)

    async def main() -> None:
        async with app.async_test_client():
            assert "_certificates" in vars(client)

    asyncio.run(main())


def test_the_sync_pool_serves_all_threads(upstream: Upstream) -> None:
    """Eight threads, one pool, every answer its own."""
    app = make_app()
    upstream.pages["/echo"] = lambda handler: give(handler, body=handler.path.encode())
    seen: list[str] = []

    def work(number: int) -> None:
        for each in range(10):
            seen.append(app.http.sync.get(f"{upstream.url}/echo?{number}-{each}").text)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(20)
    app.http.sync.close()

    assert sorted(seen) == sorted(f"/echo?{a}-{b}" for a in range(8) for b in range(10))
    assert upstream.connections <= 8


# -- retries ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_an_idempotent_request_is_tried_again(upstream: Upstream, ask: Any, method: str) -> None:
    """Two 503, then an answer; how many attempts it took is told."""
    upstream.pages["/"] = after_failures(2)

    answer = ask(make_app())(method, upstream.url + "/")

    assert (answer.status_code, answer.extensions["carboy.attempts"], len(upstream.heads)) == (200, 3, 3)


def test_a_post_is_not_sent_twice(upstream: Upstream, ask: Any) -> None:
    """A 503 to a POST goes to the caller: nobody knows what it did."""
    upstream.pages["/"] = after_failures(1)

    answer = ask(make_app())("POST", upstream.url + "/", json={"a": 1})

    assert (answer.status_code, len(upstream.heads)) == (503, 1)


def test_a_post_that_was_never_sent_is_tried_again(ask: Any, free_port: int) -> None:
    """A connection that was refused has carried nothing."""
    with pytest.raises(httpx2.ConnectError) as caught:
        ask(make_app())("POST", f"http://127.0.0.1:{free_port}/", json={})

    assert caught.value.__notes__ == ["after 3 attempts"]


def test_the_last_failure_is_the_callers(upstream: Upstream, ask: Any) -> None:
    """A server that stays unwell: its answer, with what it says."""
    upstream.pages["/"] = lambda handler: give(handler, 503, b"sorry")

    answer = ask(make_app())("GET", upstream.url + "/")

    assert (answer.status_code, answer.text, len(upstream.heads)) == (503, "sorry", 3)


def test_a_call_may_say_how_often(upstream: Upstream, ask: Any) -> None:
    """`retries=0` is one attempt."""
    upstream.pages["/"] = after_failures(1)

    assert ask(make_app())("GET", upstream.url + "/", retries=0).status_code == 503


def test_a_connection_that_breaks_is_made_anew(upstream: Upstream, ask: Any) -> None:
    """The server hangs up without an answer: a GET is sent again."""
    calls = []

    def page(handler: BaseHTTPRequestHandler) -> None:
        calls.append(1)
        if len(calls) == 1:
            handler.close_connection = True
            handler.connection.close()
        else:
            give(handler)

    upstream.pages["/"] = page

    assert ask(make_app())("GET", upstream.url + "/").status_code == 200
    assert len(calls) == 2


def test_a_streamed_body_is_sent_once(upstream: Upstream) -> None:
    """A generator cannot be sent again, so it is not."""
    upstream.pages["/"] = lambda handler: give(handler, 503)
    app = make_app()

    answer = app.http.sync.put(upstream.url + "/", content=iter([b"a", b"b"]))
    app.http.sync.close()

    assert (answer.status_code, len(upstream.heads)) == (503, 1)


def test_retry_after_is_waited(upstream: Upstream, ask: Any) -> None:
    """A second asked for is a second waited."""
    upstream.pages["/"] = after_failures(1, retry_after="1")
    began = time.monotonic()

    answer = ask(make_app())("GET", upstream.url + "/")

    assert answer.status_code == 200
    assert time.monotonic() - began >= 1


def test_retry_after_beyond_the_cap_is_the_callers(upstream: Upstream, ask: Any) -> None:
    """Who asks for an hour is not asked again now."""
    upstream.pages["/"] = after_failures(1, retry_after="3600")

    assert ask(make_app())("GET", upstream.url + "/").status_code == 503
    assert len(upstream.heads) == 1


@pytest.mark.parametrize(("value", "seconds"), [("3", 3.0), ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0), ("soon", None), (None, None), ("-1", None)])
def test_retry_after_is_a_number_or_a_date(value: str | None, seconds: float | None) -> None:
    """RFC 9110 §10.2.3; what is neither is nothing."""
    assert retry_after(value) == seconds


@given(retry=st.integers(0, 40), seed=st.integers())
def test_pauses_are_drawn_below_a_bound_that_doubles(retry: int, seed: int) -> None:
    """Full jitter: anything from nothing to the bound, and never more than the greatest pause."""
    draw = random.Random(seed).uniform

    pause = pause_before(retry, httpx2.ConnectError("x"), Settings(), draw=draw)

    assert pause is not None and 0 <= pause <= min(2.0, 0.1 * 2**retry)


@pytest.mark.parametrize(
    ("method", "trouble", "is_retried"),
    [
        ("GET", httpx2.ReadTimeout("x"), True),
        ("POST", httpx2.ReadTimeout("x"), False),
        ("POST", httpx2.WriteError("x"), False),
        ("PATCH", httpx2.ConnectTimeout("x"), True),
        ("GET", httpx2.PoolTimeout("x"), False),
        ("GET", httpx2.Response(500), False),
        ("GET", httpx2.Response(502), True),
        ("GET", httpx2.Response(429), False),
        ("GET", ValueError("a bug"), False),
    ],
)
def test_what_may_be_tried_again(method: str, trouble: Any, is_retried: bool) -> None:
    """By method, by trouble, and by whether anything may have arrived."""
    assert may_retry(method, True, trouble) is is_retried
    assert may_retry(method, False, trouble) is False


# -- time and size ----------------------------------------------------------------------------------


def test_the_deadline_holds_over_all_attempts(upstream: Upstream, ask: Any) -> None:
    """Three attempts of ten seconds do not outlive a deadline of half a second."""
    upstream.pages["/"] = lambda handler: time.sleep(1.2)
    began = time.monotonic()

    with pytest.raises(httpx2.TimeoutException):
        ask(make_app())("GET", upstream.url + "/", deadline=0.5)

    assert 0.4 < time.monotonic() - began < 1.1


def drip(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("content-length", "100")
    handler.end_headers()
    try:
        for _ in range(100):
            handler.wfile.write(b"x")
            time.sleep(0.05)
    except OSError:
        pass


def test_a_body_that_drips_does_not_outlive_the_deadline(upstream: Upstream, ask: Any) -> None:
    """Each byte is in time, and the whole is not."""
    upstream.pages["/"] = drip
    began = time.monotonic()

    with pytest.raises(DeadlineExceeded, match=r"deadline of 0\.4 s, in 1 attempts"):
        ask(make_app())("GET", upstream.url + "/", deadline=0.4)

    assert time.monotonic() - began < 2


def test_a_stream_is_read_past_the_deadline(upstream: Upstream) -> None:
    """Who streams, reads at leisure: the deadline is the head's."""
    upstream.pages["/"] = drip
    app = make_app()

    with app.http.sync.stream("GET", upstream.url + "/", deadline=1.0) as answer:
        began = time.monotonic()
        for _ in answer.iter_bytes(1):
            if time.monotonic() - began > 1.3:
                break
        else:
            raise AssertionError("the stream ended before the deadline")
    app.http.sync.close()


def test_a_large_answer_is_refused(upstream: Upstream, ask: Any) -> None:
    """By its length where that is told, else where it passes the limit."""

    def chunked(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("transfer-encoding", "chunked")
        handler.end_headers()
        handler.wfile.write(b"400\r\n" + bytes(1024) + b"\r\n0\r\n\r\n")

    upstream.pages["/told"] = lambda handler: give(handler, body=bytes(1024))
    upstream.pages["/untold"] = chunked
    call = ask(make_app(HTTP_CLIENT_MAX_RESPONSE=1000))

    for page in ("/told", "/untold"):
        with pytest.raises(ResponseTooLarge, match="1000"):
            call("GET", upstream.url + page)


def test_a_compressed_answer_cannot_hide_its_size(upstream: Upstream, ask: Any) -> None:
    """With a limit no compression is asked for, and none is taken."""
    upstream.pages["/"] = lambda handler: give(handler, body=gzip.compress(bytes(100_000)), content_encoding="gzip")

    with pytest.raises(ResponseTooLarge, match="compressed"):
        ask(make_app(HTTP_CLIENT_MAX_RESPONSE=1000))("GET", upstream.url + "/")

    assert upstream.heads[0][2]["accept-encoding"] == "identity"


# -- breakers ---------------------------------------------------------------------------------------


class Clock:
    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time


def test_a_circuit_opens_lets_one_try_and_closes() -> None:
    """Closed, open for its pause, half-open for one, closed after its success."""
    clock = Clock()
    breakers = Breakers(3, 30.0, now=clock)
    for _ in range(3):
        breakers.leave(breakers.enter("a:80"), "failure")

    with pytest.raises(CircuitOpen, match=r"a:80 is not asked: it has failed 3 times in a row, the last time 0\.0 s ago.*30\.0 s") as caught:
        breakers.enter("a:80")
    assert caught.value.remaining == 30
    assert not breakers.enter("b:80").is_probe

    clock.time += 30
    probe = breakers.enter("a:80")
    assert probe.is_probe
    with pytest.raises(CircuitOpen, match="one request is trying it now"):
        breakers.enter("a:80")

    breakers.leave(probe, "success")
    assert not breakers.enter("a:80").is_probe
    assert breakers.troubles == {}


def test_a_failed_probe_opens_the_circuit_anew() -> None:
    """And for the whole pause; one that nobody waited for frees the place."""
    clock = Clock()
    breakers = Breakers(1, 30.0, now=clock)
    breakers.leave(breakers.enter("a"), "failure")
    clock.time += 30

    breakers.leave(breakers.enter("a"), "abandoned")
    breakers.leave(breakers.enter("a"), "failure")

    assert not breakers.lets("a")
    clock.time += 30
    assert breakers.lets("a")


def test_stragglers_do_not_speak_for_the_probe() -> None:
    """What was sent before the circuit opened changes nothing when it ends."""
    clock = Clock()
    breakers = Breakers(2, 30.0, now=clock)
    straggler = breakers.enter("a")
    breakers.leave(breakers.enter("a"), "failure")
    breakers.leave(breakers.enter("a"), "failure")
    clock.time += 30
    breakers.enter("a")

    breakers.leave(straggler, "success")

    assert breakers.troubles["a"].state == "half-open"


def test_no_failures_in_a_row_no_open_circuit() -> None:
    """A success between them starts the count anew, and zero switches breakers off."""
    breakers, never = Breakers(2, 30.0), Breakers(0, 30.0)

    for outcome in ("failure", "success", "failure"):
        breakers.leave(breakers.enter("a"), outcome)  # type: ignore[arg-type]
    for _ in range(100):
        never.leave(never.enter("a"), "failure")

    assert breakers.lets("a") and never.lets("a")


@settings(max_examples=200)
@given(st.lists(st.tuples(st.integers(0, 4), st.sampled_from(["success", "failure", "abandoned"]), st.floats(0, 20)), max_size=60))
def test_never_two_probes_and_never_shut_for_good(steps: list[tuple[int, Any, float]]) -> None:
    """Whatever order requests begin and end in: at most one probe is out, and each open circuit opens to one again."""
    clock = Clock()
    breakers = Breakers(2, 10.0, now=clock)
    out: list[Any] = []
    for pick, outcome, wait in steps:
        clock.time += wait
        if pick % 2 or not out:
            try:
                out.append(breakers.enter("a"))
            except CircuitOpen:
                pass
        else:
            breakers.leave(out.pop(pick % len(out)), outcome)
        assert sum(each.is_probe for each in out) <= 1

    for each in out:
        breakers.leave(each, "failure")
    clock.time += 10
    assert breakers.lets("a")


def test_the_table_knows_each_outcome_in_each_state() -> None:
    """No state is without an answer to an outcome."""
    for events in TRANSITIONS.values():
        assert {"success", "failure", "limit", "abandoned"} <= set(events)


def test_who_fails_again_and_again_is_left_alone(upstream: Upstream, ask: Any) -> None:
    """After five failures nothing is sent for a while, in either colour; the error says until when."""
    upstream.pages["/"] = lambda handler: give(handler, 503)
    app = make_app()
    call = ask(app)
    for _ in range(5):
        call("GET", upstream.url + "/", retries=0)

    with pytest.raises(CircuitOpen, match="failed 5 times in a row") as caught:
        call("GET", upstream.url + "/")

    assert 29 < caught.value.remaining <= 30
    assert len(upstream.heads) == 5


def test_a_client_that_leaves_is_no_failure(upstream: Upstream) -> None:
    """A cancelled call counts for nothing, and leaves the probe's place to the next."""
    release = threading.Event()
    upstream.pages["/"] = lambda handler: (release.wait(5), give(handler))[1]
    app = make_app()

    async def main() -> None:
        async with app.async_test_client():
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await app.http.get(upstream.url + "/")

    asyncio.run(main())
    release.set()
    assert app.http.breakers.troubles == {}


# -- what goes along --------------------------------------------------------------------------------


def test_the_requests_ids_go_along_and_its_secrets_do_not(upstream: Upstream) -> None:
    """X-Request-ID and trace context are handed on, cookies and credentials never."""
    app = make_app()
    upstream.pages["/"] = give
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

    @app.get("/told")
    def told() -> str:
        return app.http.sync.get(upstream.url + "/").text

    @app.get("/untold")
    async def untold() -> str:
        return (await app.http.get(upstream.url + "/", propagate=False)).text

    headers = {"x-request-id": "r-1", "traceparent": trace, "tracestate": "a=b", "cookie": "s=1", "authorization": "Bearer x"}
    client = app.test_client()
    client.get("/told", headers=headers)
    app.http.sync.close()

    async def main() -> None:
        async with app.async_test_client() as client:
            await client.get("/untold", headers=headers)

    asyncio.run(main())

    first, second = (head for _, _, head in upstream.heads)
    assert {name: first.get(name) for name in headers} == {
        "x-request-id": "r-1", "traceparent": trace, "tracestate": "a=b", "cookie": None, "authorization": None,
    }  # fmt: skip
    assert not set(headers) & set(second)
    assert first["user-agent"].startswith(__name__)


def test_the_span_at_hand_is_handed_on_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenTelemetry's own propagator writes the trace context, and the client's is not handed on beside it."""
    api = types.ModuleType("opentelemetry.propagate")
    api.inject = lambda carrier: carrier.update(traceparent="00-the-span-01")  # type: ignore[attr-defined]  # what tests stand in for
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", types.ModuleType("opentelemetry.sdk.trace"))
    monkeypatch.setitem(sys.modules, "opentelemetry.propagate", api)
    app = make_app()

    headers = {"x-request-id": "r-1", "traceparent": "00-the-clients-01", "tracestate": "a=b"}
    with app.test_request_context("/", headers=headers), app.http.fake() as upstream:
        call = upstream.get("https://a.example/").respond()
        app.http.sync.get("https://a.example/")

    sent = call.calls[0].headers
    assert (sent["traceparent"], sent["x-request-id"], "tracestate" in sent) == ("00-the-span-01", "r-1", False)


def test_proxies_of_the_environment_count(upstream: Upstream, ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call goes through HTTP_PROXY, retries and all; a guarded one does not, and `trust_env=False` neither."""
    monkeypatch.setenv("http_proxy", upstream.url)
    upstream.pages["http://far.example/"] = after_failures(1)
    call = ask(make_app())

    answer = call("GET", "http://far.example/")

    assert (answer.status_code, answer.extensions["carboy.attempts"]) == (200, 2)
    with pytest.raises(AddressRefused):
        call("GET", upstream.url + "/", public=True)
    assert len(upstream.heads) == 2
    with pytest.raises(httpx2.ConnectError):
        ask(make_app(HTTP_CLIENT_TRUST_ENV=False))("GET", "http://far.invalid/", retries=0)


def test_what_a_call_says_itself_is_kept(upstream: Upstream) -> None:
    """A header of the call's own outranks what would be handed on."""
    app = make_app()
    upstream.pages["/"] = give

    with app.test_request_context("/", headers={"x-request-id": "theirs"}):
        app.http.sync.get(upstream.url + "/", headers={"X-Request-ID": "mine"})
    app.http.sync.close()

    assert upstream.heads[0][2]["x-request-id"] == "mine"


def test_a_servers_cookies_are_not_kept(upstream: Upstream, ask: Any) -> None:
    """One pool serves all users."""
    upstream.pages["/"] = lambda handler: give(handler, set_cookie="who=ada; Path=/")
    app = make_app()

    call = ask(app)
    call("GET", upstream.url + "/")
    call("GET", upstream.url + "/")

    assert [head.get("cookie") for _, _, head in upstream.heads] == [None, None]


def test_redirects_are_the_callers(upstream: Upstream, ask: Any) -> None:
    """None is followed unless settings or call say so, and then not for ever."""
    upstream.pages["/"] = lambda handler: give(handler, 302, location="/")
    call = ask(make_app())

    assert call("GET", upstream.url + "/").status_code == 302
    with pytest.raises(httpx2.TooManyRedirects):
        call("GET", upstream.url + "/", follow_redirects=True)
    assert len(upstream.heads) == 1 + 6


def test_credentials_stay_at_their_origin(upstream: Upstream, ask: Any) -> None:
    """A redirect to another origin takes no Authorization, no cookie and no API key along."""
    other = Upstream()
    other.pages["/"] = upstream.pages["/same"] = give
    upstream.pages["/"] = lambda handler: give(handler, 302, location=other.url + "/")
    upstream.pages["/inside"] = lambda handler: give(handler, 302, location="/same")
    secrets = {"authorization": "Bearer x", "cookie": "a=b", "x-api-key": "k"}
    call = ask(make_app(HTTP_CLIENT_REDIRECTS=2))

    try:
        assert call("GET", upstream.url + "/", headers={**secrets, "x-plain": "p"}).status_code == 200
        call("GET", upstream.url + "/inside", headers=secrets)
    finally:
        other.close()

    ((_, _, head),) = other.heads
    assert not set(secrets) & set(head)
    assert head["x-plain"] == "p"
    assert upstream.heads[-1][2]["x-api-key"] == "k"


def test_a_relative_url_is_below_the_base(upstream: Upstream, ask: Any) -> None:
    """`HTTP_CLIENT_BASE_URL`."""
    upstream.pages["/v1/users"] = give

    assert ask(make_app(HTTP_CLIENT_BASE_URL=upstream.url + "/v1"))("GET", "/users").status_code == 200


# -- URLs of strangers ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True), ("2606:4700::1111", True), ("127.0.0.1", False), ("10.1.2.3", False), ("192.168.0.1", False), ("169.254.169.254", False),
        ("100.64.0.1", False), ("0.0.0.0", False), ("224.0.0.1", False), ("::1", False), ("fe80::1%eth0", False), ("fd00::1", False),
        ("::ffff:127.0.0.1", False), ("::ffff:8.8.8.8", True), ("64:ff9b::7f00:1", False), ("2002:7f00:1::", False), ("", False), ("example", False),
    ],
)  # fmt: skip
def test_which_addresses_are_public(address: str, public: bool) -> None:
    """Loopback, private, link-local, shared and mapped ones are not."""
    assert is_public(address) is public


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost", "sub.localhost", "169.254.169.254", "[::ffff:10.0.0.1]"])
def test_an_inner_address_is_refused_unasked(ask: Any, host: str) -> None:
    """Before a connection is made."""
    with pytest.raises(AddressRefused):
        ask(make_app())("GET", f"http://{host}:9/", public=True)


def test_a_name_that_resolves_to_the_inside_is_refused(upstream: Upstream, ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What counts is the address at the other end; nothing has been sent when it is seen."""
    import socket

    real = socket.getaddrinfo
    inside = lambda host, *args, **kwargs: real("127.0.0.1" if host in ("inner.example", b"inner.example") else host, *args, **kwargs)  # noqa: E731
    monkeypatch.setattr(socket, "getaddrinfo", inside)
    upstream.pages["/"] = give
    url = upstream.url.replace("127.0.0.1", "inner.example") + "/"
    call = ask(make_app())

    with pytest.raises(AddressRefused, match=r"inner\.example is at 127\.0\.0\.1, which is not a public address; nothing was sent"):
        call("GET", url, public=True)
    assert upstream.heads == []
    assert call("GET", url).status_code == 200


def test_only_listed_hosts_are_called(ask: Any) -> None:
    """`HTTP_CLIENT_PUBLIC_HOSTS`, names and suffixes; a redirect elsewhere is refused too."""
    app = make_app(HTTP_CLIENT_PUBLIC_HOSTS=["api.example", ".cdn.example"])
    call = ask(app)

    with app.http.fake() as upstream:
        upstream.get("https://api.example/*").respond(302, headers={"location": "https://evil.example/"})
        upstream.get("https://a.cdn.example/").respond(text="fine")

        assert call("GET", "https://a.cdn.example/", public=True).text == "fine"
        for url in ("https://evil.example/", "https://notcdn.example/"):
            with pytest.raises(AddressRefused, match="PUBLIC_HOSTS"):
                call("GET", url, public=True)
        with pytest.raises(AddressRefused, match=r"evil\.example"):
            call("GET", "https://api.example/go", public=True, follow_redirects=True)


# -- the double -------------------------------------------------------------------------------------


def test_a_double_answers_both_colours() -> None:
    """Declared once, asked by a `def` and by an `async def`; the calls are kept."""
    app = make_app()

    @app.get("/sync")
    def plain() -> Any:
        return app.http.sync.get("https://api.example/users/7").json()

    @app.get("/async")
    async def awaited() -> Any:
        return (await app.http.post("https://api.example/users", json={"name": "Ada"})).json()

    client = app.test_client()
    with app.http.fake() as upstream:
        one = upstream.get("https://api.example/users/7").respond(json={"name": "Ada"})
        made = upstream.post("https://api.example/users").respond(201, json={"id": 8})

        assert client.get("/sync").json == {"name": "Ada"}
        assert client.get("/async").json == {"id": 8}

    assert len(one.calls) == 1
    assert made.calls[0].content == b'{"name":"Ada"}'
    assert upstream.calls == [*one.calls, *made.calls]


def test_a_double_answers_in_turn_and_retries_do_not_wait() -> None:
    """Declared failures are retried as real ones, without the pauses."""
    app = Carboy(__name__)

    with app.http.fake() as upstream:
        route = upstream.get("https://api.example/").fail(httpx2.ReadTimeout).respond(503, headers={"retry-after": "9"}).respond(text="at last")
        answer = app.http.sync.get("https://api.example/")

    assert answer.text == "at last"
    assert len(route.calls) == 3
    assert upstream.pauses[1] >= 9


def test_an_unexpected_call_is_named_even_where_a_handler_hides_it() -> None:
    """The error names what was called and what was declared, and leaves the block in any case."""
    app = make_app()

    @app.get("/")
    def view() -> str:
        return app.http.sync.get("https://api.example/other?page=2").text

    with pytest.raises(UnexpectedCall, match=r"GET https://api\.example/other\?page=2 was called, .* declared GET https://api\.example/users") as caught:
        with app.http.fake() as upstream:
            upstream.get("https://api.example/users").respond()
            assert app.test_client().get("/").status_code == 500
    assert app.http.double is None
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("declared", "called", "matches"),
    [
        ("https://a.example/x", "https://a.example/x?q=1", True),
        ("https://a.example/x?q=1", "https://a.example/x?q=1", True),
        ("https://a.example/x?q=1", "https://a.example/x?q=2", False),
        ("https://a.example/users/*", "https://a.example/users/7/posts", True),
        ("https://a.example/x", "http://a.example/x", False),
        ("https://a.example/X", "https://a.example/x", False),
        ("/x", "https://base.example/v1/x", True),
    ],
)
def test_which_calls_a_declaration_means(declared: str, called: str, matches: bool) -> None:
    """Any query where none is declared; `*` for any text; a path below the base."""
    app = make_app(HTTP_CLIENT_BASE_URL="https://base.example/v1")

    with app.http.fake() as upstream:
        upstream.get(declared).respond()
        if matches:
            assert app.http.sync.get(called).status_code == 200
        else:
            with pytest.raises(UnexpectedCall):
                app.http.sync.get(called)
            upstream.unexpected.clear()


def test_the_plugin_has_a_fixture(pytester_run: Callable[[str], str]) -> None:
    """`upstream` is the double of the `app` fixture's client."""
    said = pytester_run(
        """
import pytest
from carboy import Carboy

@pytest.fixture
def app():
    app = Carboy("x")
    app.testing = True

    @app.get("/")
    async def view():
        return (await app.http.get("https://api.example/")).text

    return app

def test_it(client, upstream):
    upstream.get("https://api.example/").respond(text="hello")
    assert client.get("/").text == "hello"
"""
    )

    assert "1 passed" in said


# -- the chapter ------------------------------------------------------------------------------------

DOCS = Path(__file__).parents[2] / "docs"


def test_the_chapters_example_passes_its_tests(tmp_path: Path) -> None:
    """`docs/examples/client`, run as a project of its own."""
    shutil.copytree(DOCS / "examples" / "client", tmp_path / "project")
    command = [sys.executable, "-W", "error", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", "."]

    said = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path / "project").stdout

    assert "3 passed" in said, said


def test_the_chapter_lists_the_settings_as_they_are() -> None:
    """Each key, in their order, with its default."""
    rows = re.findall(r"^\| `([A-Z][A-Z0-9_]+)` \| (.*?) \|", (DOCS / "client.md").read_text(), re.MULTILINE)
    defaults = {name: getattr(Settings(), name.lower()) for name, _ in rows}

    assert [name.lower() for name, _ in rows] == list(Settings.__struct_fields__)
    for name, told in rows:
        value = defaults[name]
        if isinstance(value, bool):
            assert told == ("yes" if value else "no"), name
        elif isinstance(value, int | float):
            assert float(told) == value, name


# -- under carboy run -------------------------------------------------------------------------------

FAN_OUT = """
import asyncio, os, time
from carboy import Carboy

app = Carboy(__name__)
UPSTREAM = os.environ["UPSTREAM"]

@app.get("/ten")
async def ten():
    began = time.perf_counter()
    answers = await asyncio.gather(*(app.http.get(f"{UPSTREAM}/second?{n}") for n in range(10)))
    return {"seconds": time.perf_counter() - began, "answers": [each.text for each in answers]}

@app.get("/quick")
async def quick():
    return "quick"
"""


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[int(len(values) * share)]


@pytest.mark.slow
def test_ten_calls_take_as_long_as_one_and_nobody_waits(upstream: Upstream, tmp_path: Any, free_port: int) -> None:
    """Ten calls of a second in one view take about a second; other requests are answered meanwhile as quickly as before."""

    def second(handler: BaseHTTPRequestHandler) -> None:
        time.sleep(1.0)
        give(handler)

    upstream.pages["/second"] = second
    (tmp_path / "fan.py").write_text(FAN_OUT)
    command = [sys.executable, "-m", "carboy", "run", "fan:app", "-w", "1", "--control", "off", "--port", str(free_port)]
    base = f"http://127.0.0.1:{free_port}"
    process = subprocess.Popen(command, cwd=tmp_path, env={**os.environ, "UPSTREAM": upstream.url}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with httpx2.Client(timeout=20) as client:
            wait_until_served(client, base)
            client.get(base + "/ten")  # makes the pool

            def latencies(until: Callable[[], bool]) -> list[float]:
                taken = []
                while not until():
                    began = time.perf_counter()
                    assert client.get(base + "/quick").text == "quick"
                    taken.append(time.perf_counter() - began)
                return taken

            end = time.monotonic() + 1.2
            before = latencies(lambda: time.monotonic() > end)
            told: list[httpx2.Response] = []
            asking = [threading.Thread(target=lambda: told.append(httpx2.get(base + "/ten", timeout=20))) for _ in range(3)]
            for each in asking:
                each.start()
            during = latencies(lambda: not any(each.is_alive() for each in asking))
    finally:
        process.terminate()
        process.wait(20)

    seconds = [answer.json()["seconds"] for answer in told]
    print(f"ten calls: {', '.join(f'{each:.2f}' for each in seconds)} s; others' p99 {percentile(before, 0.99) * 1e3:.1f} ms before,", end=" ")
    print(f"{percentile(during, 0.99) * 1e3:.1f} ms during ({len(before)} and {len(during)} requests)")
    assert all(answer.json()["answers"] == ["ok"] * 10 for answer in told) and len(told) == 3
    assert max(seconds) < 2.5
    # A view that blocked would show here as a second.
    assert max(during) < 0.9 and len(during) > 20


def wait_until_served(client: httpx2.Client, base: str) -> None:
    end = time.monotonic() + 30
    while True:
        try:
            client.get(base + "/quick")
        except httpx2.TransportError:
            assert time.monotonic() < end
            time.sleep(0.1)
        else:
            return


@pytest.fixture
def pytester_run(tmp_path: Any) -> Callable[[str], str]:
    def run(text: str) -> str:
        (tmp_path / "test_theirs.py").write_text(text)
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path).stdout

    return run


@pytest.fixture
def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
