"""Load at a constant rate, whatever the server does: the requests of an open world, where nobody waits for somebody else's answer.

Each request has its moment, and its time counts from that moment, not from when a connection was free to send it: a
server that stands still for a second is seen by everybody who came in that second (no coordinated omission). Raw sockets
and one epoll: some 30 µs of a processor a request. Only HTTP/1.1 with answers that tell their length.

As a program it reads its orders, a JSON object with the arguments of `drive`, from its input, and prints a `Report` as JSON.
"""

from __future__ import annotations

import gzip
import json
import re
import select
import socket
import statistics
import sys
import time
from array import array
from collections import Counter, deque
from dataclasses import asdict, dataclass, field

CODING = re.compile(rb"\r\ncontent-encoding: *(\w+)", re.IGNORECASE)
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass
class Report:
    """What came of it.

    Attributes:
        sent: requests whose moment came, after the warm-up.
        answered: those that were answered with 200, as they must be.
        whole: the same with those of the warm-up.
        errors: all others, by kind.
        seconds: from the first moment to the last answer.
        p50, p99, p999, most: ms from a request's moment to the end of its answer.
        late_p99: ms by which the driver itself was late to send, or had no free connection: a part of the above.
        processor_seconds: of the driver.
        body: bytes of an answer as it was sent, in the median.
        reconnects: connections that the server closed between two requests.
    """

    sent: int = 0
    answered: int = 0
    whole: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    p50: float = 0.0
    p99: float = 0.0
    p999: float = 0.0
    most: float = 0.0
    late_p99: float = 0.0
    processor_seconds: float = 0.0
    body: float = 0.0
    reconnects: int = 0


class Connection:
    def __init__(self, address: tuple[str, int]) -> None:
        self.address = address
        self.moment = 0.0  # of the request under way, 0 if there is none
        self.number = 0
        self.head = b""
        self.parts: list[bytes] = []
        self.wanted = 0  # bytes of the whole answer, once its head is there
        self.got = 0
        self.socket = self.open()

    def open(self) -> socket.socket:
        made = socket.create_connection(self.address, 5)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made


class Broken(Exception):
    """An answer is not what it must be."""


def decoded(body: bytes, coding: str) -> bytes:
    """The text of a compressed answer; zstd and brotli by the libraries that Carboy has."""
    if coding == "gzip":
        return gzip.decompress(body)
    if coding == "br":
        import brotli

        return bytes(brotli.decompress(body))
    if coding == "zstd":
        try:
            from compression import zstd
        except ImportError:
            from backports import zstd

        return zstd.decompress(body)
    return body


def drive(
    host: str,
    port: int,
    path: str,
    rate: float,
    seconds: float,
    *,
    headers: dict[str, str],
    cookies: list[str],
    must_have: str = "",
    connections: int = 64,
    warm_seconds: float = 3,
    timeout: float = 10,
    compressed: bool = True,
) -> Report:
    """Send `rate` requests a second for some seconds.

    Args:
        headers: sent with each request.
        cookies: taken in turn, a Cookie header each; [""] sends none.
        must_have: a text that each hundredth answer is looked through for, decompressed.
        timeout: seconds after which an answer that has not come is an error.
        compressed: whether an answer without Content-Encoding is an error.
    """
    lines = [f"GET {path} HTTP/1.1", f"Host: {host}:{port}", *(f"{name}: {value}" for name, value in headers.items())]
    requests = ["\r\n".join([*lines, *([f"Cookie: {cookie}"] if cookie else []), "", ""]).encode() for cookie in cookies]
    warm, total = round(rate * warm_seconds), round(rate * (warm_seconds + seconds))
    poll = select.epoll()
    everybody: dict[int, Connection] = {}
    idle: deque[Connection] = deque()
    errors: Counter[str] = Counter()
    times, lates, sizes = array("d"), array("d"), array("d")
    report = Report(sent=total - warm)
    under_way = 0

    def join(connection: Connection) -> None:
        everybody[connection.socket.fileno()] = connection
        poll.register(connection.socket, select.EPOLLIN)
        idle.append(connection)

    def renew(connection: Connection) -> None:
        """A new connection in the place of one that is no good any more."""
        poll.unregister(connection.socket)
        del everybody[connection.socket.fileno()]
        connection.socket.close()
        if connection in idle:
            idle.remove(connection)
        join(Connection(connection.address))

    def send(connection: Connection, number: int, now: float) -> None:
        nonlocal under_way
        connection.number, connection.moment = number, begin + number / rate
        connection.head, connection.parts, connection.wanted, connection.got = b"", [], 0, 0
        if number >= warm:
            lates.append(now - connection.moment)
        under_way += 1
        connection.socket.send(requests[number % len(requests)])

    def receive(connection: Connection) -> bool:
        """Take what has come; say whether the answer is whole."""
        data = connection.socket.recv(262_144)
        if not data:
            raise Broken("closed in an answer" if connection.got else "closed before an answer")
        connection.got += len(data)
        connection.parts.append(data)
        if not connection.wanted:
            connection.head += data
            end = connection.head.find(b"\r\n\r\n")
            if end < 0:
                return False
            connection.head = connection.head[:end]
            length = LENGTH.search(connection.head)
            if length is None:
                raise Broken("an answer without a length")
            connection.wanted = end + 4 + int(length[1])
        if connection.got > connection.wanted:
            raise Broken("more than the answer")
        return connection.got == connection.wanted

    def check(connection: Connection) -> None:
        head = connection.head
        if not head.startswith(b"HTTP/1.1 200 "):
            raise Broken(f"status {head[9:12].decode('latin-1')}")
        coding = CODING.search(head)
        if compressed and coding is None:
            raise Broken("not compressed")
        if connection.number % 100 == 0 and must_have:
            body = b"".join(connection.parts)[len(head) + 4 :]
            if must_have.encode() not in decoded(body, coding[1].decode() if coding else ""):
                raise Broken("another page")

    for _ in range(connections):
        join(Connection((host, port)))
    used = time.process_time()
    begin = time.monotonic() + 0.05
    last = begin + total / rate + timeout
    at = 0
    checked = begin
    while at < total or under_way:
        now = time.monotonic()
        if now > last:
            break
        while at < total and idle and begin + at / rate <= now:
            connection = idle.popleft()
            try:
                send(connection, at, now)
            except OSError as error:
                errors[f"could not be sent: {error.strerror}"] += 1
                under_way -= 1
                renew(connection)
            at += 1
        pause = min(begin + at / rate - now, 0.1) if at < total and idle else 0.1
        for number, _ in poll.poll(max(pause, 0)):
            connection = everybody.get(number)
            if connection is None:
                continue
            if not connection.moment:
                report.reconnects += 1
                renew(connection)
                continue
            try:
                if not receive(connection):
                    continue
                check(connection)
            except (Broken, OSError) as error:
                errors[str(error)] += 1
                under_way -= 1
                renew(connection)
                continue
            under_way -= 1
            report.whole += 1
            if connection.number >= warm:
                times.append(time.monotonic() - connection.moment)
                sizes.append(connection.wanted - len(connection.head) - 4)
            connection.moment = 0.0
            idle.append(connection)
            if b"\r\nconnection: close" in connection.head.lower():
                renew(connection)
        if now - checked > 1:
            checked = now
            for connection in [each for each in everybody.values() if each.moment and now - each.moment > timeout]:
                errors["no answer in time"] += 1
                under_way -= 1
                renew(connection)
    if under_way or at < total:
        errors["no answer in time"] += under_way + total - at
    report.seconds = time.monotonic() - begin - warm_seconds
    report.processor_seconds = time.process_time() - used
    report.errors, report.answered = dict(errors), len(times)
    if len(times) > 1000:
        percent = statistics.quantiles(times, n=1000)
        report.p50, report.p99, report.p999 = (percent[index] * 1000 for index in (499, 989, 998))
        report.most = max(times) * 1000
        report.late_p99 = statistics.quantiles(lates, n=100)[98] * 1000
        report.body = statistics.median(sizes)
    for connection in everybody.values():
        connection.socket.close()
    return report


if __name__ == "__main__":
    print(json.dumps(asdict(drive(**json.load(sys.stdin)))))
