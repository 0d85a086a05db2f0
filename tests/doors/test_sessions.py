"""The signed session cookie, and the messages that are kept in it."""

from __future__ import annotations

import datetime

import pytest

from carboy import Carboy, flash, get_flashed_messages, session


@pytest.fixture
def store(app, coloured):
    """Views that set, get and remove a value of the session."""

    @app.get("/set/<value>")
    @coloured
    def put(value):
        session["value"] = value
        return "ok"

    @app.get("/get")
    @coloured
    def get():
        return str(session.get("value"))

    @app.get("/pop")
    @coloured
    def pop():
        session.pop("value", None)
        return "ok"

    @app.get("/untouched")
    @coloured
    def untouched():
        return "ok"


def test_session_is_kept(client, store):
    """What is put into the session is there in the next request of this client, and of no other."""
    client.get("/set/jam")

    assert client.get("/get").text == "jam"
    client.delete_cookie("session")
    assert client.get("/get").text == "None"


def test_cookie_is_for_servers_only(client, store):
    """The session's cookie is HttpOnly, for the whole site, and ends with the browser."""
    header = client.get("/set/jam").headers["Set-Cookie"]

    assert header.startswith("session=")
    assert "HttpOnly" in header
    assert "Path=/" in header
    assert "Expires" not in header


def test_cookie_follows_the_configuration(app, client, store):
    """Name, domain, path, Secure, SameSite and Partitioned are configured."""
    app.config.update(
        SESSION_COOKIE_NAME="sid",
        SESSION_COOKIE_DOMAIN=".example.com",
        SESSION_COOKIE_PATH="/",
        SESSION_COOKIE_SECURE=True,
        SESSION_COOKIE_HTTPONLY=False,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_PARTITIONED=True,
    )

    header = client.get("/set/jam", base_url="https://www.example.com").headers["Set-Cookie"]

    assert header.startswith("sid=")
    for part in ("Domain=example.com", "Secure", "SameSite=Lax", "Partitioned"):
        assert part in header
    assert "HttpOnly" not in header


def test_untouched_session_leaves_no_trace(client, store):
    """A request that does not touch the session sets no cookie and does not vary by it."""
    client.get("/set/jam")

    response = client.get("/untouched")

    assert "Set-Cookie" not in response.headers
    assert "Vary" not in response.headers


def test_read_session_varies_by_its_cookie(client, store):
    """An answer that depends on the session says so to caches; one that only reads sets no cookie."""
    response = client.get("/get")

    assert response.headers["Vary"] == "Cookie"
    assert "Set-Cookie" not in response.headers


def test_emptied_session_is_removed(client, store):
    """When the last value goes, so does the cookie."""
    client.get("/set/jam")

    response = client.get("/pop")

    assert "Max-Age=0" in response.headers["Set-Cookie"]
    assert client.get_cookie("session") is None


@pytest.mark.parametrize("change", [lambda c: c[:-2] + "xx", lambda c: "x" + c, lambda c: "", lambda c: "a.b.c", lambda c: "ÿ"])
def test_tampered_session_is_ignored(client, store, change):
    """A cookie that was not signed with the app's key is as good as none."""
    client.get("/set/jam")
    client.set_cookie("session", change(client.get_cookie("session").value))

    response = client.get("/get")

    assert (response.status_code, response.text) == (200, "None")


def test_session_of_a_former_key_is_read(app, client, store):
    """With SECRET_KEY_FALLBACKS, sessions signed with a former key are read."""
    client.get("/set/jam")
    app.config.update(SECRET_KEY="another", SECRET_KEY_FALLBACKS=["a key for tests"])

    assert client.get("/get").text == "jam"


def test_session_without_a_key_cannot_be_written(root, make_client, coloured):
    """Without SECRET_KEY the session can be read, and writing it is an error that says why."""
    app = Carboy("board", root_path=str(root))
    app.config["TESTING"] = True

    @app.get("/read")
    @coloured
    def read():
        return str(session.get("value"))

    @app.get("/write")
    @coloured
    def write():
        session["value"] = 1
        return "ok"

    client = make_client(app)

    assert client.get("/read").text == "None"
    with pytest.raises(RuntimeError, match="secret key"):
        client.get("/write")


def test_permanent_session_expires(app, client, coloured):
    """A permanent session's cookie has a date, PERMANENT_SESSION_LIFETIME from now."""
    app.config["PERMANENT_SESSION_LIFETIME"] = datetime.timedelta(days=3)

    @app.get("/")
    @coloured
    def index():
        session["value"] = 1
        session.permanent = True
        return "ok"

    client.get("/")

    left = client.get_cookie("session").expires - datetime.datetime.now(datetime.UTC)
    assert datetime.timedelta(days=2, hours=23) < left <= datetime.timedelta(days=3)


def test_change_inside_a_value_must_be_told(app, client, coloured):
    """A list in the session that is changed in place is saved only where `modified` is set."""

    @app.get("/add/<how>")
    @coloured
    def add(how):
        session.setdefault("words", [])
        session["words"].append(how)
        if how == "told":
            session.modified = True
        return str(len(session["words"]))

    client.get("/add/first")
    client.get("/add/silent")

    assert client.get("/add/told").text == "2"
    assert client.get("/add/told").text == "3"


def test_session_keeps_types_that_json_has_not(app, client, coloured):
    """Tuples, bytes, dates and the like come out as they went in."""
    values = {"tuple": (1, 2), "bytes": b"\xff", "date": datetime.datetime(2024, 2, 29, tzinfo=datetime.UTC)}
    seen = {}

    @app.get("/set")
    @coloured
    def put():
        session.update(values)
        return "ok"

    @app.get("/get")
    @coloured
    def get():
        seen.update(session)
        return "ok"

    client.get("/set")
    client.get("/get")

    assert seen == values


def test_session_transaction_is_seen_by_views(client, store):
    """A test may write the session before a request, and read it after."""
    with client.session_transaction() as opened:
        opened["value"] = "from the test"

    assert client.get("/get").text == "from the test"
    client.get("/set/changed")
    with client.session_transaction() as opened:
        assert opened["value"] == "changed"


def test_session_is_there_after_the_request(client, store):
    """In a client's with block, the request's context is still there once it is answered."""
    with client:
        client.get("/set/jam")
        assert session["value"] == "jam"

    with pytest.raises(RuntimeError, match="request context"):
        session.get("value")


def test_flashed_message_is_shown_once(app, client, coloured):
    """A message flashed in one request is there in the next, and then no more; with its category."""

    @app.get("/flash")
    @coloured
    def leave():
        flash("saved")
        flash("but look", "warning")
        return "ok"

    @app.get("/show")
    @coloured
    def show():
        return {
            "all": get_flashed_messages(with_categories=True),
            "warnings": get_flashed_messages(category_filter=["warning"]),
        }

    client.get("/flash")

    assert client.get("/show").json == {"all": [["message", "saved"], ["warning", "but look"]], "warnings": ["but look"]}
    assert client.get("/show").json == {"all": [], "warnings": []}
