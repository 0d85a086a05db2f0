"""What RFC 9110 and 9112 ask of a server, a case each, through every door; and what a door does not hold is named.

A case is what a client sends, and the statuses that are right. Where a door of granian's answers otherwise, `NOT_HELD`
says what it does instead and why, and docs/doors.md must say it too: the table there cannot go out of date unseen.
"""

import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

spec = importlib.util.spec_from_file_location("wire_of_resilience", Path(__file__).parent / "wire.py")
wire = importlib.util.module_from_spec(spec)
spec.loader.exec_module(wire)

DOORS = ("asgi", "rsgi", "wsgi")
CRLF = "\r\n"
CHUNKS = b"3\r\nabc\r\n0\r\n\r\n"
#: A second request in the same bytes: where the first one is refused, nobody may answer it.
SMUGGLED = b"GET /n/666 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


@dataclass(frozen=True)
class Case:
    """What is sent, and what is right."""

    sent: bytes
    #: The statuses that are right; None: closed without an answer.
    right: tuple[int | None, ...] = (400,)
    #: What must be in the answer, or must not.
    has: bytes = b""
    lacks: bytes = b"number 666"
    #: The client has said all it will say.
    half: bool = False


def head(*lines: str, body: bytes = b"", start: str = "GET / HTTP/1.1", host: str | None = "Host: localhost") -> bytes:
    every = [start, *([host] if host else []), *lines, "", ""]
    return CRLF.join(every).encode("latin1") + body


def closing(*lines: str, body: bytes = b"", start: str = "GET / HTTP/1.1") -> bytes:
    return head("Connection: close", *lines, body=body, start=start)


def post(*lines: str, body: bytes = b"", path: str = "/take") -> bytes:
    return head(*lines, body=body, start=f"POST {path} HTTP/1.1")


def chunked(body: bytes, *lines: str) -> bytes:
    return post("Transfer-Encoding: chunked", *lines, body=body)


REFUSED = (400, None)
START = {
    "request line without version": Case(b"GET /\r\nHost: localhost\r\n\r\n", REFUSED),
    "request line of one word": Case(b"GET\r\n\r\n", REFUSED),
    "request line of four words": Case(b"GET / x HTTP/1.1\r\nHost: localhost\r\n\r\n", REFUSED),
    "unknown major version": Case(b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n", (400, 505, None)),
    "version in small letters": Case(b"GET / http/1.1\r\nHost: localhost\r\n\r\n", (400, 505, None)),
    "method that is no token": Case(b"G(T / HTTP/1.1\r\nHost: localhost\r\n\r\n", REFUSED),
    "NUL in the method": Case(b"G\0T / HTTP/1.1\r\nHost: localhost\r\n\r\n", REFUSED),
    "NUL in the target": Case(b"GET /\0 HTTP/1.1\r\nHost: localhost\r\n\r\n", REFUSED),
    "tab in the request line": Case(b"GET\t/ HTTP/1.1\r\nHost: localhost\r\n\r\n", REFUSED),
    "target without a slash": Case(closing(start="GET n/1 HTTP/1.1"), (400, 404, None)),
    "raw bytes in the target": Case(closing(start="GET /\xff\xfe HTTP/1.1"), (400, 404, None)),
    "a control character in the target": Case(b"GET /\x01 HTTP/1.1\r\nHost: localhost\r\n\r\n", REFUSED),
    "absolute target": Case(closing(start="GET http://localhost/n/7 HTTP/1.1"), (200,), b"number 7"),
    "asterisk": Case(closing(start="OPTIONS * HTTP/1.1"), (200, 204, 400, 404, 405)),
    "CONNECT": Case(closing(start="CONNECT localhost:1 HTTP/1.1"), (400, 404, 405, 501)),
    "TRACE reflects nothing": Case(closing("X-Secret: hunter2", start="TRACE / HTTP/1.1"), (400, 405, 501), lacks=b"hunter2"),
    "unknown method": Case(closing(start="BREW / HTTP/1.1"), (405, 501)),
    "target of 100 KB": Case(closing(start=f"GET /{'a' * 100_000} HTTP/1.1"), (400, 414, 431, None)),
    "empty line before the request": Case(b"\r\n" + closing(), (200,)),
    "TLS to a plain port": Case(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", REFUSED),
    "HTTP/2 preface": Case(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (400, 505, None)),
    "HTTP/1.0 closes by itself": Case(b"GET / HTTP/1.0\r\n\r\n", (200,), b"index"),
}
FIELDS = {
    "space before the colon": Case(head("X-A : b", body=SMUGGLED), REFUSED),
    "folded line": Case(head("X-A: a", " folded", body=SMUGGLED), REFUSED),
    "first field begins with a space": Case(b"GET / HTTP/1.1\r\n Host: localhost\r\n\r\n" + SMUGGLED, REFUSED),
    "no name": Case(head(": b", body=SMUGGLED), REFUSED),
    "no colon": Case(head("just words", body=SMUGGLED), REFUSED),
    "name that is no token": Case(head("X(A): b", body=SMUGGLED), REFUSED),
    "NUL in a value": Case(head("X-A: a\0b", body=SMUGGLED), REFUSED),
    "CR in a value": Case(head("X-A: a\rX-B: b", body=SMUGGLED), REFUSED),
    "control character in a value": Case(head("X-A: a\x01b", body=SMUGGLED), REFUSED),
    "head of 200 KB": Case(closing(f"X-A: {'a' * 200_000}"), (400, 431, None)),
    "500 fields": Case(closing(*(f"X-{number}: b" for number in range(500))), (400, 431, None)),
    "lines that end in LF": Case(b"GET / HTTP/1.1\nHost: localhost\nConnection: close\n\n", (200, 400)),
    "Expect nobody knows": Case(closing("Expect: the-unexpected"), (200, 417)),
    "Upgrade to h2c is not taken": Case(closing("Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"), (200,)),
    "Upgrade without a WebSocket's key": Case(head("Upgrade: websocket", "Connection: Upgrade, close"), (200, 400, 404, 405, 426, None)),
    "Content-Length of a GET": Case(closing("Content-Length: 3", body=b"abc"), (200,), b"index"),
}
HOSTS = {
    "no Host": Case(b"GET / HTTP/1.1\r\n\r\n"),
    "two Hosts": Case(head("Host: other")),
    "empty Host": Case(head(host="Host:")),
    "Host with a path": Case(head(host="Host: a/b")),
    "Host with a space": Case(head(host="Host: a b")),
}
FRAMING = {
    "two lengths": Case(post("Content-Length: 3", "Content-Length: 4", body=b"abcd")),
    "two lengths in one field": Case(post("Content-Length: 3, 4", body=b"abcd")),
    "the same length twice": Case(post("Content-Length: 3", "Content-Length: 3", "Connection: close", body=b"abc"), (200, 400)),
    "length with a plus": Case(post("Content-Length: +3", body=b"abc")),
    "negative length": Case(post("Content-Length: -3", body=b"abc")),
    "hexadecimal length": Case(post("Content-Length: 0x3", body=b"abc")),
    "length of letters": Case(post("Content-Length: abc", body=b"abc")),
    "length with a fraction": Case(post("Content-Length: 3.0", body=b"abc")),
    "length with an underscore": Case(post("Content-Length: 0_3", body=b"abc")),
    "length beyond 64 bits": Case(post(f"Content-Length: {'9' * 30}", body=b"abc"), (400, 413)),
    # RFC 9112 §6.3 rule 3: an attempt at smuggling; refused, or taken as chunked and then closed.
    "length and chunked": Case(post("Content-Length: 3", "Transfer-Encoding: chunked", body=CHUNKS + SMUGGLED), (200, 400)),
    "chunked and length": Case(post("Transfer-Encoding: chunked", "Content-Length: 90", body=CHUNKS + SMUGGLED), (200, 400)),
    "chunked twice": Case(post("Transfer-Encoding: chunked, chunked", body=CHUNKS + SMUGGLED)),
    "chunked in two fields": Case(post("Transfer-Encoding: chunked", "Transfer-Encoding: chunked", body=CHUNKS + SMUGGLED)),
    "chunked is not the last coding": Case(post("Transfer-Encoding: chunked, gzip", body=CHUNKS + SMUGGLED), (400, 501)),
    "another coding": Case(post("Transfer-Encoding: gzip, chunked", body=CHUNKS + SMUGGLED), (400, 501)),
    "unknown coding": Case(post("Transfer-Encoding: xchunked", body=CHUNKS + SMUGGLED), (400, 501)),
    "chunked hidden by a control character": Case(post("Transfer-Encoding: \x0bchunked", body=CHUNKS + SMUGGLED), (400, 501)),
    "identity": Case(post("Transfer-Encoding: identity", "Content-Length: 3", body=b"abc" + SMUGGLED), (400, 501)),
    "chunked in HTTP/1.0": Case(
        CRLF.join(["POST /take HTTP/1.0", "Host: localhost", "Transfer-Encoding: chunked", "", ""]).encode() + CHUNKS, (200, 400, 411)
    ),
    "CHUNKED": Case(post("Transfer-Encoding: CHUNKED", "Connection: close", body=CHUNKS), (200,), b"took 3"),
}
BODIES = {
    "chunk size beyond 64 bits": Case(chunked(b"ffffffffffffffffff\r\nabc\r\n0\r\n\r\n" + SMUGGLED)),
    "negative chunk size": Case(chunked(b"-1\r\nabc\r\n0\r\n\r\n" + SMUGGLED)),
    "chunk size with 0x": Case(chunked(b"0x3\r\nabc\r\n0\r\n\r\n" + SMUGGLED)),
    "chunk size with a plus": Case(chunked(b"+3\r\nabc\r\n0\r\n\r\n" + SMUGGLED)),
    "chunk size with an underscore": Case(chunked(b"0_3\r\nabc\r\n0\r\n\r\n" + SMUGGLED)),
    "no chunk size": Case(chunked(b"\r\nabc\r\n0\r\n\r\n" + SMUGGLED)),
    "chunk size of letters": Case(chunked(b"zz\r\nabc\r\n0\r\n\r\n" + SMUGGLED)),
    "chunk longer than it says": Case(chunked(b"3\r\nabcdef\r\n0\r\n\r\n" + SMUGGLED)),
    "chunk without its line end": Case(chunked(b"3\r\nabc0\r\n\r\n" + SMUGGLED)),
    "second chunk is broken": Case(chunked(b"3\r\nabc\r\nzz\r\nabc\r\n0\r\n\r\n" + SMUGGLED)),
    "chunk extension": Case(chunked(b'3;a=b;c="d"\r\nabc\r\n0\r\n\r\n', "Connection: close"), (200,), b"took 3"),
    "chunk extension of 1 MB": Case(chunked(b"3;a=" + b"b" * (1 << 20) + b"\r\nabc\r\n0\r\n\r\n"), (400, 413, None)),
    "LF in a chunk extension": Case(chunked(b"3;a\nb\r\nabc\r\n0\r\n\r\n" + SMUGGLED)),
    "trailer": Case(chunked(b"3\r\nabc\r\n0\r\nX-After: b\r\n\r\n", "Connection: close"), (200,), b"took 3"),
    "forbidden trailer": Case(chunked(b"3\r\nabc\r\n0\r\nContent-Length: 99\r\n\r\n", "Connection: close"), (200, 400)),
    "trailer of 1 MB": Case(chunked(b"3\r\nabc\r\n0\r\nX-After: " + b"b" * (1 << 20) + b"\r\n\r\n", "Connection: close"), (200, 400, 431, None)),
    "chunks end early": Case(chunked(b"3\r\nabc\r\n"), half=True),
    "inside a chunk the body ends": Case(chunked(b"9\r\nabc"), half=True),
    "length ends early": Case(post("Content-Length: 10", body=b"abc"), half=True),
    "length ends early, async view": Case(post("Content-Length: 10", body=b"abc", path="/take-async"), half=True),
}
NOISE = {
    "broken percent-encoding": Case(closing(start="GET /%zz%f HTTP/1.1"), (400, 404)),
    "path that is no UTF-8": Case(closing(start="GET /%ff%fe HTTP/1.1"), (400, 404)),
    "NUL in the path": Case(closing(start="GET /static/%00 HTTP/1.1"), (400, 404)),
    "NUL inside a file's name": Case(closing(start="GET /static/seen.txt%00.png HTTP/1.1"), (400, 404)),
    "number of 5,000 digits": Case(closing(start=f"GET /n/{'9' * 5000} HTTP/1.1"), (200, 400, 404)),
    # As Flask's own converter has it.
    "number in another script": Case(closing(start="GET /n/%D9%A3 HTTP/1.1"), (200, 400, 404)),
    "query that is no UTF-8": Case(closing(start="GET /all?a=%ff&%fe=b HTTP/1.1"), (200, 400)),
    "query of a thousand fields": Case(closing(start=f"GET /all?{'a=b&' * 1000} HTTP/1.1"), (200, 400)),
    "cookies that are none": Case(
        closing('Cookie: ;;=;a;\xff="\\999; session=not.signed.at-all', start="GET /all HTTP/1.1"), (200, 400)),
    "Authorization that is none": Case(closing("Authorization: Basic \xff\xfe", "X-A: b", start="GET /all HTTP/1.1"), (200, 400)),
    "Authorization of half a Digest": Case(closing('Authorization: Digest username="', start="GET /all HTTP/1.1"), (200, 400)),
    "Accept that is none": Case(closing("Accept: ;q=,,/;q=x", "Accept-Language: ;;;-", start="GET /all HTTP/1.1"), (200, 400, 406)),
    "dates that are none": Case(
        closing("If-Modified-Since: Mon, 99 Foo 99999 99:99:99 GMT", "If-Range: Tue", "Date: \xff", start="GET /all HTTP/1.1"), (200, 400)),
    "tags that are none": Case(closing('If-None-Match: W/"', 'If-Match: ,,"', start="GET /file HTTP/1.1"), (200, 400, 412)),
    "Content-Type that is none": Case(closing("Content-Type: ;;=\xff;charset=none", "Content-Length: 0", start="POST /all HTTP/1.1"), (200, 400, 415)),
    "form without a boundary": Case(
        closing("Content-Type: multipart/form-data", "Content-Length: 3", start="POST /all HTTP/1.1", body=b"abc"), (200, 400)),
    "form with a broken boundary": Case(
        closing('Content-Type: multipart/form-data; boundary="a\xff', "Content-Length: 3", start="POST /all HTTP/1.1", body=b"abc"), (200, 400)),
    "form that is no UTF-8": Case(
        closing("Content-Type: application/x-www-form-urlencoded", "Content-Length: 7", start="POST /all HTTP/1.1", body=b"a=%ff\xff\xfe"), (200, 400)),
    "a charset of codecs": Case(
        closing("Content-Type: text/plain; charset=idna", "Content-Length: 3", start="POST /all HTTP/1.1", body=b"abc"), (200, 400, 415)),
    "Referer that is none": Case(closing("Referer: http://[::g", "Origin: \xff", start="GET /all HTTP/1.1"), (200, 400)),
}  # fmt: skip
CONDITIONS = {
    "Range": Case(closing("Range: bytes=2-5", start="GET /file HTTP/1.1"), (206,), b"\r\n\r\n2345"),
    "Range from the end": Case(closing("Range: bytes=-3", start="GET /file HTTP/1.1"), (206,), b"\r\n\r\n789"),
    "Range beyond the end": Case(closing("Range: bytes=1000-", start="GET /file HTTP/1.1"), (416,), b"bytes */100"),
    "Range that is none": Case(closing("Range: bytes=5-2,x", start="GET /file HTTP/1.1"), (200, 400, 416)),
    "Range of another unit": Case(closing("Range: lines=1-2", start="GET /file HTTP/1.1"), (200,)),
    "Range of a thousand parts": Case(
        closing("Range: bytes=" + ",".join("0-" for _ in range(1000)), start="GET /file HTTP/1.1"), (200, 400, 416)),
    "Range beyond 64 bits": Case(closing(f"Range: bytes=0-{'9' * 30}", start="GET /file HTTP/1.1"), (200, 206, 416)),
    "If-Range of another version": Case(closing("Range: bytes=2-5", 'If-Range: "other"', start="GET /file HTTP/1.1"), (200,)),
    "If-Range of this version": Case(closing("Range: bytes=2-5", 'If-Range: "tag"', start="GET /file HTTP/1.1"), (206,)),
    "If-None-Match": Case(closing('If-None-Match: "x", W/"tag"', start="GET /file HTTP/1.1"), (304,), lacks=b"0123"),
    "If-None-Match of anything": Case(closing("If-None-Match: *", start="GET /file HTTP/1.1"), (304,), lacks=b"0123"),
    "If-None-Match of another": Case(closing('If-None-Match: "x"', start="GET /file HTTP/1.1"), (200,)),
    "If-None-Match outranks If-Modified-Since": Case(
        closing('If-None-Match: "x"', "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT", start="GET /file HTTP/1.1"), (200,)),
    "If-Modified-Since": Case(closing("If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT", start="GET /file HTTP/1.1"), (304,), lacks=b"0123"),
    "If-Modified-Since long ago": Case(closing("If-Modified-Since: Mon, 01 Jan 1990 00:00:00 GMT", start="GET /file HTTP/1.1"), (200,)),
    "static: Range": Case(closing("Range: bytes=2-5", start="GET /static/seen.txt HTTP/1.1"), (206,), b"\r\n\r\n2345"),
    "static: If-None-Match of anything": Case(closing("If-None-Match: *", start="GET /static/seen.txt HTTP/1.1"), (304,), lacks=b"0123"),
}  # fmt: skip
EMPTY = {
    "HEAD": Case(closing(start="HEAD /n/7 HTTP/1.1"), (200,), b"content-length: 8", lacks=b"number 7"),
    "HEAD of a file": Case(closing(start="HEAD /file HTTP/1.1"), (200,), b"content-length: 100", lacks=b"0123"),
    "HEAD of what is not there": Case(closing(start="HEAD /nowhere HTTP/1.1"), (404,), lacks=b"<"),
    "204": Case(closing(start="GET /status/204 HTTP/1.1"), (204,), lacks=b"a body"),
    "304": Case(closing(start="GET /status/304 HTTP/1.1"), (304,), lacks=b"a body"),
    "204 has no length": Case(closing(start="GET /status/204 HTTP/1.1"), (204,), lacks=b"content-length"),
    "100 Continue is not for HTTP/1.0": Case(
        b"POST /take HTTP/1.0\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc", (200,), lacks=b"100 Continue"),
}  # fmt: skip
TRAVERSAL = {
    path: Case(closing(start=f"GET /static/{path} HTTP/1.1"), (301, 302, 308, 400, 403, 404), lacks=b"the secret")
    for path in (
        "../secret.txt", "%2e%2e/secret.txt", "..%2fsecret.txt", "%2e%2e%2fsecret.txt", "..%5csecret.txt", "..\\secret.txt",
        "%252e%252e/secret.txt", "./../secret.txt", "a/../../secret.txt", "//secret.txt", "%2fetc/passwd", "/etc/passwd",
        "..;/secret.txt", "%c0%ae%c0%ae/secret.txt", "....//secret.txt", "file:///etc/passwd",
    )
}  # fmt: skip
INJECTED = {
    f"{place}: {name}": Case(closing(start=f"GET /echo-{place}?v={value} HTTP/1.1"), (200, 302, 400, 500), lacks=b"\r\nx-evil")
    for place in ("header", "redirect", "cookie", "name", "type")
    for name, value in {"CR LF": "a%0d%0aX-Evil:%201", "LF": "a%0aX-Evil:%201", "CR": "a%0dX-Evil:%201", "NUL": "a%00b", "beyond ASCII": "%e2%82%ac%0a"}.items()
}  # fmt: skip

GROUPS = {
    "start": START, "fields": FIELDS, "Host": HOSTS, "framing": FRAMING, "bodies": BODIES, "noise": NOISE,
    "conditions": CONDITIONS, "no body": EMPTY, "traversal": TRAVERSAL, "injection": INJECTED,
}  # fmt: skip
CASES = {f"{group}: {name}": case for group, cases in GROUPS.items() for name, case in cases.items()}

#: (door, case) → statuses that it answers instead. Granian hides from RSGI and WSGI that chunks are malformed or end early: the
#: body just ends, so the view gets what came until then.
NOT_HELD: dict[tuple[str, str], tuple[int | None, ...]] = {
    (door, f"bodies: {name}"): (200,)
    for door in ("rsgi", "wsgi")
    for name, case in BODIES.items()
    if b"chunked" in case.sent and 200 not in case.right
}


@pytest.fixture(scope="module", params=DOORS)
def served(request, tmp_path_factory):
    """A server for each door."""
    with wire.serving(tmp_path_factory.mktemp(request.param), "--interface", request.param, target="rules:app") as running:
        running.door = request.param
        yield running


def judge(port, case):
    """Return the status, and what is wrong with the answer beside it."""
    answer, _ = wire.exchange(port, case.sent, wait=3, half_close=case.half)
    status = wire.status_of(answer)
    low = answer.lower()
    wrong = []
    if case.has.lower() not in low:
        wrong.append(f"lacks {case.has!r}")
    if case.lacks and case.lacks.lower() in low:
        wrong.append(f"has {case.lacks!r}")
    if answer.endswith(b"<open>"):
        wrong.append("left open")
    return status, wrong, answer


@pytest.mark.parametrize("name", CASES)
def test_rfc(served, group, name):
    """Each case is answered as HTTP asks, on a connection that ends; what a door does otherwise is known."""
    case = CASES[name]
    known = NOT_HELD.get((served.door, name))
    group(f"{served.door}: RFC 9110 and 9112{', not held and known' if known else ''}")
    before = served.get("/seen")

    status, wrong, answer = judge(served.port, case)

    assert status in (known or case.right), answer[:500]
    assert wrong == [], answer[:500]
    if status != 200:
        assert served.get("/seen") == before, "the view was called for a request that was refused"


def test_pipelined_requests_are_answered_in_order(served):
    """A hundred at once, fast and slow routes mixed: the answers come in the order of the requests."""
    sent = b"".join(head(start=f"GET /n/{number} HTTP/1.1") if number % 3 else post("Content-Length: 3", body=b"abc") for number in range(100))

    answer, _ = wire.exchange(served.port, sent + closing(start="GET /n/100 HTTP/1.1"), wait=10)

    expected = [b"number %d" % number if number % 3 or number == 100 else b"took 3" for number in range(101)]
    assert re.findall(rb"number \d+|took \d+", answer) == expected


def test_docs_name_what_the_doors_do_not_hold():
    """docs/doors.md has the number of cases that hold, for each door."""
    text = (Path(__file__).parents[2] / "docs" / "doors.md").read_text()

    held = [len(CASES) - sum(1 for each, _ in NOT_HELD if each == door) for door in DOORS]

    assert f"| {' | '.join(f'{count} of {len(CASES)}' for count in held)} |" in text
