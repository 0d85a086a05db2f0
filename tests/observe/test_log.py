"""The access log: a line is a line, whatever a client sends, and wherever it goes."""

import json
import os
import time

import pytest

from carboy.observe import log as room
from carboy.observe.log import AccessLog, Clock, Noted, Sink, json_line, plain_line, safe


def noted(**changes) -> Noted:
    plain = Noted(
        began=time.perf_counter_ns(),
        nanoseconds=1_234_567,
        method="GET",
        path=b"/users/7",
        route="/users/<int:id>",
        status=200,
        size=12,
        client="10.0.0.9",
        agent=b"curl/8",
        request_id=b"abc-1",
    )
    return plain._replace(**changes)


def test_json_line_has_what_is_known_and_nothing_else() -> None:
    """Unknown values are left out, not null."""
    line = json.loads(json_line(noted(route=None, request_id=None), Clock(), 42))

    assert line.pop("time").endswith("Z")
    assert line == {
        "method": "GET", "path": "/users/7", "status": 200, "bytes": 12, "ms": 1.234, "pid": 42, "client": "10.0.0.9", "user_agent": "curl/8",
    }  # fmt: skip


def test_time_is_when_the_request_began() -> None:
    """In UTC, to the millisecond, over the second's edge."""
    clock = Clock()
    reading = time.perf_counter_ns()
    expected = (reading + clock.offset) / 1e9

    for step in (0, 1_500_000_000, -700_000_000):
        text = clock(reading + step)
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(int(expected + step / 1e9)))
        assert text.startswith(at)
        assert int(text[-4:-1]) == int((expected + step / 1e9) * 1000) % 1000


@pytest.mark.parametrize("evil", ['x" 200 0\n10.0.0.1 "GET /admin', "\x1b[2J", "\r\n", "\\", "\x9b31m", "\u2028", "ü" * 9000])
def test_nothing_a_client_sends_ends_a_field_or_a_line(evil: str) -> None:
    """Neither format can be forged, nor a terminal driven."""
    request = noted(path=evil.encode("latin1", "replace"), agent=evil.encode("latin1", "replace"), request_id=evil, method=evil[:20])

    plain, structured = plain_line(request, Clock(), 1), json_line(request, Clock(), 1)

    assert b"\n" not in plain + structured
    assert b"\r" not in plain + structured
    assert plain.decode().replace('"', "").isprintable()
    assert plain.count(b'"') == 6
    assert json.loads(structured)["status"] == 200
    assert len(plain) < 5 * 2048 * 2


def test_plain_text_needs_no_escaping() -> None:
    """What is harmless stays as it is."""
    assert safe(b"Mozilla/5.0 (X11; Linux x86_64)") == "Mozilla/5.0 (X11; Linux x86_64)"


def test_flush_writes_all_that_was_noted_in_order(tmp_path) -> None:
    """More than is made at one go too."""
    path = tmp_path / "access.log"
    lines = AccessLog("json", Sink(str(path)))
    for number in range(1000):
        lines.pending.append(noted(size=number))

    lost = lines.flush()

    assert lost == 0
    assert [json.loads(line)["bytes"] for line in path.read_text().splitlines()] == list(range(1000))
    lines.close()


def test_errors_are_logged_whatever_the_sample(tmp_path) -> None:
    """Sampling thins out the ordinary, never the failures."""
    lines = AccessLog("json", Sink(str(tmp_path / "l")), 0.25, iter([0.1, 0.9, 0.25]).__next__)

    assert [lines.wants(200), lines.wants(200), lines.wants(404), lines.wants(500), lines.wants(503)] == [True, False, False, True, True]
    lines.close()


def test_moved_file_is_opened_anew(tmp_path, monkeypatch) -> None:
    """logrotate needs to tell nobody."""
    path = tmp_path / "access.log"
    lines = AccessLog("line", Sink(str(path)))
    lines.pending.append(noted())
    lines.flush()

    path.rename(tmp_path / "access.log.1")
    lines.sink.looked = 0
    lines.pending.append(noted())
    lines.flush()

    assert len(path.read_text().splitlines()) == 1
    assert len((tmp_path / "access.log.1").read_text().splitlines()) == 1
    lines.close()


def test_what_cannot_be_written_is_counted() -> None:
    """A full disk stops nobody; the loss is a number."""
    lines = AccessLog("line", Sink("/dev/full"))
    lines.pending.extend([noted()] * 300)

    assert lines.flush() == 300
    assert lines.flush() == 0
    lines.close()


def test_reader_that_does_not_read_fills_no_memory(tmp_path, monkeypatch) -> None:
    """Beyond a bound, requests are served and not noted."""
    monkeypatch.setattr(room, "MOST_PENDING", 10)
    lines = AccessLog("line", Sink(str(tmp_path / "l")))
    for _ in range(25):
        if lines.wants(200):
            lines.pending.append(noted())

    assert len(lines.pending) == 10
    assert lines.flush() == 15
    lines.close()


def test_lines_into_a_pipe_are_never_torn() -> None:
    """Writes hold whole lines and no more than the kernel keeps together."""
    reader, writer = os.pipe()
    sink = Sink(None)
    sink.fd = writer

    sink.write([b"x" * 300] * 60)
    os.close(writer)
    received = b""
    while chunk := os.read(reader, 65536):
        received += chunk
    os.close(reader)

    chunks = list(room._chunks([b"x" * 300] * 60, sink._longest()))
    assert received == (b"x" * 300 + b"\n") * 60
    assert all(len(chunk) <= 4096 and chunk.endswith(b"\n") for _, chunk in chunks)
