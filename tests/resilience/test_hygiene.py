"""What HTTP forbids and granian lets through: Host fields, transfer codings, header values; and the requests' ids."""

import importlib.util
import json
import re
import socket
from pathlib import Path

import pytest

spec = importlib.util.spec_from_file_location("wire_of_resilience", Path(__file__).parent / "wire.py")
wire = importlib.util.module_from_spec(spec)
spec.loader.exec_module(wire)

BAD_HOSTS = {
    "none": b"GET / HTTP/1.1\r\n\r\n",
    "empty": wire.get(host=""),
    "two": wire.get("/", "Host: other"),
    "two alike": wire.get("/", "Host: localhost"),
    "a path": wire.get(host="a/b"),
    "a user": wire.get(host="user@a"),
    "a space": wire.get(host="a b"),
    "a comma": wire.get(host="a,b"),
    "a port too high": wire.get(host="a:99999"),
    "no port": wire.get(host="a:"),
    "a port of letters": wire.get(host="a:b"),
    "no IPv6 address": wire.get(host="[::g]"),
    "an open bracket": wire.get(host="[::1"),
    "a quote": wire.get(host='a"><script>'),
    "bytes": wire.get(host="h\xf6st"),
    "too long": wire.get(host="a" * 300),
}
GOOD_HOSTS = ("localhost", "LOCALHOST:80", "a-b.example_c.org:65535", "127.0.0.1:8000", "[::1]", "[2001:db8::1]:8000", "example.com.")


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """One server for the tests that need no other options."""
    with wire.serving(tmp_path_factory.mktemp("served")) as running:
        yield running


def test_host_fields(served, figure):
    """Missing, repeated and invalid Host fields are 400s that close; valid ones of every form are served."""
    bad = {name: wire.exchange(served.port, sent)[0] for name, sent in BAD_HOSTS.items()}
    good = {host: wire.exchange(served.port, wire.get(host=host))[0] for host in GOOD_HOSTS}
    old, _ = wire.exchange(served.port, b"GET / HTTP/1.0\r\n\r\n")

    figure("bad Host fields, all 400", len(bad))
    assert {name: wire.status_of(each) for name, each in bad.items()} == dict.fromkeys(bad, 400)
    assert not [name for name, each in bad.items() if each.endswith(b"<open>")]
    assert {host: wire.status_of(each) for host, each in good.items()} == dict.fromkeys(good, 200)
    assert wire.status_of(old) == 200
    assert "Traceback" not in served.text()


def test_host_list(run):
    """--trusted-hosts serves the names listed, with any port, and .name all below it."""
    served = run("--trusted-hosts", "shop.example, .api.example, localhost", ready=1, target="limits:app")
    expected = {
        "shop.example": 200, "SHOP.example:8080": 200, "shop.example.": 200, "api.example": 200, "v1.api.example": 200,
        "www.shop.example": 400, "evil-api.example": 400, "shop.example.evil.example": 400, "127.0.0.1": 400,
    }  # fmt: skip

    answers = {host: wire.status_of(wire.exchange(served.port, wire.get(host=host))[0]) for host in expected}
    old, _ = wire.exchange(served.port, b"GET / HTTP/1.0\r\n\r\n")

    assert answers == expected
    assert wire.status_of(old) == 400


def test_framing(served):
    """Transfer codings other than one last `chunked`, and contradictory lengths, are refused; the connection ends."""
    chunks = b"3\r\nabc\r\n0\r\n\r\n"
    cases = {
        "chunked twice": (400, wire.post("/take", "Transfer-Encoding: chunked, chunked", body=chunks)),
        "chunked in two fields": (400, wire.post("/take", "Transfer-Encoding: chunked", "Transfer-Encoding: chunked", body=chunks)),
        "chunked not last": (400, wire.post("/take", "Transfer-Encoding: chunked, gzip", body=chunks)),
        "another coding": (501, wire.post("/take", "Transfer-Encoding: gzip, chunked", body=chunks)),
        "two lengths": (400, wire.post("/take", "Content-Length: 3", "Content-Length: 4", body=b"abcd")),
        "a length of letters": (400, wire.post("/take", "Content-Length: x", body=b"abc")),
        "a negative length": (400, wire.post("/take", "Content-Length: -3", body=b"abc")),
    }

    answers = {name: wire.exchange(served.port, sent)[0] for name, (_, sent) in cases.items()}

    assert {name: wire.status_of(each) for name, each in answers.items()} == {name: status for name, (status, _) in cases.items()}
    assert not [name for name, each in answers.items() if each.endswith(b"<open>")]
    assert served.get("/seen") == ""


def test_header_values_of_the_application(run):
    """A value with CR, LF or NUL never reaches the wire, from a plain ASGI application either."""
    served = run(ready=1, target="limits:raw")

    answers = {path: wire.exchange(served.port, wire.get(path))[0] for path in ("/crlf", "/lf", "/nul")}
    fine, _ = wire.exchange(served.port, wire.get("/"))

    assert {path: wire.status_of(each) for path, each in answers.items()} == dict.fromkeys(answers, 500)
    assert not [path for path, each in answers.items() if b"x-evil" in each.lower() or b"x-value" in each]
    assert b"x-value: fine" in fine


def test_request_ids(served):
    """Each answer has an id, which the application sees too; one that a stranger sends is not taken over."""
    own, _ = wire.exchange(served.port, wire.get("/who"))
    other, _ = wire.exchange(served.port, wire.get("/who", "X-Request-ID: mine"))
    refused, _ = wire.exchange(served.port, wire.post("/take", "Content-Length: 99999999999", "Expect: 100-continue"))

    ids = [re.findall(rb"x-request-id: (\S+)", each) for each in (own, other, refused)]
    assert [len(each) for each in ids] == [1, 1, 1]
    assert len({each[0] for each in ids}) == 3
    assert b"mine" not in other
    for answer, (sent,) in zip((own, other), ids, strict=False):
        told = json.loads(answer.partition(b"\r\n\r\n")[2])
        assert told["id"] == told["environ_id"] == sent.decode()


def test_request_ids_of_others(run):
    """With --request-ids any, a sane id is kept and sent back; one that is not sane is replaced."""
    served = run("--request-ids", "any", ready=1, target="limits:app")

    kept, _ = wire.exchange(served.port, wire.get("/who", "X-Request-ID: abc-123"))
    insane = [
        wire.exchange(served.port, wire.get("/who", f"X-Request-ID: {value}"))[0] for value in ("a b", "<x>", "x" * 129, "\xe9")
    ]

    assert b"x-request-id: abc-123\r\n" in kept
    assert all(len(re.findall(rb"x-request-id: [0-9a-f]{16}-[0-9a-f]+\r\n", each)) == 1 for each in insane)


def test_pipelined_requests_are_answered_in_order(served):
    """Three requests at once on a connection come back in order, a refused one among them ends it."""
    kept = b"GET /seen HTTP/1.1\r\nHost: localhost\r\n\r\n"

    answers, _ = wire.exchange(served.port, kept + kept + wire.get("/", host="a/b") + kept)

    assert re.findall(rb"HTTP/1.1 ([0-9]{3})", answers) == [b"200", b"200", b"400"]
    assert not answers.endswith(b"<open>")


def test_names_with_underscores_are_no_other_headers(run):
    """`X_Forwarded_For` cannot pose as `X-Forwarded-For`, trusted or not."""
    served = run("--trusted-proxies", "127.0.0.1", ready=1, target="limits:app")

    answer, _ = wire.exchange(served.port, wire.get("/who", "X_Forwarded_For: 9.9.9.9", "X_Request_ID: x"))

    told = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert told["client"] == "127.0.0.1"
    assert told["forwarded"] is None


def test_wrong_starts_are_client_errors(served):
    """Bytes that are no request at all are 400s or a closed connection, and no 5xx."""
    starts = (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"G\x00T / HTTP/1.1\r\nHost: a\r\n\r\n",
              b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nx: \x01\r\n\r\n",
              b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n folded\r\n\r\n")  # fmt: skip

    answers = [wire.exchange(served.port, start, wait=2)[0] for start in starts]

    assert [each for each in answers if wire.status_of(each) not in (400, 505, None)] == []
    assert [each for each in answers if each.endswith(b"<open>")] == []


def test_no_version_in_server_field(served):
    """The Server field names no version."""
    answer, _ = wire.exchange(served.port, wire.get("/"))

    assert re.findall(rb"(?im)^server:.*[0-9]", answer) == []
    assert socket.gethostname().encode() not in answer
