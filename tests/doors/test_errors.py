"""Who answers when something is raised, and with what."""

from __future__ import annotations

import pytest
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import (
    Forbidden,
    HTTPException,
    InternalServerError,
    NotFound,
    TooManyRequests,
    Unauthorized,
)

from carboy import Blueprint, abort, redirect, request


def test_handler_of_a_code_answers(app, client, coloured):
    """A handler for a status code answers a miss and an abort alike."""

    @app.errorhandler(404)
    @coloured
    def missing(error):
        return f"nothing here: {error.code}", 404

    @app.get("/gone")
    @coloured
    def gone():
        abort(404)

    assert client.get("/nowhere").text == "nothing here: 404"
    assert client.get("/gone").text == "nothing here: 404"


def test_status_is_what_the_handler_says(app, client, coloured):
    """A handler that names no status answers 200, whatever it handles."""
    app.register_error_handler(404, coloured(lambda error: "fine"))

    response = client.get("/nowhere")

    assert (response.status_code, response.text) == (200, "fine")


def test_nearest_class_handles(app, client, coloured):
    """Of the handlers for an error's classes, the one for the most derived class is taken."""

    class Worse(LookupError):
        pass

    class Worst(Worse):
        pass

    app.register_error_handler(Exception, coloured(lambda error: "any"))
    app.register_error_handler(Worse, coloured(lambda error: "worse"))
    app.register_error_handler(LookupError, coloured(lambda error: "lookup"))

    @app.get("/<name>")
    @coloured
    def fail(name):
        raise {"worst": Worst, "key": KeyError, "value": ValueError}[name]

    assert client.get("/worst").text == "worse"
    assert client.get("/key").text == "lookup"
    assert client.get("/value").text == "any"


def test_handler_of_a_code_wins_over_a_class(app, client, coloured):
    """For an HTTP error the handler of its code is nearer than one for HTTP errors of any kind."""
    app.register_error_handler(HTTPException, coloured(lambda error: f"some {error.code}"))
    app.register_error_handler(404, coloured(lambda error: "exactly 404"))

    @app.get("/forbidden")
    @coloured
    def forbidden():
        abort(403)

    assert client.get("/nowhere").text == "exactly 404"
    assert client.get("/forbidden").text == "some 403"


def test_handler_of_an_http_class_handles_its_code(app, client, coloured):
    """A handler registered for Forbidden is a handler for 403."""
    app.register_error_handler(Forbidden, coloured(lambda error: (error.description, 403)))

    @app.get("/")
    @coloured
    def index():
        abort(403, "not you")

    assert client.get("/").text == "not you"


def test_blueprint_handles_its_own(app, client, coloured):
    """A blueprint's handler answers for its views, the app's for all others."""
    shop = Blueprint("shop", __name__, url_prefix="/shop")
    shop.register_error_handler(KeyError, coloured(lambda error: "shop"))
    app.register_error_handler(KeyError, coloured(lambda error: "app"))

    @shop.get("/")
    @coloured
    def inside():
        raise KeyError

    @app.get("/")
    @coloured
    def outside():
        raise KeyError

    app.register_blueprint(shop)

    assert client.get("/shop/").text == "shop"
    assert client.get("/").text == "app"


def test_miss_below_a_blueprint_is_the_apps(app, client, coloured):
    """Which blueprint a missing page would belong to cannot be known: the app's handler answers."""
    shop = Blueprint("shop", __name__, url_prefix="/shop")
    shop.register_error_handler(404, coloured(lambda error: ("shop", 404)))
    app.register_error_handler(404, coloured(lambda error: ("app", 404)))

    @shop.get("/gone")
    @coloured
    def gone():
        abort(404)

    app.register_blueprint(shop)

    assert client.get("/shop/nowhere").text == "app"
    assert client.get("/shop/gone").text == "shop"


def test_blueprint_may_handle_for_the_app(app, client, coloured):
    """A blueprint's app_errorhandler answers for everyone."""
    shop = Blueprint("shop", __name__)

    @shop.app_errorhandler(404)
    @coloured
    def missing(error):
        return "shop for all", 404

    app.register_blueprint(shop)

    assert client.get("/nowhere").text == "shop for all"


def test_unhandled_error_is_500_without_internals(app, client, coloured):
    """An error that nobody handles is answered with a page that says nothing of it."""

    @app.get("/")
    @coloured
    def index():
        raise RuntimeError("the password is swordfish")

    response = client.get("/")

    assert response.status_code == 500
    assert "Internal Server Error" in response.text
    assert "swordfish" not in response.text


def test_unhandled_error_is_logged(app, client, coloured, caplog):
    """An error that nobody handles is logged once, with its traceback and the request's path."""

    @app.get("/here")
    @coloured
    def index():
        raise RuntimeError("what happened")

    client.get("/here")

    records = [record for record in caplog.records if record.name == app.logger.name]
    assert len(records) == 1
    assert "/here" in records[0].getMessage()
    assert records[0].exc_info[0] is RuntimeError


def test_handler_of_500_gets_the_original(app, client, coloured):
    """A handler for 500 gets an InternalServerError that carries the error itself."""
    seen = []

    @app.errorhandler(500)
    @coloured
    def failed(error):
        seen.append((type(error), type(getattr(error, "original_exception", None))))
        return "sorry", 500

    @app.get("/")
    @coloured
    def index():
        raise KeyError("x")

    @app.get("/abort")
    @coloured
    def aborts():
        abort(500)

    assert client.get("/").text == "sorry"
    assert client.get("/abort").text == "sorry"
    assert seen == [(InternalServerError, KeyError), (InternalServerError, type(None))]


def test_handler_of_exception_gets_http_errors_too(app, client, coloured):
    """HTTP errors are exceptions: a handler for all of them has them as well."""
    app.register_error_handler(Exception, coloured(lambda error: type(error).__name__))

    assert client.get("/nowhere").text == NotFound.__name__


def test_redirect_of_the_router_is_no_error(app, client, coloured):
    """The redirect to a rule's slash is answered, even where a handler takes every HTTP error."""
    app.register_error_handler(HTTPException, coloured(lambda error: "handled"))

    @app.get("/posts/")
    @coloured
    def posts():
        return "posts"

    assert client.get("/posts").status_code == 308


def test_error_in_a_handler_is_500(app, client, coloured):
    """A handler that fails is not asked again for its own error."""

    @app.errorhandler(KeyError)
    @coloured
    def fails(error):
        raise ValueError("worse")

    @app.get("/")
    @coloured
    def index():
        raise KeyError

    assert client.get("/").status_code == 500


def test_abort_may_carry_a_response(app, client, coloured):
    """abort() with a response in place of a code sends that response."""

    @app.get("/")
    @coloured
    def index():
        abort(redirect("/elsewhere", 303))

    response = client.get("/")

    assert (response.status_code, response.location) == (303, "/elsewhere")


def test_abort_has_a_page_with_its_description(app, client, coloured):
    """The page of an HTTP error shows its name and description, escaped."""

    @app.get("/")
    @coloured
    def index():
        abort(403, "no <b>entry</b>")

    response = client.get("/")

    assert response.status_code == 403
    assert "Forbidden" in response.text
    assert "&lt;b&gt;entry" in response.text


def test_http_error_keeps_its_headers(app, client, coloured):
    """What an HTTP error has to say in headers is sent."""
    @app.get("/busy")
    @coloured
    def busy():
        raise TooManyRequests(retry_after=30)

    @app.get("/who")
    @coloured
    def who():
        raise Unauthorized(www_authenticate=WWWAuthenticate("basic", {"realm": "board"}))

    assert client.get("/busy").headers["Retry-After"] == "30"
    assert client.get("/who").headers["WWW-Authenticate"].startswith("Basic realm=")


def test_error_comes_out_in_tests(app, client, coloured):
    """With TESTING, an error that nobody handles is raised in the test, on every door."""
    app.config.update(TESTING=True, PROPAGATE_EXCEPTIONS=None)

    @app.get("/")
    @coloured
    def index():
        raise ZeroDivisionError("in the view")

    with pytest.raises(ZeroDivisionError, match="in the view"):
        client.get("/")


def test_missing_form_key_is_a_bad_request(app, client, coloured):
    """Asking for a key that the client did not send is the client's error."""
    @app.post("/")
    @coloured
    def index():
        return request.form["name"]

    assert client.post("/", data={"other": "1"}).status_code == 400
    assert client.post("/", data={"name": "x"}).text == "x"


def test_view_that_returns_nothing_is_an_error(app, client, coloured, caplog):
    """A view without a return value is told so by name, in the log."""

    @app.get("/")
    @coloured
    def forgetful():
        pass

    assert client.get("/").status_code == 500
    assert "forgetful" in str(caplog.records[0].exc_info[1])
