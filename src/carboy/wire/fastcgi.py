"""FastCGI 1.0 as a responder speaks it, without sockets: bytes in, events out; calls in, bytes out.

What lives here: the record format, the states of a request, and nothing that waits. `Connection` is one
connection from a web server, which may carry many requests at once, told apart by their ids. The driver
feeds what it read, handles the events, and writes what the builders return. Rules:

1. An event stands for whole records, so the way the bytes were cut on the wire cannot be seen in the events.
2. The states are `TABLE`; what is not in it is a `ProtocolError`, after which the connection is of no use.
3. Names and values are bytes here. What they mean (PEP 3333) is the gateway's business.

Source: the FastCGI Specification 1.0 (Open Market, 1996); its section numbers are cited as §.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from struct import Struct
from struct import error as StructError
from typing import Final

__all__ = [
    "Abort",
    "BeginRequest",
    "Connection",
    "Event",
    "GetValues",
    "Params",
    "ProtocolError",
    "RecordType",
    "RequestStatus",
    "Role",
    "State",
    "StdinChunk",
    "StdinEnd",
    "UnknownType",
    "decode_pairs",
    "encode_pairs",
    "record",
]

HEADER: Final = Struct("!BBHHBx")  # version, type, request id, content length, padding length, reserved
BEGIN_BODY: Final = Struct("!HB5x")  # role, flags
END_BODY: Final = Struct("!IB3x")  # application status, protocol status
LONG: Final = Struct("!I")
KEEP_CONN: Final = 1
MAX_CONTENT: Final = 65_535
STEP: Final = 65_528  # the largest content that needs no padding


class ProtocolError(Exception):
    """The bytes are not FastCGI, or a record came where none of its kind may."""


class RecordType(IntEnum):
    BEGIN_REQUEST = 1
    ABORT_REQUEST = 2
    END_REQUEST = 3
    PARAMS = 4
    STDIN = 5
    STDOUT = 6
    STDERR = 7
    DATA = 8
    GET_VALUES = 9
    GET_VALUES_RESULT = 10
    UNKNOWN_TYPE = 11


class Role(IntEnum):
    RESPONDER = 1
    AUTHORIZER = 2
    FILTER = 3


class RequestStatus(IntEnum):
    """How the protocol, not the application, ended a request (§5.5)."""

    COMPLETE = 0
    CANT_MPX_CONN = 1
    OVERLOADED = 2
    UNKNOWN_ROLE = 3


# ── events ────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class BeginRequest:
    """A request begins. A role other than `Role.RESPONDER` is for the driver to refuse."""

    request_id: int
    role: int
    keep_conn: bool


@dataclass(frozen=True, slots=True)
class Params:
    """The parameters are complete, in the order sent; a name may come twice."""

    request_id: int
    pairs: tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True)
class StdinChunk:
    request_id: int
    data: bytes


@dataclass(frozen=True, slots=True)
class StdinEnd:
    request_id: int


@dataclass(frozen=True, slots=True)
class Abort:
    """The web server no longer wants the answer; the request is still to be ended."""

    request_id: int


@dataclass(frozen=True, slots=True)
class GetValues:
    """The web server asks for these variables; those not known are left out of the answer (§4.1)."""

    names: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class UnknownType:
    """A management record of a type that is not ours; to be answered with `unknown_type` (§4.2)."""

    type: int


Event = BeginRequest | Params | StdinChunk | StdinEnd | Abort | GetValues | UnknownType


# ── states of one request id ──────────────────────────────────────────────────────


class State(Enum):
    IDLE = "no request has this id, or its answer has ended"
    PARAMS = "parameters are arriving"
    STDIN = "the body is arriving"
    ANSWER = "all input is here; the answer is being written"
    ABORTED = "the web server gave the request up; it waits for the end record"


class Heard(Enum):
    BEGIN = "begin request"
    PARAMS = "params"
    PARAMS_END = "end of params"
    STDIN = "stdin"
    STDIN_END = "end of stdin"
    DATA = "data"
    ABORT = "abort request"


_LATE = (Heard.PARAMS, Heard.PARAMS_END, Heard.STDIN, Heard.STDIN_END, Heard.DATA, Heard.ABORT)

# An answer may end before the input does (413), so records for an idle id are late, not wrong: ignored (§3.3).
# A responder has no data stream, and an id in use cannot begin again: those cells are missing.
TABLE: Final[dict[State, dict[Heard, State]]] = {
    State.IDLE: {Heard.BEGIN: State.PARAMS} | dict.fromkeys(_LATE, State.IDLE),
    State.PARAMS: {
        Heard.PARAMS: State.PARAMS,
        Heard.PARAMS_END: State.STDIN,
        Heard.ABORT: State.ABORTED,
    },
    State.STDIN: {
        Heard.STDIN: State.STDIN,
        Heard.STDIN_END: State.ANSWER,
        Heard.ABORT: State.ABORTED,
    },
    State.ANSWER: {Heard.ABORT: State.ABORTED},
    State.ABORTED: dict.fromkeys(_LATE, State.ABORTED),
}

# (has content) → what was heard; only streams end with an empty record (§3.3).
_HEARD: Final[dict[int, tuple[Heard, Heard]]] = {
    RecordType.BEGIN_REQUEST: (Heard.BEGIN, Heard.BEGIN),
    RecordType.ABORT_REQUEST: (Heard.ABORT, Heard.ABORT),
    RecordType.PARAMS: (Heard.PARAMS_END, Heard.PARAMS),
    RecordType.STDIN: (Heard.STDIN_END, Heard.STDIN),
    RecordType.DATA: (Heard.DATA, Heard.DATA),
}


# ── records and name-value pairs ──────────────────────────────────────────────────


def record(kind: int, request_id: int, content: bytes = b"") -> bytes:
    """Build one record, padded to a multiple of eight bytes (§3.3).

    Raises:
        ValueError: the content is longer than one record can carry (65,535 bytes).
    """
    size = len(content)
    if size > MAX_CONTENT:
        raise ValueError(f"a FastCGI record carries at most {MAX_CONTENT} bytes, not {size}; send several")
    padding = -size % 8
    return HEADER.pack(1, kind, request_id, size, padding) + content + bytes(padding)


def encode_pairs(pairs: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Write name-value pairs; a length takes one byte below 128, else four (§3.4)."""
    out = bytearray()
    for pair in pairs:
        for part in pair:
            size = len(part)
            out += bytes((size,)) if size < 128 else LONG.pack(size | 0x8000_0000)
        out += pair[0]
        out += pair[1]
    return bytes(out)


def decode_pairs(data: bytes) -> tuple[tuple[bytes, bytes], ...]:
    """Read name-value pairs, the inverse of `encode_pairs`.

    Raises:
        ProtocolError: a length points past the end.
    """
    pairs = []
    at, end = 0, len(data)
    while at < end:
        sizes = []
        for _ in range(2):
            try:
                size = data[at]
                width = 1
                if size >= 128:
                    size = LONG.unpack_from(data, at)[0] & 0x7FFF_FFFF
                    width = 4
            except (IndexError, StructError):
                raise ProtocolError("name-value pairs end inside a length") from None
            sizes.append(size)
            at += width
        middle = at + sizes[0]
        stop = middle + sizes[1]
        if stop > end:
            raise ProtocolError(f"a name-value pair is {stop - end} bytes longer than what was sent")
        pairs.append((data[at:middle], data[middle:stop]))
        at = stop
    return tuple(pairs)


# ── the connection ────────────────────────────────────────────────────────────────


@dataclass(slots=True)
class _Request:
    keep_conn: bool
    state: State = State.PARAMS
    params: bytearray = field(default_factory=bytearray)
    wrote_stderr: bool = False


class Connection:
    """One connection from a web server, and every request on it.

    Example:
        >>> wire = Connection()
        >>> wire.feed(record(RecordType.GET_VALUES, 0, encode_pairs([(b"FCGI_MPXS_CONNS", b"")])))
        >>> list(wire.events())
        [GetValues(names=(b'FCGI_MPXS_CONNS',))]
        >>> wire.values({b"FCGI_MPXS_CONNS": b"1"})[8:26]
        b'\\x0f\\x01FCGI_MPXS_CONNS1'

    Args:
        max_params: most bytes of parameters one request may have.
    """

    def __init__(self, *, max_params: int = 131_072) -> None:
        self.max_params = max_params
        self._buffer = bytearray()
        self._requests: dict[int, _Request] = {}
        self._last = False  # a request that did not ask for FCGI_KEEP_CONN has ended
        self._error: ProtocolError | None = None
        #: A request was ended before its input was: records for it may still come, and are ignored.
        self.expects_late_input = False

    @property
    def active(self) -> tuple[int, ...]:
        """Ids of the requests that have begun and not ended."""
        return tuple(self._requests)

    @property
    def is_done(self) -> bool:
        """The connection is ours to close: nothing runs, and the web server did not ask to keep it (§3.5)."""
        return self._last and not self._requests

    def state(self, request_id: int) -> State:
        request = self._requests.get(request_id)
        return State.IDLE if request is None else request.state

    # in ───────────────────────────────────────────────────────────────────────────

    def feed(self, data: bytes) -> None:
        """Take what was read from the socket; then exhaust `events`."""
        self._buffer += data

    def events(self) -> Iterator[Event]:
        """Yield what the whole records in hand mean; a part of a record stays for the next `feed`.

        Raises:
            ProtocolError: after the events before the fault; and again on each later call.
        """
        if self._error is not None:
            raise self._error
        at = 0
        try:
            while len(self._buffer) - at >= HEADER.size:
                version, kind, request_id, size, padding = HEADER.unpack_from(self._buffer, at)
                if version != 1:
                    raise ProtocolError(f"FastCGI version {version}; this responder speaks version 1")
                start = at + HEADER.size
                if len(self._buffer) < start + size + padding:
                    break
                at = start + size + padding
                event = self._hear(kind, request_id, bytes(self._buffer[start : start + size]))
                if event is not None:
                    yield event
        except ProtocolError as exc:
            self._error = exc
            raise
        finally:
            del self._buffer[:at]

    def _hear(self, kind: int, request_id: int, content: bytes) -> Event | None:
        """Advance by one record; records that need no action give no event."""
        heard = _HEARD.get(kind)
        if request_id == 0:
            if kind == RecordType.GET_VALUES:
                return GetValues(tuple(name for name, _ in decode_pairs(content)))
            if heard is None:
                return UnknownType(kind)
            raise ProtocolError(f"{heard[1].value}: a record about a request has the id 0")
        if heard is None:
            raise ProtocolError(f"record type {kind} is not one that a web server sends about a request")
        word = heard[bool(content)]
        before = self.state(request_id)
        after = TABLE[before].get(word)
        if after is None:
            raise ProtocolError(f"{word.value!r} for request {request_id}, when {before.value}")
        if word is Heard.BEGIN:
            return self._begin(request_id, content)
        if before is State.IDLE or before is State.ABORTED:
            return None
        request = self._requests[request_id]
        request.state = after
        if word is Heard.PARAMS:
            request.params += content
            if len(request.params) > self.max_params:
                raise ProtocolError(
                    f"request {request_id} has more than {self.max_params} bytes of parameters; "
                    "lower the web server's header limits or raise max_params"
                )
            return None
        if word is Heard.PARAMS_END:
            pairs = decode_pairs(bytes(request.params))
            request.params = bytearray()
            return Params(request_id, pairs)
        if word is Heard.STDIN:
            return StdinChunk(request_id, content)
        return StdinEnd(request_id) if word is Heard.STDIN_END else Abort(request_id)

    def _begin(self, request_id: int, content: bytes) -> BeginRequest:
        if len(content) != BEGIN_BODY.size:
            raise ProtocolError(f"the body of a begin record has {BEGIN_BODY.size} bytes, not {len(content)}")
        role, flags = BEGIN_BODY.unpack(content)
        keep_conn = bool(flags & KEEP_CONN)
        self._requests[request_id] = _Request(keep_conn)
        return BeginRequest(request_id, role, keep_conn)

    # out ──────────────────────────────────────────────────────────────────────────

    def stdout(self, request_id: int, data: bytes) -> bytes:
        """Part of the answer; data of any length becomes as many records as it needs."""
        self._living(request_id)
        return _stream(RecordType.STDOUT, request_id, data)

    def stderr(self, request_id: int, data: bytes) -> bytes:
        """Text for the web server's error log."""
        self._living(request_id).wrote_stderr = True
        return _stream(RecordType.STDERR, request_id, data)

    def end(self, request_id: int, app_status: int = 0, status: RequestStatus = RequestStatus.COMPLETE) -> bytes:
        """End a request; its id may then be used again.

        An answer that was cut short (app_status other than 0) has no end of its stdout stream, so that
        a web server that looks at either of the two can see it.
        """
        request = self._living(request_id)
        out = b""
        if request.wrote_stderr:
            out += record(RecordType.STDERR, request_id)
        if status is RequestStatus.COMPLETE and app_status == 0:
            out += record(RecordType.STDOUT, request_id)
        del self._requests[request_id]
        self._last |= not request.keep_conn
        self.expects_late_input |= request.state in {State.PARAMS, State.STDIN}
        return out + record(RecordType.END_REQUEST, request_id, END_BODY.pack(app_status, status))

    def cut(self, request_id: int) -> bytes:
        """End a request whose answer broke off, with bytes after which the connection must be closed.

        nginx looks at no application status, and without fastcgi_keep_conn it takes the end of the connection for
        the end of the answer. A record that only a web server may send is an error to all of them (tried with
        nginx 1.22 and Apache 2.4), so the client's connection is broken off too.
        """
        self._living(request_id)
        del self._requests[request_id]
        self._last = True
        return record(RecordType.ABORT_REQUEST, request_id)

    def values(self, known: dict[bytes, bytes]) -> bytes:
        """Answer `GetValues`."""
        return record(RecordType.GET_VALUES_RESULT, 0, encode_pairs(known.items()))

    def unknown_type(self, kind: int) -> bytes:
        """Answer `UnknownType`."""
        return record(RecordType.UNKNOWN_TYPE, 0, bytes((kind, 0, 0, 0, 0, 0, 0, 0)))

    def _living(self, request_id: int) -> _Request:
        request = self._requests.get(request_id)
        if request is None:
            raise ProtocolError(f"nothing can be written to request {request_id}: {State.IDLE.value}")
        return request


def _stream(kind: int, request_id: int, data: bytes) -> bytes:
    # An empty record would end the stream, so no data gives no record.
    return b"".join(record(kind, request_id, data[at : at + STEP]) for at in range(0, len(data), STEP))
