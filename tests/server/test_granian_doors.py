"""The private names of granian that the doors stand on, held for the version that is pinned.

When this fails after an upgrade, read granian's `server/mp.py` again: what a worker is built from may have moved.
"""

import inspect
import os
import socket

import granian
import pytest
from granian._futures import _new_cbscheduler
from granian._granian import SocketHolder, WorkerSignal
from granian.http import HTTP1Settings, HTTP2Settings
from granian.wsgi import _callback_wrapper

from carboy.server.gate import Gate
from carboy.server.granian_doors import HTTPServer, connections
from carboy.server.options import Options


def test_version_is_one_that_was_read():
    """Another minor version must be read before it is trusted."""
    assert granian.__version__.startswith("2.8."), granian.__version__


def test_socket_holder_keeps_the_descriptor_it_is_given():
    """The gate works because granian polls exactly this number, not a copy."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        assert SocketHolder(listening.fileno(), False, 128).get_fd() == listening.fileno()


def test_names_and_signatures():
    """What is called, with what."""
    assert list(inspect.signature(_new_cbscheduler).parameters) == ["loop", "cb", "impl_asyncio"]
    assert list(inspect.signature(_callback_wrapper).parameters) == ["callback", "scope_opts", "access_log_fmt"]
    assert {"header_read_timeout", "keep_alive", "max_buffer_size", "pipeline_flush"} == set(HTTP1Settings.__dataclass_fields__)
    assert "max_headers_size" in HTTP2Settings.__dataclass_fields__
    assert {"set", "add_cb"} <= set(dir(WorkerSignal))


@pytest.mark.parametrize("door", ["asgi", "rsgi", "wsgi"])
@pytest.mark.parametrize("http", ["1", "2", "auto"])
def test_worker_can_be_built(door, http):
    """The positional arguments still fit, for each door and HTTP mode."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        gate = Gate(listening)

        server = HTTPServer(door, gate, Options(http=http), 1)

        assert callable(server.serve)
        gate.dispose()
        os.close(gate.fd)


def test_connections_leave_descriptors_for_the_application(monkeypatch):
    """A tenth of the limit, at least 32, is never given to connections."""
    options = Options(backpressure=4096)
    for limit, most in ((20_000, 4096), (1024, 922), (128, 96), (16, 1)):
        monkeypatch.setattr("carboy.server.granian_doors.descriptor_limit", lambda limit=limit: limit)
        assert connections(options) == most
