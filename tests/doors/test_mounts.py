"""Other applications under a prefix or a host of this one."""

from __future__ import annotations

import pytest
from werkzeug.wrappers import Request as PlainRequest
from werkzeug.wrappers import Response as PlainResponse

from carboy import Carboy, request, url_for


@PlainRequest.application
def old(request):
    """A WSGI application which says what it was asked."""
    return PlainResponse(f"{request.method} {request.script_root} {request.path} {request.get_data(as_text=True)}", 203)


async def new(scope, receive, send):
    """An ASGI application which says what it was asked."""
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    root = scope.get("root_path", "")
    path = scope["path"].removeprefix(root)
    text = f"{scope['method']} {root} {path} ".encode() + body
    await send({"type": "http.response.start", "status": 203, "headers": [(b"content-type", b"text/plain")]})
    for piece in (text[:3], text[3:]):
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


@pytest.mark.parametrize("target", [old, new], ids=["wsgi", "asgi"])
def test_application_is_mounted(app, client, coloured, target):
    """An application of either protocol answers below its prefix, on every door; the rest is the app's."""
    app.mount("/sub", target)
    app.add_url_rule("/subway", view_func=coloured(lambda: "the app's"), endpoint="subway")

    response = client.post("/sub/deep/path?x=1", data=b"body")

    assert (response.status_code, response.text) == (203, "POST /sub /deep/path body")
    assert client.get("/subway").text == "the app's"
    assert client.get("/nowhere").status_code == 404


def test_longest_prefix_wins(app, client, coloured):
    """Of two mounts the nearer one answers."""
    app.mount("/a", old)
    app.mount("/a/b", new)

    assert client.get("/a/x").text == "GET /a /x "
    assert client.get("/a/b/x").text == "GET /a/b /x "


def test_mounted_app_builds_its_own_urls(app, client, coloured, root):
    """An app of the same kind below a prefix knows its place, has its own errors and sessions, and its own context."""
    inner = Carboy("inner", root_path=str(root))
    inner.register_error_handler(404, coloured(lambda error: ("inner 404", 404)))
    app.register_error_handler(404, coloured(lambda error: ("outer 404", 404)))

    @inner.get("/here")
    @coloured
    def here():
        return f"{request.script_root} {request.path} {url_for('here')}"

    app.mount("/inner", inner)

    assert client.get("/inner/here").text == "/inner /here /inner/here"
    assert client.get("/inner/nowhere").text == "inner 404"
    assert client.get("/nowhere").text == "outer 404"


def test_mount_may_belong_to_a_host(app, client, coloured):
    """A mount for a host answers there alone."""
    app.mount("", old, host="old.example")
    app.add_url_rule("/", view_func=coloured(lambda: "the app's"), endpoint="index")

    assert client.get("/", base_url="http://old.example").text == "GET  / "
    assert client.get("/", base_url="http://new.example").text == "the app's"


def test_hooks_of_the_app_are_not_for_its_mounts(app, client, coloured):
    """What is mounted is a guest: hooks of the app do not run for it."""
    seen = []
    app.before_request(coloured(lambda: seen.append("hook")))
    app.mount("/sub", old)

    client.get("/sub/")

    assert seen == []


def test_head_of_a_mount_has_no_body(app, client, coloured):
    """A mounted application's answer to HEAD has no body."""
    app.mount("/sub", old)

    assert client.head("/sub/").data == b""
