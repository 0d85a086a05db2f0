"""WebSockets as users see them: each test in process, under uvicorn and under `carboy run`."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from socket_peers import Closed, Refused

COLOURS = ("", "/sync")
#: A binary message of 64 KiB as it is on the wire, masked with zeros (RFC 6455 §5.2).
FRAME = b"\x82\xff" + (64 * 1024).to_bytes(8, "big") + bytes(4) + bytes(64 * 1024)


def closing(line: Any) -> tuple[int, str]:
    """Receive to the end, and say how it ended."""
    while True:
        try:
            line.receive()
        except Closed as closed:
            return closed.code, closed.reason


def refusal(place: Any, path: str, **kwargs: Any) -> Refused:
    """The answer to a handshake that must be refused."""
    with pytest.raises(Refused) as caught:
        with place.open(path, **kwargs):
            pass
    return caught.value


# -- messages ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("colour", COLOURS)
def test_text_and_bytes_come_back(place: Any, colour: str) -> None:
    """A str is a text message, bytes are a binary one, in both directions and both colours."""
    with place.open(f"{colour}/echo/a%20b") as line:
        line.send("hello")
        assert line.receive() == "a b: hello"
        line.send(b"\x00\xff")
        assert line.receive() == b"\x00\xff"
        line.send("")
        assert line.receive() == "a b: "


@pytest.mark.parametrize("colour", COLOURS)
def test_iteration_ends_with_the_peer(place: Any, told: Any, tag: str, colour: str) -> None:
    """`for message in ws` ends when the peer closes; the code and reason are the peer's."""
    with place.open(f"{colour}/echo/x?tag={tag}") as line:
        line.send("hello")
        line.receive()
        time.sleep(0.1)  # else the view's own send may be what hears of it
        line.close(4002, "bye")

    assert ["ended", 4002, "bye", True] in told("ended")
    assert told("teardown")[-1] == ["teardown", None]


def test_view_is_given_what_it_asks_for(place: Any) -> None:
    """The socket and the request by annotation, the rest by name, the URL's values converted."""
    with place.open("/asked-for/7") as line:
        assert json.loads(line.receive()) == [7, "/asked-for/7", True, True, "socket_app"]


def test_first_send_accepts_and_close_is_seen(place: Any, told: Any, tag: str) -> None:
    """A view that sends has accepted; its close has its code and reason."""
    with place.open(f"/sends/first?tag={tag}") as line:
        assert line.receive() == "welcome"
        assert closing(line) == (4001, "enough")

    assert ["closed", True, 4001] in told("closed")


def test_return_closes_normally(place: Any) -> None:
    """A view that returns with its socket open closes it with 1000."""
    with place.open("/from-anywhere") as line:
        assert line.receive() == "hello"
        assert closing(line)[0] == 1000


def test_typed_messages(place: Any) -> None:
    """A union of Structs is read by its tag; Structs and dicts are sent as JSON."""
    with place.open("/typed") as line:
        line.send('{"type": "Say", "text": "hi"}')
        assert json.loads(line.receive()) == {"said": "hi"}
        line.send(b'{"type": "Move", "x": 1, "y": 2}')
        assert json.loads(line.receive()) == {"type": "Move", "x": 2, "y": 3}


@pytest.mark.parametrize("message", ["no JSON", '{"type": "Move", "x": "1", "y": 2}', b"\xff"])
def test_invalid_message_closes_with_1007(place: Any, message: Any) -> None:
    """What is not of the type asked for closes the socket, with a text that says what is wrong."""
    with place.open("/typed") as line:
        line.send(message)
        code, reason = closing(line)

    assert code == 1007
    assert reason


def test_invalid_message_may_be_caught(place: Any) -> None:
    """A view that catches it goes on; a dataclass is read and sent."""
    with place.open("/typed/kept") as line:
        line.send('{"x": 1}')
        assert "missing required field `y`" in line.receive()
        line.send('{"x": 1, "y": 2}')
        assert json.loads(line.receive()) == {"x": 1, "y": 2}


def test_typed_messages_in_a_thread(place: Any) -> None:
    """A `def` view iterates over typed messages too."""
    with place.open("/sync/typed") as line:
        line.send('{"x": 1, "y": 2}')
        assert json.loads(line.receive()) == {"x": 2, "y": 1}


@pytest.mark.parametrize(
    ("kind", "message", "answer"),
    [
        ("text", "a", {"got": "'a'"}),
        ("bytes", b"a", {"got": "b'a'"}),
        ("json", '{"a": 1}', {"got": "{'a': 1}"}),
        ("text", b"a", 1003),
        ("bytes", "a", 1003),
        ("json", "{", 1007),
    ],
)
def test_receive_of_a_kind(place: Any, kind: str, message: Any, answer: Any) -> None:
    """`receive_text`, `receive_bytes` and `receive_json` give their kind, and close where another comes."""
    with place.open(f"/kinds/{kind}") as line:
        line.send(message)
        if isinstance(answer, int):
            assert closing(line)[0] == answer
        else:
            assert json.loads(line.receive()) == answer


def test_two_receivers_are_refused(place: Any) -> None:
    """Of two tasks that receive at the same time one is told so, and no message is lost."""
    with place.open("/twice") as line:
        assert "two tasks receive" in line.receive()
        line.send("for the first")
        assert line.receive() == "for the first"


def test_cancelled_receive_loses_no_message(place: Any) -> None:
    """A wait that a time limit ends leaves the next message to the next wait."""
    with place.open("/patient") as line:
        assert line.receive() == "now"
        line.send("kept")
        assert line.receive() == "kept"


def test_a_task_may_send_while_another_receives(place: Any, told: Any, tag: str) -> None:
    """Receiving in the view and sending in a task of its own go on side by side, to the peer's end."""
    with place.open(f"/tasks?tag={tag}") as line:
        assert [json.loads(line.receive()) for _ in range(3)] == [0, 1, 2]
        line.send("hello")
        assert ["heard", "hello"] in told("heard")

    assert told("done")


def test_task_group_ends_quietly(place: Any, told: Any, tag: str) -> None:
    """In a task group the one that receives may finish; what the others raise then is no error of the view's."""
    with place.open(f"/group?tag={tag}") as line:
        assert line.receive() == "tick"
        line.send("hello")
        assert ["heard", "hello"] in told("heard")

    assert told("teardown")[-2:] == [["listened"], ["teardown", None]]
    if hasattr(place, "text"):
        assert "ExceptionGroup" not in place.text()


@pytest.mark.parametrize("colour", COLOURS)
def test_messages_that_nobody_receives_hold_their_sender(place: Any, colour: str) -> None:
    """Nothing is read ahead: a peer that sends what the view does not receive has to wait, in a few megabytes."""
    if not hasattr(place, "port"):
        pytest.skip("in process the test is the peer's buffer")
    with place.open(f"{colour}/hoard") as line:
        line.send("begin")
        line.line.socket.settimeout(0.5)
        sent = 0
        with pytest.raises(Exception):
            while sent < 64 * 1024 * 1024:
                line.line.socket.sendall(FRAME)
                sent += len(FRAME)

    assert sent < 16 * 1024 * 1024


# -- limits -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("message", ["x" * 11, b"x" * 11, "ü" * 6])
def test_message_too_long_closes_with_1009(place: Any, told: Any, tag: str, message: Any) -> None:
    """`max_message=10`: ten bytes pass, eleven close; text is measured in UTF-8."""
    with place.open(f"/small?tag={tag}") as line:
        line.send("x" * 10)
        assert line.receive() == "10"
        line.send(message)
        assert closing(line)[0] == 1009

    assert ["ended", 1009] in told("ended")


def test_message_of_a_mebibyte_is_the_limit(place: Any) -> None:
    """Without an option a message of 1 MiB comes back, one byte more closes."""
    with place.open("/echo/x") as line:
        line.send(b"x" * 1024 * 1024)
        assert len(line.receive()) == 1024 * 1024
        line.send(b"x" * (1024 * 1024 + 1))
        assert closing(line)[0] == 1009


def test_idle_peer_is_closed(place: Any, told: Any, tag: str) -> None:
    """`receive_timeout=0.1`: nothing came, so the socket is closed with 3008."""
    with place.open(f"/idle?tag={tag}") as line:
        assert closing(line) == (3008, "nothing came for 0.1 s")

    assert ["ended", 3008] in told("ended")


@pytest.mark.parametrize("colour", COLOURS)
def test_slow_reader_holds_the_sender(place: Any, told: Any, tag: str, colour: str) -> None:
    """A view that sends more than its peer reads waits, and is told by its next send that the peer has gone."""
    with place.open(f"{colour}/flood?tag={tag}") as line:
        sent = -1
        for _ in range(100):
            before, sent = sent, json.loads(place.get("/flooded")[2])["sent"]
            if sent == before and sent:
                break
            time.sleep(0.1)
        assert sent == before
        assert sent * 65536 < 16 * 1024 * 1024
        line.abort()

    assert told("disconnect")[-2][0] == "disconnect"


# -- the handshake ----------------------------------------------------------------------------------


@pytest.mark.parametrize("colour", COLOURS)
def test_hooks_run_in_order_around_a_socket(place: Any, told: Any, tag: str, colour: str) -> None:
    """Before hooks, then at the accept the after hooks with a 101, then the view, then teardown: each once."""
    with place.open(f"{colour}/echo/x?tag={tag}") as line:
        assert line.headers["X-After"] == "yes"
        line.send("hello")
        line.receive()
        time.sleep(0.1)  # else the view's own send may be what hears of it

    endpoint = "sync_echo" if colour else "echo"
    found = told("teardown")
    assert [event[:2] for event in found] == [["before", endpoint], ["after", 101], ["ended", 1000], ["teardown", None]]


@pytest.mark.parametrize("colour", COLOURS)
def test_session_of_the_handshake_is_kept(place: Any, colour: str) -> None:
    """What a view puts into the session before it accepts goes out as a cookie with the accept."""
    with place.open(f"{colour}/session?name=ada") as line:
        cookie = line.headers["Set-Cookie"].partition(";")[0]
        assert line.headers["X-Own"] == "mine"
        assert line.receive() == "ada"

    assert json.loads(place.get("/session", headers=[("Cookie", cookie)])[2]) == {"name": "ada"}


def test_session_cookie_is_read_at_the_handshake(place: Any) -> None:
    """The session that a page has set is the socket's."""
    with place.open("/session?name=eve") as line:
        cookie = line.headers["Set-Cookie"].partition(";")[0]
    with place.open("/session/read", headers=[("Cookie", cookie)]) as line:
        assert line.receive() == "eve"


@pytest.mark.parametrize(
    ("query", "status", "why"),
    [("answer", 402, {"why": "hook"}), ("abort", 401, {"handled": 401}), ("error", 500, None), ("light", 403, None)],
)
@pytest.mark.parametrize("colour", COLOURS)
def test_before_hook_may_refuse(place: Any, told: Any, tag: str, colour: str, query: str, status: int, why: Any) -> None:
    """What a before hook answers or raises is the handshake's answer: status, headers, body; the view is not called."""
    found = refusal(place, f"{colour}/echo/x?tag={tag}&refuse={query}")

    assert found.status == status
    assert found.headers["X-After"] == "yes"
    assert why is None or found.json == why
    events = told("teardown")
    assert [event[0] for event in events if event[0] != "handler"] == ["before", "after", "teardown"]


@pytest.mark.parametrize(
    ("how", "status", "body"),
    [
        ("none", 403, None),
        ("abort", 401, b'{"handled":401}\n'),
        ("value", 429, b'{"no":"thanks"}\n'),
        ("light", 403, b"a plain text"),
        ("close", 403, None),
        ("close-then-send", 500, None),
        ("error", 500, None),
        ("oops", 418, b'{"handled":"Oops"}\n'),
        ("stream", 409, b"in pieces"),
    ],
)
def test_view_may_refuse(place: Any, told: Any, tag: str, how: str, status: int, body: bytes | None) -> None:
    """A view that does not accept refuses with what it returns or raises; None is 403, and so is a 2xx."""
    found = refusal(place, f"/refuse/{how}?tag={tag}")

    assert found.status == status
    assert found.headers["X-After"] == "yes"
    assert body is None or found.body == body
    assert [event for event in told("teardown") if event[0] == "after"] == [["after", status]]


def test_refusal_carries_headers(place: Any) -> None:
    """The headers of the value returned go out."""
    assert refusal(place, "/refuse/value").headers["Retry-After"] == "7"


def test_miss_is_a_404_that_handlers_see(place: Any, told: Any, tag: str) -> None:
    """A handshake for no rule, or for a page's, is answered by the app's handler for 404."""
    for path in ("/nowhere", "/session/page", "/urls/x"):
        found = refusal(place, f"{path}?tag={tag}")
        assert (found.status, found.json, found.headers["X-After"]) == (404, {"handled": 404}, "yes")
    assert ["before", None, {}] in told("before")


def test_page_of_a_socket_asks_for_an_upgrade(place: Any) -> None:
    """RFC 9110 §15.5.22: 426, and to what."""
    status, headers, _ = place.get("/echo/x")

    assert (status, headers["Upgrade"]) == (426, "websocket")


def test_subprotocol_is_the_first_of_ours_that_is_offered(place: Any) -> None:
    """The route's order decides; the client's is told to the view."""
    with place.open("/protocols", subprotocols=["v1", "v2"]) as line:
        assert line.subprotocol == "v2"
        assert json.loads(line.receive()) == [["v1", "v2"], "v2"]
    with place.open("/protocols", subprotocols=["v9"]) as line:
        assert json.loads(line.receive()) == [["v9"], None]


def test_subprotocol_that_is_not_offered_is_an_error(place: Any, told: Any, tag: str) -> None:
    """RFC 6455 §4.2.2: the view is told, and may choose another."""
    with place.open(f"/chosen?tag={tag}", subprotocols=["a", "b"]) as line:
        assert line.subprotocol == "b"
    assert "has not offered the subprotocol 'unknown'" in told("error")[1][1]


@pytest.mark.parametrize(
    ("path", "headers", "is_welcome"),
    [
        ("/echo/x", {}, True),
        ("/echo/x", {"Origin": "http://{host}"}, True),
        ("/echo/x", {"Origin": "http://{host}", "Sec-Fetch-Site": "same-origin"}, True),
        ("/echo/x", {"Origin": "https://evil.example"}, False),
        ("/echo/x", {"Origin": "http://evil.{host}"}, False),
        ("/echo/x", {"Origin": "http://{name}:1"}, False),
        ("/echo/x", {"Origin": "null"}, False),
        ("/echo/x", {"Origin": "http://{host}", "Sec-Fetch-Site": "cross-site"}, False),
        ("/echo/x", {"Sec-Fetch-Site": "cross-site"}, False),
        ("/from-anywhere", {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}, True),
        ("/from-partners", {"Origin": "https://partner.example", "Sec-Fetch-Site": "cross-site"}, True),
        ("/from-partners", {"Origin": "https://PARTNER.example:443"}, True),
        ("/from-partners", {"Origin": "http://localhost:3000"}, True),
        ("/from-partners", {"Origin": "http://localhost:3001"}, False),
        ("/from-partners", {"Origin": "http://partner.example"}, False),
        ("/from-partners", {"Origin": "http://{host}"}, True),
    ],
)
def test_origins(place: Any, path: str, headers: dict[str, str], is_welcome: bool) -> None:
    """Pages of the same host may connect, and what is no page; others where the route says so."""
    host = f"127.0.0.1:{place.port}" if hasattr(place, "port") else "localhost"
    fields = [(name, value.format(host=host, name=host.partition(":")[0])) for name, value in headers.items()]
    if is_welcome:
        with place.open(path, headers=fields):
            pass
    else:
        found = refusal(place, path, headers=fields)
        assert (found.status, found.headers["X-After"]) == (403, "yes")


# -- errors -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "code", "reason"),
    [
        ("error", 1011, ""),
        ("oops", 1011, ""),
        ("abort", 1008, "not in this room"),
        ("broken", 1011, ""),
        ("long", 1008, "ü" * 61),
    ],
)
def test_error_after_the_accept_closes(place: Any, told: Any, tag: str, how: str, code: int, reason: str) -> None:
    """1008 with its text for what is the client's, 1011 for what is ours; after hooks run once, teardown runs."""
    with place.open(f"/fail/{how}?tag={tag}") as line:
        assert closing(line) == (code, reason)

    events = told("teardown")
    assert [event for event in events if event[0] == "after"] == [["after", 101]]


def test_handler_is_asked_after_the_accept(place: Any, told: Any, tag: str) -> None:
    """Error handlers see the error of an accepted socket; what they answer reaches nobody."""
    with place.open(f"/fail/oops?tag={tag}") as line:
        closing(line)
    assert ["handler", "Oops"] in told("teardown")
    with place.open(f"/fail/handled?tag={tag}") as line:
        assert closing(line)[0] == 1008
    assert ["handler", 401] in told("teardown")


def test_error_in_a_thread_closes(place: Any, told: Any, tag: str) -> None:
    """A `def` view's error closes with 1011 and tears down."""
    with place.open(f"/sync/fail?tag={tag}") as line:
        line.send("go")
        assert closing(line)[0] == 1011

    assert told("teardown")[-1] == ["teardown", "LookupError"]


# -- the end ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["close", "abort"])
def test_waiting_view_is_cancelled_within_100_ms(place: Any, told: Any, tag: str, how: str) -> None:
    """The peer closes, or just goes: a view that waits for something else is cancelled, cleans up and is torn down."""
    with place.open(f"/waits?tag={tag}") as line:
        assert line.receive() == "ready"
        gone = time.time()
        getattr(line, how)()

    events = told("teardown")
    (cancelled,) = (event for event in events if event[0] == "cancelled")
    assert cancelled[1] - gone < 0.1
    assert [event[0] for event in events[-3:]] == ["cancelled", "cleaned", "teardown"]


def test_view_that_was_told_is_not_cancelled(place: Any, told: Any, tag: str) -> None:
    """Who has caught the disconnect finishes in peace."""
    with place.open(f"/handles?tag={tag}") as line:
        line.close(4003, "gone")

    assert ["handled", 4003, "gone"] in told("teardown")


def test_view_may_ask_not_to_be_cancelled(place: Any, told: Any, tag: str) -> None:
    """`cancel_on_disconnect=False`: the next send tells."""
    with place.open(f"/stays?tag={tag}") as line:
        assert line.receive() == "ready"

    assert "disconnect" in [event[0] for event in told("teardown")]


# -- threads, classes, blueprints ---------------------------------------------------------------------


def test_sync_view_has_a_thread_of_its_own_kind(place: Any) -> None:
    """Hooks and view share one thread, which is none of those of pages."""
    with place.open("/threads") as line:
        name, is_shared = json.loads(line.receive())

    assert name.startswith("carboy-websocket-")
    assert is_shared


def test_one_more_than_the_threads_is_refused(place: Any) -> None:
    """`WEBSOCKET_THREADS` is 4: a fifth is refused with 503; pages, and sockets of `async def` views, are served."""
    from contextlib import ExitStack

    with ExitStack() as stack:
        for _ in range(100):  # the threads of an earlier test may not be free yet
            try:
                lines = [stack.enter_context(place.open("/threads")) for _ in range(4)]
                break
            except Refused:
                stack.close()
                time.sleep(0.05)
        for line in lines:
            line.receive()
        found = refusal(place, "/threads")
        assert (found.status, found.headers["X-After"]) == (503, "yes")
        assert place.get("/session")[0] == 200
        with place.open("/echo/x") as line:
            line.send("hello")
            assert line.receive() == "x: hello"


@pytest.mark.parametrize(("path", "name"), [("/class", "Chat"), ("/sync/class", "SyncChat")])
def test_handler_class(place: Any, told: Any, tag: str, path: str, name: str) -> None:
    """A class with a method `websocket` is a view; `prepare` runs before it and may refuse, `on_finish` after it."""
    with place.open(f"{path}/7?tag={tag}") as line:
        line.send("hello")
        assert line.receive() == f"{name} 7: hello"
    assert [event[0] for event in told("teardown")] == ["before", "prepare", "after", "finish", "teardown"]

    found = refusal(place, f"{path}/7?tag={tag}&refuse=prepare")

    assert (found.status, found.body) == (409, b"not prepared")


def test_blueprint(place: Any) -> None:
    """A blueprint's socket has its prefix, its name and its hooks."""
    with place.open("/part/echo") as line:
        line.send("hello")
        assert json.loads(line.receive()) == ["part", "hello"]
    assert refusal(place, "/part/echo?refuse=part").status == 451


def test_urls(place: Any) -> None:
    """`url_for` gives a socket's whole URL with the scheme ws (browsers want it whole), and a page's http, from either side."""
    host = f"127.0.0.1:{place.port}" if hasattr(place, "port") else "localhost"
    with place.open("/urls") as line:
        assert json.loads(line.receive()) == [f"ws://{host}/echo/a%20b", f"http://{host}/session", f"ws://{host}/urls"]
    assert json.loads(place.get("/urls")[2]) == [f"ws://{host}/echo/a%20b", f"ws://{host}/part/echo"]


# -- nothing is left ----------------------------------------------------------------------------------


def test_a_thousand_sockets_leave_nothing(place: Any) -> None:
    """After a thousand, one after the other, of both colours, refused and failed: no more objects, tasks or threads."""

    def some(number: int) -> None:
        path = ("/echo/x", "/sync/echo/x", "/refuse/none", "/fail/abort", "/session?name=x", "/waits")[number % 6]
        try:
            with place.open(path) as line:
                if "echo" in path:
                    line.send("x")
                    line.receive()
        except Refused:
            pass

    def settled() -> dict[str, int]:
        time.sleep(0.3)
        return json.loads(place.get("/counts")[2])  # type: ignore[no-any-return]

    for number in range(24):
        some(number)
    before = settled()
    for number in range(1000):
        some(number)

    after = settled()
    for name, most in (("contexts", 3), ("sockets", 3), ("wires", 3), ("tasks", 3), ("threads", 3)):
        assert after[name] <= before[name] + most, (before, after)
