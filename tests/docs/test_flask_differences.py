"""`docs/flask-differences.md` says what is otherwise than in Flask; here is that it is so, on every door where doors matter."""

from __future__ import annotations

import io
import logging
import sys
from functools import wraps
from typing import Any

import pytest
from itsdangerous import URLSafeTimedSerializer

import carboy
from carboy import Carboy, request, session
from carboy.alias.flask.ctx import AppContext, RequestContext
from carboy.alias.flask.globals import app_ctx, request_ctx
from carboy.standard.views import MethodView


def test_a_long_body_is_refused_before_the_view(make_client: Any, app: Carboy, door: str) -> None:
    """413 at 16 MiB without any setting; the view is not called, what stands after it is, unless the door itself answers."""
    called: list[str] = []

    @app.post("/")
    def view() -> str:
        called.append("view")
        return ""

    @app.after_request
    def after(response: Any) -> Any:
        called.append("after")
        return response

    answer = make_client(app).post("/", data=b"x" * (16 * 1024 * 1024 + 1))

    assert (answer.status_code, called) == (413, [] if door in {"cgi", "fastcgi"} else ["after"])


@pytest.mark.parametrize(
    ("path", "options"),
    [
        ("/query?a=%ff", {}),
        ("/query?a=%zz", {}),
        ("/form", {"method": "POST", "data": b"a=%ff", "content_type": "application/x-www-form-urlencoded"}),
        ("/form", {"method": "POST", "data": b"--b\r\nContent-Disposition: form-data; name=a\r\n\r\nx", "content_type": "multipart/form-data; boundary=b"}),
    ],
)
def test_broken_data_is_refused(make_client: Any, app: Carboy, path: str, options: dict[str, Any]) -> None:
    """A view that asks for it gets none: the answer is 400."""
    app.get("/query")(lambda: request.args.to_dict())
    app.add_url_rule("/form", "form", lambda: request.form.to_dict(), methods=["POST"])

    assert make_client(app).open(path, **options).status_code == 400


@pytest.mark.parametrize("variables", [{"PATH_INFO": "/p/\xff"}, {"PATH_INFO": "/cookies", "HTTP_COOKIE": "a=\xff"}])
def test_a_path_or_cookie_that_is_no_text_is_refused(app: Carboy, variables: dict[str, str]) -> None:
    """As a WSGI server hands it over; the test client would mend it."""
    app.get("/p/<value>")(lambda value: value)
    app.get("/cookies", endpoint="cookies")(lambda: request.cookies.to_dict())
    environ = {
        "REQUEST_METHOD": "GET", "SERVER_NAME": "x", "SERVER_PORT": "80", "wsgi.url_scheme": "http", "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr, "wsgi.version": (1, 0), **variables,
    }  # fmt: skip
    said: list[str] = []

    b"".join(app(environ, lambda status, headers, exc_info=None: said.append(status)))

    assert said == ["400 BAD REQUEST"]


def test_a_session_that_cannot_be_read_is_new(app: Carboy, caplog: pytest.LogCaptureFixture) -> None:
    """Signed by the key, and no session: the visitor begins anew, and the log says so."""
    app.get("/")(lambda: dict(session))
    serializer: URLSafeTimedSerializer = app.session_interface.get_signing_serializer(app)  # type: ignore[attr-defined]
    client = app.test_client()
    client.set_cookie("session", serializer.dumps([1, 2]))

    with caplog.at_level(logging.WARNING):
        answer = client.get("/")

    assert (answer.status_code, answer.json) == (200, {})
    assert "cannot be read" in caplog.text


def test_a_session_without_a_key_cannot_be_added_to() -> None:
    """`|=` is a write like any other."""
    app = Carboy("keyless")

    with app.test_request_context() as ctx, pytest.raises(RuntimeError, match="secret key"):
        ctx.session |= {"a": 1}


def test_a_request_has_one_context(app: Carboy) -> None:
    """One object in both variables, and an instance of both of Flask's classes; below one pushed by hand, two."""
    with app.test_request_context():
        ctx = request_ctx._get_current_object()
        assert app_ctx._get_current_object() is ctx
        assert isinstance(ctx, RequestContext) and isinstance(ctx, AppContext)
    with app.app_context() as outer, app.test_request_context():
        assert app_ctx._get_current_object() is outer


def test_a_stream_with_context_ends_before_its_teardown(make_client: Any, app: Carboy) -> None:
    """Once, when the last piece has gone out."""
    order: list[str] = []
    app.teardown_request(lambda error: order.append("teardown"))

    @app.get("/")
    def view() -> Any:
        @carboy.stream_with_context
        def pieces() -> Any:
            order.append("first")
            yield "a"
            order.append("last")
            yield "b"

        return app.response_class(pieces())

    answer = make_client(app).get("/")

    assert (answer.text, order) == ("ab", ["first", "last", "teardown"])


def test_each_teardown_is_called(app: Carboy) -> None:
    """Also after one that fails; what they raise is raised together."""
    called: list[str] = []
    app.testing = True
    app.get("/")(lambda: "")

    def failing(name: str) -> Any:
        def teardown(error: Any) -> None:
            called.append(name)
            raise ValueError(name)

        return teardown

    app.teardown_request(failing("a"))
    app.teardown_request(failing("b"))
    app.config["PROPAGATE_EXCEPTIONS"] = True

    with pytest.raises(ExceptionGroup) as raised:
        app.test_client().get("/")

    assert called == ["b", "a"]
    assert [str(error) for error in raised.value.exceptions] == ["b", "a"]


def test_what_flask_cannot_answer_is_answered(make_client: Any, app: Carboy) -> None:
    """An async iterator, a class that is routed, an async view behind a decorator for def views."""

    def decorated(view: Any) -> Any:
        @wraps(view)
        def wrapper(*args: Any) -> Any:
            return view(*args)

        return wrapper

    @app.get("/stream")
    def stream() -> Any:
        async def pieces() -> Any:
            yield "a"
            yield "b"

        return app.response_class(pieces())

    @app.get("/behind")
    @decorated
    async def behind() -> str:
        return "awaited"

    @app.route("/class")
    class Page(MethodView):
        def get(self) -> str:
            return "page"

    client = make_client(app)
    assert [client.get(path).text for path in ("/stream", "/behind", "/class")] == ["ab", "awaited", "page"]


def test_mistakes_are_flasks_exceptions_and_say_more(app: Carboy) -> None:
    """Code that catches AssertionError, LookupError or ValueError goes on to work."""
    app.add_url_rule("/", "index", lambda: "")

    with pytest.raises(AssertionError, match=r"test_flask_differences.py:\d+, then at .*test_flask_differences.py:\d+"):
        app.add_url_rule("/other", "index", lambda: "")
    with pytest.raises(LookupError, match="Known converters: any"):
        app.add_url_rule("/<nothing:x>", "x", lambda x: x)
    app.test_client().get("/")
    with pytest.raises(AssertionError, match=r"called at .*test_flask_differences.py:\d+"):
        app.get("/late")
