"""What runs around a view, in which order, and what each of them may decide."""

from __future__ import annotations

import asyncio

from carboy import (
    Blueprint,
    abort,
    after_this_request,
    g,
    got_request_exception,
    request,
    request_finished,
    request_started,
    request_tearing_down,
    url_for,
)


def test_hooks_run_in_order(app, client, coloured):
    """Before hooks: app, then blueprint, as declared. After and teardown hooks: the other way round."""
    seen = []
    shop = Blueprint("shop", __name__)

    def note(word):
        @coloured
        def hook(*args):
            seen.append(word)
            return args[0] if word.startswith("after") else None

        return hook

    for number in "12":
        app.before_request(note(f"before app {number}"))
        shop.before_request(note(f"before shop {number}"))
        app.after_request(note(f"after app {number}"))
        shop.after_request(note(f"after shop {number}"))
        app.teardown_request(note(f"teardown app {number}"))
        shop.teardown_request(note(f"teardown shop {number}"))
    app.teardown_appcontext(note("teardown context"))

    @shop.get("/")
    @coloured
    def index():
        seen.append("view")
        return "ok"

    app.register_blueprint(shop)
    client.get("/")

    assert seen == [
        "before app 1",
        "before app 2",
        "before shop 1",
        "before shop 2",
        "view",
        "after shop 2",
        "after shop 1",
        "after app 2",
        "after app 1",
        "teardown shop 2",
        "teardown shop 1",
        "teardown app 2",
        "teardown app 1",
        "teardown context",
    ]


def test_before_hook_may_answer(app, client, coloured):
    """A before hook that returns a value answers: later ones and the view do not run, after hooks do."""
    seen = []

    @app.before_request
    @coloured
    def gate():
        return "closed", 403

    @app.before_request
    @coloured
    def later():
        seen.append("later")

    @app.after_request
    @coloured
    def after(response):
        response.headers["X-After"] = "yes"
        return response

    @app.get("/")
    @coloured
    def index():
        seen.append("view")
        return "ok"

    response = client.get("/")

    assert (response.status_code, response.text, response.headers["X-After"]) == (403, "closed", "yes")
    assert seen == []


def test_after_hook_may_replace_the_response(app, client, coloured):
    """What an after hook returns is the response."""

    @app.get("/")
    @coloured
    def index():
        return "first"

    @app.after_request
    @coloured
    def replace(response):
        return app.response_class(f"not {response.get_data(as_text=True)}", 201)

    response = client.get("/")

    assert (response.status_code, response.text) == (201, "not first")


def test_after_this_request_changes_this_response_only(app, client, coloured):
    """A function left by a view gets the response of its request, and no other."""

    @app.get("/<word>")
    @coloured
    def index(word):
        if word == "once":

            @after_this_request
            def mark(response):
                response.headers["X-Mark"] = "once"
                return response

        return "ok"

    assert client.get("/once").headers["X-Mark"] == "once"
    assert "X-Mark" not in client.get("/again").headers


def test_hooks_run_where_no_rule_matches(app, client, coloured):
    """A miss is a request like any other: before, after and teardown hooks run."""
    seen = []
    app.before_request(coloured(lambda: seen.append("before")))
    app.teardown_request(coloured(lambda error: seen.append("teardown")))

    @app.after_request
    @coloured
    def after(response):
        seen.append(f"after {response.status_code}")
        return response

    assert client.get("/nowhere").status_code == 404
    assert seen == ["before", "after 404", "teardown"]


def test_before_hook_may_answer_for_a_miss(app, client, coloured):
    """A before hook that answers is asked before the miss is."""
    app.before_request(coloured(lambda: "caught"))

    response = client.get("/nowhere")

    assert (response.status_code, response.text) == (200, "caught")


def test_after_hooks_run_on_an_error(app, client, coloured):
    """The answer to an unhandled error passes through the after hooks too."""

    @app.get("/")
    @coloured
    def index():
        raise ZeroDivisionError

    @app.after_request
    @coloured
    def after(response):
        response.headers["X-After"] = "yes"
        return response

    response = client.get("/")

    assert (response.status_code, response.headers["X-After"]) == (500, "yes")


def test_teardown_is_told_of_the_error(app, client, coloured):
    """A teardown hook gets the error that nobody handled, and None where one was handled."""
    seen = []

    @app.teardown_request
    @coloured
    def teardown(error):
        seen.append(type(error))

    @app.errorhandler(KeyError)
    @coloured
    def handled(error):
        return "handled"

    @app.get("/<word>")
    @coloured
    def index(word):
        raise {"value": ValueError, "key": KeyError}[word]

    client.get("/value")
    client.get("/key")

    assert seen == [ValueError, type(None)]


def test_teardown_sees_the_request(app, client, coloured):
    """In teardown the request and g are still there."""
    seen = []

    @app.teardown_request
    @coloured
    def teardown(error):
        seen.append((request.path, g.word))

    @app.get("/here")
    @coloured
    def index():
        g.word = "kept"
        return "ok"

    client.get("/here")

    assert seen == [("/here", "kept")]


def test_each_teardown_runs_once(app, client, coloured):
    """Every request ends once, whatever its answer."""
    seen = []

    @app.teardown_request
    @coloured
    def teardown(error):
        seen.append(request.path)

    @app.get("/boom")
    @coloured
    def boom():
        abort(418)

    for path in ("/boom", "/nowhere", "/boom"):
        client.get(path)

    assert seen == ["/boom", "/nowhere", "/boom"]


def test_error_in_a_before_hook_is_handled(app, client, coloured):
    """An error handler answers for a before hook as it does for a view; the view does not run."""

    @app.before_request
    @coloured
    def fail():
        raise KeyError("no")

    @app.errorhandler(KeyError)
    @coloured
    def handled(error):
        return "handled", 409

    @app.get("/")
    @coloured
    def index():
        raise AssertionError("the view must not run")

    response = client.get("/")

    assert (response.status_code, response.text) == (409, "handled")


def test_url_values_can_be_taken_and_given(app, client, coloured):
    """A preprocessor takes a value out of the URL, and url_defaults puts it into those that are built."""
    @app.url_value_preprocessor
    def take(endpoint, values):
        g.language = values.pop("language", None) if values else None

    @app.url_defaults
    def give(endpoint, values):
        if g.get("language") and app.url_map.is_endpoint_expecting(endpoint, "language"):
            values.setdefault("language", g.language)

    @app.get("/<language>/<page>")
    @coloured
    def show(page):
        return f"{g.language} {page} {url_for('show', page='next')}"

    assert client.get("/de/home").text == "de home /de/next"


def test_blueprint_may_hook_into_the_whole_app(app, client, coloured):
    """A blueprint's app-wide hooks run for the views of others."""
    shop = Blueprint("shop", __name__)
    seen = []
    shop.before_app_request(coloured(lambda: seen.append("before")))
    shop.teardown_app_request(coloured(lambda error: seen.append("teardown")))
    shop.before_request(coloured(lambda: seen.append("not for others")))

    @shop.after_app_request
    @coloured
    def after(response):
        seen.append("after")
        return response

    app.register_blueprint(shop)

    @app.get("/")
    @coloured
    def index():
        return "ok"

    client.get("/")

    assert seen == ["before", "after", "teardown"]


def test_hooks_of_both_colours_share_a_request(app, client, coloured):
    """Sync and async hooks stand side by side around a view of either colour, in the order of declaration."""
    seen = []

    @app.before_request
    async def first():
        await asyncio.sleep(0)
        g.words = ["async"]

    @app.before_request
    def second():
        g.words.append("sync")

    @app.after_request
    async def after_async(response):
        await asyncio.sleep(0)
        g.words.append("after async")
        return response

    @app.after_request
    def after_sync(response):
        g.words.append("after sync")
        return response

    @app.teardown_request
    async def teardown(error):
        await asyncio.sleep(0)
        seen.extend(g.words)

    @app.get("/")
    @coloured
    def index():
        g.words.append("view")
        return "ok"

    assert client.get("/").text == "ok"
    assert seen == ["async", "sync", "view", "after sync", "after async"]


def test_signals_are_sent_along_the_way(app, client, coloured):
    """Those who listen hear of a request's start, its response, its error and its end, in this order."""
    seen = []

    @app.get("/")
    @coloured
    def index():
        seen.append("view")
        return "ok"

    @app.get("/boom")
    @coloured
    def boom():
        raise ZeroDivisionError

    def started(sender, **_):
        seen.append(("started", sender is app))

    def finished(sender, response, **_):
        seen.append(("finished", response.status_code))

    def failed(sender, exception, **_):
        seen.append(("failed", type(exception)))

    def over(sender, exc, **_):
        seen.append(("over", type(exc)))

    with (
        request_started.connected_to(started, app),
        request_finished.connected_to(finished, app),
        got_request_exception.connected_to(failed, app),
        request_tearing_down.connected_to(over, app),
    ):
        client.get("/")
        client.get("/boom")

    assert seen == [
        ("started", True),
        "view",
        ("finished", 200),
        ("over", type(None)),
        ("started", True),
        ("failed", ZeroDivisionError),
        ("finished", 500),
        ("over", ZeroDivisionError),
    ]
