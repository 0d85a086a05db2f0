"""What belongs to a request, and who can see it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from carboy import (
    copy_current_request_context,
    current_app,
    g,
    has_app_context,
    has_request_context,
    request,
    session,
)


def test_g_is_of_one_request(app, client, coloured):
    """What a hook leaves in g is there in the view and its after hooks, and gone in the next request."""

    @app.before_request
    @coloured
    def leave():
        g.setdefault("words", []).append(request.args["word"])

    @app.get("/")
    @coloured
    def index():
        return ",".join(g.words)

    assert client.get("/?word=a").text == "a"
    assert client.get("/?word=b").text == "b"


def test_current_app_is_the_app(app, client, coloured):
    """current_app stands for the app that answers."""

    @app.get("/")
    @coloured
    def index():
        return {"same": current_app._get_current_object() is app, "contexts": [has_app_context(), has_request_context()]}

    assert client.get("/").json == {"same": True, "contexts": [True, True]}


def test_nothing_is_left_behind(app, client, coloured):
    """After a request there is no context, for whoever asks."""

    @app.get("/")
    @coloured
    def index():
        return "ok"

    client.get("/")

    assert not has_request_context()
    assert not has_app_context()
    with pytest.raises(RuntimeError, match="outside of request context"):
        request.path  # noqa: B018  # looking is the test
    with pytest.raises(RuntimeError, match="outside of application context"):
        g.word  # noqa: B018


def test_requests_at_once_do_not_mix(app, make_client, coloured):
    """Of several requests that run at the same time, each has its own request, g and session."""
    together = threading.Barrier(3, timeout=10)

    @app.before_request
    def meet():
        g.word = request.args["word"]
        session["word"] = g.word
        together.wait()

    @app.get("/")
    @coloured
    def index():
        return f"{request.args['word']} {g.word} {session['word']}"

    def ask(word):
        return make_client(app).get("/", query_string={"word": word}).text

    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(ask, "abc"))

    assert answers == ["a a a", "b b b", "c c c"]


def test_copied_context_goes_with_a_thread(app, client, coloured):
    """A function wrapped by copy_current_request_context sees the request in another thread."""

    @app.get("/here")
    @coloured
    def index():
        seen = []

        @copy_current_request_context
        def work():
            seen.append((request.path, current_app.name, session["word"]))

        session["word"] = "x"
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        return repr(seen)

    assert client.get("/here").text == "[('/here', 'board', 'x')]"


def test_thread_of_its_own_has_no_context(app, client, coloured):
    """A plain thread has no request, and is told so."""

    @app.get("/")
    @coloured
    def index():
        seen = []

        def work():
            seen.append(has_request_context())

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        return repr(seen)

    assert client.get("/").text == "[False]"


def test_environ_is_live(app, client, coloured):
    """request.environ is one WSGI environ through the whole request, and takes what is put into it."""
    seen = []

    @app.before_request
    @coloured
    def leave():
        request.environ["board.word"] = "kept"

    @app.get("/a/b")
    @coloured
    def index():
        environ = request.environ
        seen.append(environ["board.word"])
        seen.append([environ[key] for key in ("REQUEST_METHOD", "SCRIPT_NAME", "PATH_INFO", "QUERY_STRING", "HTTP_X_WORD")])
        seen.append(environ["wsgi.url_scheme"])
        return "ok"

    @app.teardown_request
    @coloured
    def look(error):
        seen.append(request.environ.pop("board.word"))

    client.get("/a/b?c=d", headers={"X-Word": "w"})

    assert seen == ["kept", ["GET", "", "/a/b", "c=d", "w"], "http", "kept"]


def test_request_tells_where_it_came_from(app, client, coloured):
    """Scheme, host, URLs, headers and the client's address are what the client used."""

    @app.get("/p/ä")
    @coloured
    def index():
        return {
            "scheme": request.scheme,
            "secure": request.is_secure,
            "host": request.host,
            "url": request.url,
            "base": request.base_url,
            "full": request.full_path,
            "root": request.root_url,
            "remote": request.remote_addr,
            "agent": request.user_agent.string,
            "header": request.headers["x-mixed-case"],
            "type": request.headers.get("Content-Type"),
            "accept": request.accept_languages.best,
        }

    response = client.get(
        "/p/%C3%A4?q=%20",
        base_url="https://board.example:8443",
        headers={"X-Mixed-Case": "Yes", "User-Agent": "test/1", "Accept-Language": "de, en;q=0.5"},
        environ_base={"REMOTE_ADDR": "192.0.2.7"},
    )

    assert response.json == {
        "scheme": "https",
        "secure": True,
        "host": "board.example:8443",
        "url": "https://board.example:8443/p/ä?q=%20",
        "base": "https://board.example:8443/p/ä",
        "full": "/p/ä?q=%20",
        "root": "https://board.example:8443/",
        "remote": "192.0.2.7",
        "agent": "test/1",
        "header": "Yes",
        "type": None,
        "accept": "de",
    }


def test_client_keeps_the_context_of_its_last_request(app, client, coloured):
    """In a client's with block, request and g are those of the last request, until the block ends."""

    @app.get("/<word>")
    @coloured
    def index(word):
        g.word = word
        return "ok"

    with client:
        client.get("/a")
        assert (g.word, request.path) == ("a", "/a")
        client.get("/b")
        assert (g.word, request.path) == ("b", "/b")

    assert not has_request_context()


