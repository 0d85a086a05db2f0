"""Finding what to serve: Carboy applications and any other ASGI or WSGI callable."""

import asyncio
import sys

import pytest

from carboy.server.apps import asgi_callable, is_asgi, load, must_fit
from carboy.server.errors import WorkerFailed


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Write a module of the test's own; gives its target name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    names = []

    def write(text):
        name = f"served_{tmp_path.name.replace('-', '_')}_{len(names)}"
        names.append(name)
        (tmp_path / f"{name}.py").write_text(text)
        return name

    yield write
    for name in names:
        sys.modules.pop(name, None)


ASGI = "async def app(scope, receive, send): pass\n"
WSGI = "def app(environ, start_response): return []\n"


@pytest.mark.parametrize("spelling", ["{}:app", "{}", "{}.py:app", "{}.py"])
def test_plain_asgi_callable_is_served(module, spelling):
    """By name or by its usual name, as a module or a file."""
    target = spelling.format(module(ASGI))

    served = load(target)

    must_fit(served, "asgi")
    assert served.name == target


def test_wrong_door_is_named_with_the_right_one(module):
    """The error says which --interface fits."""
    with pytest.raises(WorkerFailed, match="ASGI callable; serve it with --interface asgi"):
        must_fit(load(module(ASGI) + ":app"), "wsgi")
    with pytest.raises(WorkerFailed, match="no __rsgi__; serve it with --interface wsgi"):
        must_fit(load(module(WSGI) + ":app"), "rsgi")


def test_wsgi_callable_is_bridged_to_the_default_door(module):
    """`application = ProxyFix(app)` is served as it is: a thread a request, behind ASGI."""
    served = load(module("def app(environ, start_response):\n    start_response('200 OK', [])\n    return [b'bridged']\n") + ":app")
    sent = []

    async def receive():
        return {"type": "http.request", "body": b""}

    async def send(event):
        sent.append(event)

    must_fit(served, "asgi")
    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": [], "http_version": "1.1"}
    asyncio.run(asgi_callable(served)(scope, receive, send))

    assert sent[0]["status"] == 200
    assert b"".join(event.get("body", b"") for event in sent) == b"bridged"


@pytest.mark.parametrize("line", ["raise SystemExit(3)", "raise KeyboardInterrupt", "1 / 0", "import no_such_thing", "def (:"])
def test_whatever_a_module_does_is_a_broken_release(module, line):
    """No way of failing gets past the worker's report."""
    with pytest.raises(WorkerFailed) as caught:
        load(module(f"{line}\n") + ":app")

    assert "served_" in str(caught.value)


def test_traceback_begins_in_the_application(module):
    """The loader's own frames are of no interest to an operator."""
    with pytest.raises(WorkerFailed) as caught:
        load(module("def f():\n    raise ValueError('here')\nf()\n"))

    assert "importlib" not in str(caught.value)
    assert "ValueError: here" in str(caught.value)
    assert "line 2, in f" in str(caught.value)


def test_missing_module_is_explained():
    """The finder's own words reach the operator."""
    with pytest.raises(WorkerFailed, match="no_such_module_at_all"):
        load("no_such_module_at_all:app")


def test_colours_of_callables():
    """Three positional parameters, or a coroutine function, are ASGI."""

    class Callable3:
        async def __call__(self, scope, receive, send): ...

    class Callable2:
        def __call__(self, environ, start_response): ...

    assert is_asgi(Callable3())
    assert is_asgi(lambda scope, receive, send: None)
    assert not is_asgi(Callable2())
    assert not is_asgi(lambda environ, start_response: None)
