"""A stretch of a file as an answer's body."""

from __future__ import annotations

import gc
import io
import os
from pathlib import Path
from wsgiref.util import FileWrapper

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.wrappers import Response

from carboy.wire.files import CHUNK_SIZE, FileChanged, FilePayload

CONTENT = bytes(range(256)) * 1024


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    found = tmp_path_factory.mktemp("files") / "whole.bin"
    found.write_bytes(CONTENT)
    return found


@given(st.data())
def test_a_payload_is_its_stretch_of_the_file(path, data):
    """Iterated, read at once, or read in pieces: the same bytes."""
    offset = data.draw(st.integers(0, len(CONTENT)))
    length = data.draw(st.integers(0, len(CONTENT) - offset))
    expected = CONTENT[offset : offset + length]

    assert b"".join(FilePayload(path, offset, length)) == expected
    with FilePayload(path, offset, length) as payload:
        assert payload.read() == expected
    wrapper = FileWrapper(FilePayload(path, offset, length), 10_000)
    assert b"".join(wrapper) == expected
    wrapper.close()


def test_nothing_is_opened_before_the_first_read(path):
    """A server that sends the file itself costs no descriptor here."""
    payload = FilePayload(path.with_name("missing"), 0, 10)

    payload.close()
    with pytest.raises(FileNotFoundError):
        FilePayload(path.with_name("missing"), 0, 10).open()


def test_close_closes_a_file_half_read(path):
    """The file does not outlive its payload, read to the end or not, and close may be repeated."""
    half, whole = FilePayload(path, 0, len(CONTENT)), FilePayload(path, 0, len(CONTENT))
    file = half.open()
    next(half)
    end = whole.open()
    for _ in range(-(-len(CONTENT) // CHUNK_SIZE)):
        next(whole)  # closed with its last byte, not by asking for one more

    half.close()
    half.close()

    assert file.closed
    assert end.closed
    assert half.read() == b""


def test_a_payload_that_is_dropped_closes_its_file(path):
    """Who looks at the headers alone leaves nothing open, and no warning."""
    payload = FilePayload(path, 0, len(CONTENT))
    file = payload.open()

    del payload
    gc.collect()

    assert file.closed


def test_the_descriptor_stands_at_the_offset(path):
    """A server that calls sendfile starts where the stretch does."""
    with FilePayload(path, 1000, 10) as payload:
        assert os.lseek(payload.fileno(), 0, os.SEEK_CUR) == 1000


def test_a_file_that_shrinks_is_not_passed_for_whole(tmp_path):
    """Too few bytes are an error, so that the gateway cuts the answer off visibly."""
    path = tmp_path / "log"
    path.write_bytes(b"a" * (CHUNK_SIZE + 10))
    payload = FilePayload(path, 0, CHUNK_SIZE + 10)
    next(payload)
    os.truncate(path, CHUNK_SIZE)

    with pytest.raises(FileChanged, match="10 bytes are missing"):
        next(payload)


def test_a_file_that_grows_is_cut_at_its_length(tmp_path):
    """No byte beyond what the headers have promised."""
    path = tmp_path / "log"
    path.write_bytes(b"abc")
    payload = FilePayload(path, 0, 3)
    path.write_bytes(b"abcdef")

    assert not payload.is_whole_file
    assert b"".join(payload) == b"abc"


def test_whole_files_are_told_from_parts(path):
    """A server that can send only whole files asks this first."""
    assert FilePayload(path, 0, len(CONTENT)).is_whole_file
    assert not FilePayload(path, 1, len(CONTENT) - 1).is_whole_file
    assert not FilePayload(path, 0, 10).is_whole_file


def test_a_response_reads_and_closes_its_payload(path):
    """Werkzeug's Response takes a payload like any iterable."""
    payload = FilePayload(path, 0, 300)
    response = Response(payload, direct_passthrough=True)
    file = payload.open()

    response.direct_passthrough = False
    assert response.data == CONTENT[:300]
    response.close()

    assert file.closed
    assert io.BytesIO(response.data).read() == CONTENT[:300]
