"""The same application object answers identically under every server: status, headers and body of each request.

The reference is the app's WSGI callable in this process; each server is the real one, in a process of its own.
"""

from __future__ import annotations

import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # the harness is found whatever pytest's import mode
sys.path.insert(0, str(Path(__file__).parents[1] / "gateways"))

from client import Answer, Case, Connection, ask_in_process, big, cases
from nginx_server import Nginx
from processes import KINDS, running
from subject import app

pytestmark = pytest.mark.service

NGINX = "nginx + FastCGI"


@pytest.fixture(scope="module")
def questions() -> list[Case]:
    """The requests, with the tags and cookies that the app gives."""
    page = ask_in_process(app, Case("", "/static/notes.txt"))
    found = dict(page.headers)
    cookie = app.session_interface.get_signing_serializer(app).dumps({"visits": 41, "name": "jürgen"})
    return cases(cookie, found["etag"], found["last-modified"])


@pytest.fixture(scope="module")
def reference(questions: list[Case]) -> dict[str, Answer]:
    """What the app answers in this process."""
    app.logger.disabled = True  # unhandled errors are among the answers
    try:
        return {case.name: ask_in_process(app, case) for case in questions}
    finally:
        app.logger.disabled = False


@pytest.fixture(scope="module", params=[*(kind for kind in KINDS if "fastcgi" not in kind), NGINX])
def served(request):
    """A server of each kind, and the address to ask."""
    kind = request.param
    # A short path: a unix socket's may have 107 characters.
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="srv")))
        server = stack.enter_context(running("carboy run fastcgi" if kind == NGINX else kind, folder))
        address = server.address
        if kind == NGINX:
            (folder / "nginx").mkdir()
            nginx = stack.enter_context(Nginx(folder / "nginx", f"unix:{address}"))
            address = ("127.0.0.1", nginx.port)
        yield kind, address


def without_length(answer: Answer, case: Case) -> Answer:
    """The answer without its Content-Length, which must be true."""
    kept = []
    for name, value in answer.headers:
        if name == "content-length":
            assert case.method == "HEAD" or answer.status == 304 or int(value) == len(answer.body), answer
        else:
            kept.append((name, value))
    return Answer(answer.status, tuple(kept), answer.body)


def differences(case: Case, expected: Answer, answer: Answer, kind: str) -> str | None:
    """What differs, if anything; how a body's length is told is the server's matter, that it is true is ours."""
    if case.refused and answer.status < 500 and not (answer == expected):
        return None  # the server itself refuses it, or has rewritten it, before the application is asked
    a, b = without_length(expected, case), without_length(answer, case)
    return None if a == b else f"--- {case.name}: {case.method} {case.target}\nexpected {expected}\ngot {answer}"


def test_reference_is_as_told(questions, reference):
    """The reference itself answers with the status that each request is meant for."""
    assert len(questions) >= 30

    told = {case.name: case.status for case in questions if case.status is not None}
    assert {name: reference[name].status for name in told} == told


def test_every_answer_is_the_same(served, questions, reference):
    """Each request gets the answer it gets in process: status, headers and body."""
    kind, address = served
    connection = Connection(address)

    found = []
    for case in questions:
        answer = connection.ask(case)
        difference = differences(case, reference[case.name], answer, kind)
        if difference:
            found.append(difference)
    connection.close()

    assert not found, f"{len(found)} answers differ under {kind}:\n" + "\n".join(found)


@pytest.mark.parametrize("path", ["/hash", "/async/hash", "/hash/as-it-comes"])
def test_upload_of_fifty_megabytes_arrives_whole(served, path):
    """50 MB are read by a sync and by an async view, and by one that reads as they come; the hash is that of what was sent."""
    kind, address = served
    body = big()
    case = Case("upload", path, "POST", (("Content-Type", "application/octet-stream"),), body)
    expected = ask_in_process(app, case)
    connection = Connection(address)

    answer = connection.ask(case)
    connection.close()

    assert len(body) == 50 << 20
    assert differences(case, expected, answer, kind) is None
