"""Facts about FastCGI on the wire: records, pairs, states."""

import itertools
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carboy.wire.fastcgi import (
    HEADER,
    TABLE,
    Abort,
    BeginRequest,
    Connection,
    Event,
    GetValues,
    Heard,
    Params,
    ProtocolError,
    RecordType,
    RequestStatus,
    Role,
    State,
    StdinChunk,
    StdinEnd,
    UnknownType,
    decode_pairs,
    encode_pairs,
    record,
)


def begin(request_id: int = 1, role: int = Role.RESPONDER, flags: int = 1) -> bytes:
    return record(RecordType.BEGIN_REQUEST, request_id, struct.pack("!HB5x", role, flags))


def params(request_id: int = 1, pairs: tuple[tuple[bytes, bytes], ...] = ((b"A", b"b"),)) -> bytes:
    return record(RecordType.PARAMS, request_id, encode_pairs(pairs)) + record(RecordType.PARAMS, request_id)


def stdin(request_id: int = 1, data: bytes = b"body") -> bytes:
    return record(RecordType.STDIN, request_id, data)


def hear(wire: Connection, data: bytes) -> list[Event]:
    wire.feed(data)
    return list(wire.events())


def records(data: bytes) -> list[tuple[int, int, bytes]]:
    """Read records as a web server does, with nothing left over."""
    found = []
    while data:
        version, kind, request_id, size, padding = HEADER.unpack_from(data)
        assert version == 1
        assert len(data) >= 8 + size + padding
        found.append((kind, request_id, data[8 : 8 + size]))
        data = data[8 + size + padding :]
    return found


# ── requests ──────────────────────────────────────────────────────────────────────


def test_a_request_is_begin_params_stdin():
    """One whole request gives its events in order."""
    wire = Connection()

    events = hear(wire, begin() + params() + stdin(data=b"one") + stdin(data=b"two") + stdin(data=b""))

    assert events == [
        BeginRequest(1, Role.RESPONDER, keep_conn=True),
        Params(1, ((b"A", b"b"),)),
        StdinChunk(1, b"one"),
        StdinChunk(1, b"two"),
        StdinEnd(1),
    ]
    assert wire.state(1) is State.ANSWER


def test_requests_on_one_connection_are_kept_apart():
    """Records of two requests may come in any order between each other."""
    wire = Connection()

    events = hear(
        wire,
        begin(1) + begin(258) + params(258, ((b"N", b"2"),)) + params(1) + stdin(1, b"") + stdin(258, b"x"),
    )

    assert [event.request_id for event in events] == [1, 258, 258, 1, 1, 258]
    assert wire.active == (1, 258)
    assert (wire.state(1), wire.state(258)) == (State.ANSWER, State.STDIN)


def test_params_may_be_cut_anywhere():
    """A pair may begin in one record and end in the next."""
    data = encode_pairs([(b"NAME", b"v" * 300)])

    events = hear(
        Connection(),
        begin()
        + b"".join(record(RecordType.PARAMS, 1, data[at : at + 7]) for at in range(0, len(data), 7))
        + record(RecordType.PARAMS, 1),
    )

    assert events[1:] == [Params(1, ((b"NAME", b"v" * 300),))]


@pytest.mark.parametrize("said", [begin(), begin() + params(), begin() + params() + stdin(data=b"")])
def test_abort_is_heard_once_in_every_state(said):
    """After an abort, late input and a second abort give no event, until the request is ended."""
    wire = Connection()
    hear(wire, said)
    abort = record(RecordType.ABORT_REQUEST, 1)

    events = hear(wire, abort + abort + stdin() + params())

    assert events == [Abort(1)]
    assert wire.state(1) is State.ABORTED
    wire.end(1)
    assert wire.state(1) is State.IDLE


def test_records_for_an_ended_request_are_ignored():
    """A request answered early (413) still sends the rest of its body; and its id may be used again."""
    wire = Connection()
    hear(wire, begin() + params())
    wire.end(1)

    assert hear(wire, stdin() + stdin(data=b"") + record(RecordType.ABORT_REQUEST, 7)) == []
    assert len(hear(wire, begin() + params())) == 2


def test_management_records_are_events():
    """GET_VALUES and types not known are asked for with the id 0."""
    wire = Connection()
    asked = encode_pairs([(b"FCGI_MAX_CONNS", b""), (b"OTHER", b"")])

    events = hear(wire, record(RecordType.GET_VALUES, 0, asked) + record(77, 0, b"?"))

    assert events == [GetValues((b"FCGI_MAX_CONNS", b"OTHER")), UnknownType(77)]
    assert records(wire.values({b"FCGI_MAX_CONNS": b"10"}) + wire.unknown_type(77)) == [
        (RecordType.GET_VALUES_RESULT, 0, b"\x0e\x02FCGI_MAX_CONNS10"),
        (RecordType.UNKNOWN_TYPE, 0, b"\x4d" + bytes(7)),
    ]


@pytest.mark.parametrize("flags", [0, 1, 0xFE, 0xFF])
def test_only_the_lowest_flag_keeps_the_connection(flags):
    """Without FCGI_KEEP_CONN the connection is done when its last request ends; with it, never."""
    wire = Connection()
    hear(wire, begin(flags=flags) + begin(2))
    wire.end(1)
    still_running = wire.is_done
    wire.end(2)

    assert not still_running
    assert wire.is_done is not bool(flags & 1)


# ── faults ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"\x02" + begin()[1:], "version 2"),
        (b"GET / HTTP/1.1\r\n", "version 71"),
        (record(RecordType.BEGIN_REQUEST, 1, b"short"), "8 bytes, not 5"),
        (record(RecordType.BEGIN_REQUEST, 1), "8 bytes, not 0"),
        (begin(0), "id 0"),
        (record(RecordType.STDIN, 0, b"x"), "id 0"),
        (record(RecordType.GET_VALUES, 1), "type 9"),
        (record(RecordType.STDOUT, 1, b"x"), "type 6"),
        (record(99, 1), "type 99"),
        (begin() + begin(), "begin request"),
        (begin() + stdin(), "'stdin' for request 1, when parameters are arriving"),
        (begin() + params() + params(), "when the body is arriving"),
        (begin() + params() + stdin(data=b"") + stdin(), "all input is here"),
        (begin() + params() + record(RecordType.DATA, 1, b"x"), "'data'"),
        (begin() + record(RecordType.PARAMS, 1, b"\x05\x05A") + record(RecordType.PARAMS, 1), "9 bytes longer"),
        (begin() + record(RecordType.PARAMS, 1, b"\x80\x00") + record(RecordType.PARAMS, 1), "inside a length"),
        (begin() + record(RecordType.PARAMS, 1, b"\x01") + record(RecordType.PARAMS, 1), "inside a length"),
        (record(RecordType.GET_VALUES, 0, b"\xff\xff\xff\xff\x00"), "longer"),
    ],
)
def test_malformed_input_is_a_protocol_error(data, text):
    """Every fault has one kind of error, which says what was wrong; and the connection stays broken."""
    wire = Connection()

    with pytest.raises(ProtocolError, match=text):
        hear(wire, data)

    with pytest.raises(ProtocolError, match=text):
        hear(wire, begin(9))


def test_events_before_a_fault_are_given():
    """What was right before the fault is not lost with it."""
    wire = Connection()
    wire.feed(begin() + params() + b"garbage!")
    events = wire.events()

    assert len([next(events), next(events)]) == 2
    with pytest.raises(ProtocolError):
        next(events)


def test_params_have_a_limit():
    """One request cannot fill the memory with parameters; the limit itself is allowed."""
    pairs = encode_pairs([(b"A", b"b" * 97)])
    wire = Connection(max_params=100)

    assert hear(wire, begin() + record(RecordType.PARAMS, 1, pairs)) == [BeginRequest(1, 1, True)]
    with pytest.raises(ProtocolError, match="more than 100 bytes"):
        hear(wire, record(RecordType.PARAMS, 1, b"x"))


def test_every_state_says_what_may_be_heard():
    """The table is whole: each state has a row, and each target is a state."""
    assert set(TABLE) == set(State)
    assert {state for row in TABLE.values() for state in row.values()} == set(State)
    assert set(TABLE[State.IDLE]) == set(Heard)


# ── output ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("size", [0, 1, 7, 8, 65_528, 65_529, 65_535, 65_536, 200_000])
def test_output_of_any_size_fits_records(size):
    """Output becomes records of at most 65,535 bytes, each a multiple of eight with its padding."""
    wire = Connection()
    hear(wire, begin())
    data = bytes(range(256)) * (size // 256 + 1)

    out = wire.stdout(1, data[:size])

    assert len(out) % 8 == 0
    assert b"".join(content for _, _, content in records(out)) == data[:size]
    assert all(kind == RecordType.STDOUT and content for kind, _, content in records(out))


def test_a_complete_answer_ends_its_streams():
    """Both streams are ended where both were used, then the request."""
    wire = Connection()
    hear(wire, begin())

    out = wire.stderr(1, b"oops") + wire.stdout(1, b"hi") + wire.end(1)

    assert records(out) == [
        (RecordType.STDERR, 1, b"oops"),
        (RecordType.STDOUT, 1, b"hi"),
        (RecordType.STDERR, 1, b""),
        (RecordType.STDOUT, 1, b""),
        (RecordType.END_REQUEST, 1, bytes(8)),
    ]


def test_a_cut_answer_does_not_end_its_stdout():
    """Neither the status nor the stream of a cut answer looks like that of a whole one."""
    wire = Connection()
    hear(wire, begin() + begin(2))

    assert records(wire.end(1, 1)) == [(RecordType.END_REQUEST, 1, b"\0\0\0\1\0\0\0\0")]
    assert records(wire.end(2, status=RequestStatus.UNKNOWN_ROLE)) == [(RecordType.END_REQUEST, 2, b"\0\0\0\0\3\0\0\0")]


def test_a_broken_off_answer_ends_with_a_record_no_responder_sends():
    """What follows such an answer is no end, and the connection is to be closed though it was to be kept."""
    wire = Connection()
    hear(wire, begin())

    assert records(wire.cut(1)) == [(RecordType.ABORT_REQUEST, 1, b"")]
    assert wire.is_done


def test_nothing_can_be_written_to_a_request_that_is_not():
    """A driver that writes after the end hears of it."""
    wire = Connection()

    for write in (lambda: wire.stdout(1, b"x"), lambda: wire.stderr(1, b"x"), lambda: wire.end(1), lambda: wire.cut(1)):
        with pytest.raises(ProtocolError, match="request 1"):
            write()


def test_a_record_has_a_largest_size():
    """A record that cannot be written is refused with the remedy."""
    assert len(record(RecordType.STDIN, 1, bytes(65_535))) == 8 + 65_536
    with pytest.raises(ValueError, match="65,535|65535"):
        record(RecordType.STDIN, 1, bytes(65_536))


# ── whatever comes ────────────────────────────────────────────────────────────────

PAIRS = st.lists(st.tuples(st.binary(max_size=200), st.binary(max_size=200)), max_size=10)
IDS = st.integers(1, 3)
SAYINGS = st.one_of(
    st.builds(begin, st.integers(0, 3), st.integers(0, 4), st.integers(0, 255)),
    st.builds(lambda i, p: params(i, tuple(p)), IDS, PAIRS),
    st.builds(stdin, IDS, st.binary(max_size=50)),
    st.builds(record, st.integers(0, 12), st.integers(0, 3), st.binary(max_size=20)),
    st.binary(max_size=3),
)


def outcome(pieces: list[bytes]) -> tuple[list[Event], str]:
    wire, events = Connection(max_params=2_000), []
    try:
        for piece in pieces:
            wire.feed(piece)
            for event in wire.events():
                events.append(event)
                if isinstance(event, StdinEnd | Abort):
                    wire.end(event.request_id)
    except ProtocolError as exc:
        return events, str(exc)
    return events, ""


@given(st.lists(SAYINGS, max_size=12).map(b"".join), st.lists(st.integers(0, 2_000), max_size=8))
def test_how_the_bytes_are_cut_does_not_show(data, cuts):
    """The same bytes give the same events and the same fault, whole, cut at random, or byte by byte."""
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    cut = [data[a:b] for a, b in itertools.pairwise(edges)]

    whole = outcome([data])

    assert outcome(cut) == whole
    assert outcome([data[at : at + 1] for at in range(len(data))]) == whole


@given(st.lists(st.binary(max_size=100), max_size=10))
def test_garbage_raises_nothing_but_protocol_errors(pieces):
    """Bytes of any kind are either heard or refused."""
    outcome(pieces)


@given(st.binary(max_size=300))
def test_pairs_of_any_bytes_are_read_or_refused(data):
    """Reading pairs never fails otherwise, and what was read holds no more than was sent."""
    try:
        pairs = decode_pairs(data)
    except ProtocolError:
        return
    assert sum(len(name) + len(value) + 2 for name, value in pairs) <= len(data)


@given(PAIRS)
def test_pairs_make_the_round_trip(pairs):
    """What encode_pairs writes, decode_pairs reads, repeated and empty names included."""
    assert decode_pairs(encode_pairs(pairs)) == tuple(pairs)


@given(IDS, PAIRS, st.lists(st.binary(min_size=1, max_size=100), max_size=5))
def test_a_request_makes_the_round_trip(request_id, pairs, chunks):
    """What a web server sends is what the events say."""
    said = [
        begin(request_id),
        params(request_id, tuple(pairs)) if pairs else record(RecordType.PARAMS, request_id),
        *(stdin(request_id, chunk) for chunk in chunks),
        stdin(request_id, b""),
    ]

    events = hear(Connection(), b"".join(said))

    assert events == [
        BeginRequest(request_id, Role.RESPONDER, True),
        Params(request_id, tuple(pairs)),
        *(StdinChunk(request_id, chunk) for chunk in chunks),
        StdinEnd(request_id),
    ]
