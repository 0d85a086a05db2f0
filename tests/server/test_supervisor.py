"""What the main process does for a worker before it serves."""

import errno
import os
from types import SimpleNamespace
from unittest.mock import Mock

import pytest

from carboy.server import supervisor
from carboy.server.options import Options
from carboy.server.supervisor import Supervisor


@pytest.mark.parametrize(("refusal", "told"), [(errno.EPERM, 1), (errno.EINVAL, 1), (errno.ESRCH, 0)])
def test_worker_that_cannot_be_pinned_serves_all_the_same(monkeypatch, caplog, refusal, told):
    """A sandbox may forbid it, the cpuset may change, the worker may have died: the main process goes on."""

    def pin(pid, number):
        raise OSError(refusal, os.strerror(refusal))

    monkeypatch.setattr(supervisor, "pin", pin)
    sent = []
    link = Mock(pid=5, listens=(), send_off=lambda *what: sent.append(what))
    main = SimpleNamespace(
        services=SimpleNamespace(provide=lambda listens: {}),
        workers={link: SimpleNamespace(slot=0)},
        options=Options(pin=True),
        listener=SimpleNamespace(socket="the socket"),
    )

    with caplog.at_level("WARNING", logger=supervisor.log.name):
        Supervisor.equip(main, link)

    assert sent == [("the socket", main.options, {})]
    assert [record.getMessage() for record in caplog.records] == [f"worker 5 has no processor of its own: {os.strerror(refusal)}"] * told
