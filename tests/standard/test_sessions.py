"""Sessions in signed cookies: what is opened, what is sent, and when nothing is."""

import copy
import datetime
import hashlib
import pickle
import warnings
from datetime import UTC, timedelta
from decimal import Decimal
from types import SimpleNamespace
from uuid import UUID

import pytest
from itsdangerous import URLSafeTimedSerializer
from markupsafe import Markup
from werkzeug.http import dump_cookie, parse_cookie, parse_date
from werkzeug.wrappers import Request

import carboy
from carboy.standard.json import DefaultJSONProvider
from carboy.standard.sessions import (
    NullSession,
    SecureCookieSession,
    SecureCookieSessionInterface,
    SessionInterface,
    SessionMixin,
    Sessions,
    check_cookie,
    check_secret_key,
    save,
    save_if_touched,
)
from carboy.wire.response import Response
from carboy.wire.tagged import JSONTag, TaggedJSONSerializer


class App:
    """As much of an app as sessions know."""

    debug = False
    response_class = Response
    permanent_session_lifetime = timedelta(days=31)

    def __init__(self, secret_key="the secret"):
        self.secret_key = secret_key
        self.json = DefaultJSONProvider(self)
        self.config = {
            "APPLICATION_ROOT": "/",
            "SECRET_KEY_FALLBACKS": None,
            "SESSION_COOKIE_DOMAIN": None,
            "SESSION_COOKIE_HTTPONLY": True,
            "SESSION_COOKIE_NAME": "session",
            "SESSION_COOKIE_PARTITIONED": False,
            "SESSION_COOKIE_PATH": None,
            "SESSION_COOKIE_SAMESITE": None,
            "SESSION_COOKIE_SECURE": False,
            "SESSION_REFRESH_EACH_REQUEST": True,
        }


class ByTheBook(SecureCookieSessionInterface):
    """The same interface the long way: overriding the serializer turns every short cut off."""

    def get_signing_serializer(self, app):
        return super().get_signing_serializer(app)


@pytest.fixture
def app():
    return App()


@pytest.fixture(params=[SecureCookieSessionInterface, ByTheBook])
def interface(request):
    return request.param()


def asking(cookie=None):
    return Request.from_values("/", headers={"Cookie": cookie} if cookie else {})


def carrying(text):
    return asking(f"session={text}")


def saved(interface, app, values=None, *, modified=True, accessed=False):
    """Save a session of these values; return the response."""
    session = interface.session_class(values)
    session.modified, session.accessed = modified, accessed
    response = Response("hello")
    interface.save_session(app, session, response)
    return response


def cookie_text(response):
    return parse_cookie(response.headers["Set-Cookie"])["session"]


# ── the session ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "change",
    [
        lambda session: session.__setitem__("a", 2),
        lambda session: session.__delitem__("a"),
        lambda session: session.pop("a"),
        lambda session: session.popitem(),
        lambda session: session.clear(),
        lambda session: session.update(b=1),
        lambda session: session.__ior__({"b": 1}),
        lambda session: session.setdefault("b", 1),
        lambda session: setattr(session, "permanent", True),
    ],
)
def test_a_session_knows_that_it_was_changed(change):
    """Every way to change a dict marks it modified; being asked for is the context's to say."""
    session = SecureCookieSession({"a": 1})
    assert not session.modified

    change(session)

    assert session.modified
    assert not session.accessed
    assert not session.new


@pytest.mark.parametrize(
    "look",
    [
        lambda session: session["a"],
        lambda session: session.get("b"),
        lambda session: session.setdefault("a", 5),
        lambda session: "a" in session,
        lambda session: list(session),
        lambda session: session | {"b": 1},
        lambda session: session.permanent,
        lambda session: session == {"a": 1},
    ],
)
def test_looking_does_not_change_a_session(look):
    """Reading marks nothing."""
    session = SecureCookieSession({"a": 1})

    look(session)

    assert not session.modified
    assert session == {"a": 1}


def test_permanence_is_kept_in_the_session():
    """It travels in the cookie, under the name that Flask gives it."""
    session = SecureCookieSession()
    assert not session.permanent

    session.permanent = 1

    assert session.permanent is True
    assert session == {"_permanent": True}


def test_a_session_can_be_copied_and_pickled():
    """Server-side stores of guests do so."""
    session = SecureCookieSession({"a": [1]})

    for twin in (copy.deepcopy(session), pickle.loads(pickle.dumps(session))):
        assert twin == session
        twin["b"] = 1
        assert twin.modified
    assert not session.modified


def test_a_null_session_reads_as_empty():
    """Views that only look need no secret key."""
    session = NullSession()

    assert session.get("a") is None
    assert "a" not in session
    assert dict(session) == {}
    assert not session.permanent


@pytest.mark.parametrize(
    "change",
    [
        lambda session: session.__setitem__("a", 2),
        lambda session: session.__delitem__("a"),
        lambda session: session.pop("a"),
        lambda session: session.popitem(),
        lambda session: session.clear(),
        lambda session: session.update(b=1),
        lambda session: session.__ior__({"b": 1}),
        lambda session: session.setdefault("b", 1),
        lambda session: setattr(session, "permanent", True),
    ],
)
def test_a_null_session_tells_how_to_get_a_real_one(change):
    """Each way to write is an error with the remedy in it."""
    with pytest.raises(
        RuntimeError, match=r"session is unavailable .*app\.secret_key = .*SECRET_KEY.*secrets\.token_hex"
    ):
        change(NullSession())


# ── opening ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_was_saved_is_opened(interface, app):
    """Types survive: tuples, bytes, Markup, UUIDs, datetimes and keys that look like tags."""
    values = {
        "t": (1, 2, 3),
        "b": b"\xff",
        "m": Markup("<html>"),
        "u": UUID(int=7),
        "d": datetime.datetime(2024, 2, 29, tzinfo=UTC),
        "t_tag": {" t": "not-a-tuple"},
        "text": "snow \N{SNOWMAN}",
    }

    session = interface.open_session(app, carrying(cookie_text(saved(interface, app, values))))

    assert session == values
    assert type(session["m"]) is Markup
    assert type(session) is SecureCookieSession
    assert not session.modified


def test_a_cookie_of_flask_is_opened_and_flask_would_open_ours(interface, app):
    """The format is itsdangerous', with Flask's salt, digest and key derivation."""
    flasks = URLSafeTimedSerializer(
        "the secret",
        salt="cookie-session",
        serializer=TaggedJSONSerializer(),
        signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha1},
    )

    assert interface.open_session(app, carrying(flasks.dumps({"a": (1,)}))) == {"a": (1,)}
    assert flasks.loads(cookie_text(saved(interface, app, {"a": (1,)})), max_age=60) == {"a": (1,)}


def test_a_cookie_signed_by_flask_itself_is_opened(interface, app):
    """A cookie recorded from Flask 3.1.3; it is old, so the sessions of this app live long."""
    app.permanent_session_lifetime = timedelta(days=365_000)
    app.secret_key = "k"

    session = interface.open_session(
        app, carrying("eyJfcGVybWFuZW50Ijp0cnVlLCJhIjoxfQ.awFC2A.BX-iyyJhefwRt3ciPVxq6joh614")
    )

    assert session == {"_permanent": True, "a": 1}


@pytest.mark.parametrize("text", ["", "bad", "a.b.c", "e30.awFC2A.", "\xe9.\xe9.\xe9", "." * 50, "=" * 5000])
def test_a_bad_cookie_is_a_new_session(interface, app, text):
    """Whatever a client sends, it is no error."""
    session = interface.open_session(app, carrying(text))

    assert session == {}
    assert not session.modified


def test_no_cookie_is_a_new_session(interface, app):
    """An empty session, not changed yet."""
    session = interface.open_session(app, asking())

    assert type(session) is SecureCookieSession
    assert session == {}


def test_a_changed_cookie_is_a_new_session(interface, app):
    """The signature does not fit."""
    text = cookie_text(saved(interface, app, {"admin": False}))
    forged = cookie_text(saved(interface, App("another secret"), {"admin": True}))

    assert interface.open_session(app, carrying(forged)) == {}
    assert interface.open_session(app, carrying(forged.split(".")[0] + text[text.index(".") :])) == {}


def test_an_expired_cookie_is_a_new_session(interface, app):
    """The app's lifetime counts, whatever the browser does with the cookie's date."""
    text = cookie_text(saved(interface, app, {"a": 1}))

    app.permanent_session_lifetime = timedelta(seconds=-1)

    assert interface.open_session(app, carrying(text)) == {}


def test_fallback_keys_open_and_the_new_key_signs(interface, app):
    """Secret keys can be rotated without losing the sessions."""
    old = cookie_text(saved(interface, app, {"a": 1}))

    app.secret_key = "a newer secret"
    assert interface.open_session(app, carrying(old)) == {}
    app.config["SECRET_KEY_FALLBACKS"] = ["an even older one", "the secret"]
    assert interface.open_session(app, carrying(old)) == {"a": 1}

    new = cookie_text(saved(interface, app, {"a": 2}))
    app.config["SECRET_KEY_FALLBACKS"] = []
    assert interface.open_session(app, carrying(new)) == {"a": 2}


def test_without_a_secret_key_there_is_no_session(interface):
    """None, for which the app puts a null session."""
    app = App(None)

    assert interface.open_session(app, carrying("x")) is None
    assert interface.get_signing_serializer(app) is None
    null = interface.make_null_session(app)
    assert interface.is_null_session(null)
    assert not interface.is_null_session(SecureCookieSession())


def test_saving_without_a_secret_key_says_what_is_missing(interface):
    """Who makes a session by hand learns it too."""
    with pytest.raises(RuntimeError, match=r"app\.secret_key"):
        saved(interface, App(None), {"a": 1})


def test_a_signed_cookie_that_is_no_session_is_a_new_one_and_logged(app, caplog):
    """A secret shared with something else must not lock a browser out until its cookie expires."""
    interface = SecureCookieSessionInterface()
    signer = interface.get_signing_serializer(app)

    for value in ([1], None, 5, "text", {" u": "no uuid"}):
        text = signer.dumps(value) if not isinstance(value, dict) else None
        if text is None:
            raw = URLSafeTimedSerializer(
                "the secret",
                salt="cookie-session",
                signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha1},
            )
            text = raw.dumps(value)
        caplog.clear()

        assert interface.open_session(app, carrying(text)) == {}
        assert "cannot be read" in caplog.text


# ── saving ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_changed_session_is_sent(interface, app):
    """With the defaults: out of reach of scripts, for the whole site, until the browser is closed."""
    response = saved(interface, app, {"a": 1})

    assert response.headers["Set-Cookie"] == f"session={cookie_text(response)}; HttpOnly; Path=/"
    assert response.headers.getlist("Vary") == ["Cookie"]


@pytest.mark.parametrize(
    ("values", "marks", "sent", "varies"),
    [
        ({}, {}, False, False),
        ({}, {"accessed": True}, False, True),
        ({"a": 1}, {}, False, False),
        ({"a": 1}, {"accessed": True}, False, True),
        ({"a": 1}, {"modified": True}, True, True),
        ({}, {"modified": True}, True, True),
        ({"_permanent": True}, {}, True, True),
    ],
)
def test_a_cookie_is_sent_only_where_it_must_be(interface, app, values, marks, sent, varies):
    """A response that does not depend on the session can be cached for everybody."""
    response = saved(interface, app, values, **({"modified": False} | marks))

    assert ("Set-Cookie" in response.headers) == sent
    assert response.headers.getlist("Vary") == (["Cookie"] if varies else [])


def test_an_emptied_session_is_removed_from_the_browser(interface, app):
    """With the attributes it was set with, or the browser would keep it."""
    app.config.update(SESSION_COOKIE_DOMAIN=".example.com", SESSION_COOKIE_PATH="/shop", SESSION_COOKIE_SAMESITE="Lax")

    response = saved(interface, app, {})

    assert response.headers["Set-Cookie"] == (
        "session=; Domain=example.com; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0; HttpOnly; Path=/shop;"
        " SameSite=Lax"
    )


def test_a_permanent_session_has_a_date(interface, app):
    """It lives as long as the app says."""
    response = saved(interface, app, {"_permanent": True, "a": 1})

    header = response.headers["Set-Cookie"]
    expires = parse_date(header.partition("Expires=")[2].partition(";")[0])
    assert abs(expires - datetime.datetime.now(UTC) - timedelta(days=31)) < timedelta(seconds=5)
    assert header.endswith("; HttpOnly; Path=/")


def test_a_permanent_session_is_refreshed_only_if_wanted(interface, app):
    """`SESSION_REFRESH_EACH_REQUEST` off sends it when it changes."""
    app.config["SESSION_REFRESH_EACH_REQUEST"] = False

    assert "Set-Cookie" not in saved(interface, app, {"_permanent": True}, modified=False).headers
    assert "Set-Cookie" in saved(interface, app, {"_permanent": True}).headers


@pytest.mark.parametrize(
    ("values", "change"),
    [
        ({"n": 1}, lambda session: None),
        ({"n": 1}, lambda session: session.update(n=True)),
        ({"n": 1}, lambda session: dict.__setitem__(session, "n", 5)),
        ({"n": 1}, lambda session: dict.pop(session, "n")),
        ({"n": 1}, lambda session: dict.__setitem__(session, "more", None)),
        ({"rows": [1]}, lambda session: session["rows"].append(2)),
        ({"deep": {"rows": [1]}}, lambda session: session["deep"].clear()),
        ({"at": datetime.datetime(2024, 2, 29, tzinfo=UTC), "m": Markup("<b>")}, lambda session: None),
    ],
)
def test_a_permanent_session_is_sent_as_it_is_now(interface, app, values, change):
    """Whatever happened to it, seen by it or not, the next request has the same values of the same types."""
    first = cookie_text(saved(interface, app, {"_permanent": True, "text": "x" * 80, **values}))
    session = interface.open_session(app, carrying(first))
    change(session)
    response = Response("hello")
    interface.save_session(app, session, response)

    again = interface.open_session(app, carrying(cookie_text(response)))

    assert again == session
    assert {name: type(value) for name, value in again.items()} == {name: type(value) for name, value in session.items()}


def test_an_unchanged_session_is_signed_with_the_newest_key_and_the_time_of_now(interface, app):
    """Old keys can be dropped once everybody has come by; a visit keeps a session from growing old."""
    app.secret_key = "the old one"
    first = cookie_text(saved(interface, app, {"_permanent": True}))
    app.secret_key, app.config["SECRET_KEY_FALLBACKS"] = "the new one", ["the old one"]
    session = interface.open_session(app, carrying(first))
    response = Response("hello")
    interface.save_session(app, session, response)
    app.config["SECRET_KEY_FALLBACKS"] = None

    assert interface.open_session(app, carrying(first)) == {}
    assert interface.open_session(app, carrying(cookie_text(response))) == {"_permanent": True}


@pytest.mark.parametrize("domain", [None, ".example.com"])
@pytest.mark.parametrize("path", [None, "/shop"])
@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("httponly", [False, True])
@pytest.mark.parametrize("samesite", [None, "lax", "Strict"])
@pytest.mark.parametrize("partitioned", [False, True])
def test_the_header_is_werkzeugs(app, domain, path, secure, httponly, samesite, partitioned):
    """Whatever the configuration, the kept frame of the header gives what Werkzeug would write."""
    app.config.update(
        APPLICATION_ROOT="/root",
        SESSION_COOKIE_DOMAIN=domain,
        SESSION_COOKIE_PATH=path,
        SESSION_COOKIE_SECURE=secure,
        SESSION_COOKIE_HTTPONLY=httponly,
        SESSION_COOKIE_SAMESITE=samesite,
        SESSION_COOKIE_PARTITIONED=partitioned,
    )

    for values in ({"a": 1}, {"a": 1, "_permanent": True}):
        response = saved(SecureCookieSessionInterface(), app, values)
        header = response.headers["Set-Cookie"]
        assert header == dump_cookie(
            "session",
            cookie_text(response),
            expires=header.partition("Expires=")[2].partition(";")[0] or None,
            domain=domain,
            path=path or "/root",
            secure=secure,
            httponly=httponly,
            samesite=samesite,
            partitioned=partitioned,
        )


def test_an_invalid_samesite_is_an_error_each_time(interface, app):
    """Werkzeug's, and not remembered away."""
    app.config["SESSION_COOKIE_SAMESITE"] = "invalid"

    for _ in range(2):
        with pytest.raises(ValueError, match="SameSite"):
            saved(interface, app, {"a": 1})


def test_the_cookie_can_have_another_name(interface, app):
    """In opening, refreshing and saving."""
    app.config["SESSION_COOKIE_NAME"] = "carboy_id"

    response = saved(interface, app, {"a": 1})
    request = asking(response.headers["Set-Cookie"].partition(";")[0])

    assert response.headers["Set-Cookie"].startswith("carboy_id=")
    assert interface.open_session(app, request) == {"a": 1}
    assert interface.needs_refresh(app, request)
    assert not interface.needs_refresh(app, carrying("x"))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (["Cookie"], "Cookie"),
        (["Accept-Encoding, Accept-Language"], "Accept-Encoding, Accept-Language, Cookie"),
        (["Accept-Encoding", "cookie"], "Accept-Encoding, cookie"),
        (["Accept-Encoding", "Origin"], "Accept-Encoding, Origin, Cookie"),
        (["*"], "*"),
    ],
)
def test_vary_is_added_to_what_a_view_has_said(interface, app, before, after):
    """One header, `Cookie` in it once."""
    session = SecureCookieSession({"a": 1})
    session.modified = True
    response = Response("hello")
    for value in before:
        response.headers.add("Vary", value)

    interface.save_session(app, session, response)

    assert response.headers.getlist("Vary") == [after]


def test_a_large_session_is_sent_with_a_warning(interface, app):
    """Browsers drop cookies beyond 4 KB without a word, so Werkzeug has one."""
    noise = hashlib.sha512(b"noise").hexdigest()
    values = {str(n): hashlib.sha512(noise.encode() + bytes([n])).hexdigest() for n in range(60)}

    with pytest.warns(UserWarning, match="'session' cookie is too large"):
        response = saved(interface, app, values)

    assert interface.open_session(app, carrying(cookie_text(response))) == values


def test_the_limit_of_the_warning_is_the_responses(app):
    """0 turns it off."""
    interface = SecureCookieSessionInterface()
    session = SecureCookieSession({"a": "x"})
    session.modified = True

    small, none = Response(), Response()
    small.max_cookie_size, none.max_cookie_size = 10, 0

    with pytest.warns(UserWarning, match="too large"):
        interface.save_session(app, session, small)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        interface.save_session(app, session, none)
    assert "Set-Cookie" in none.headers


def test_a_response_class_with_its_own_set_cookie_is_asked(app):
    """Subclasses may want to see every cookie."""
    seen = []

    class Special(Response):
        def set_cookie(self, key, value="", **options):
            seen.append((key, options["path"]))
            super().set_cookie(key, value, **options)

    session = SecureCookieSession({"a": 1})
    session.modified = True
    response = Special()
    SecureCookieSessionInterface().save_session(app, session, response)

    assert seen == [("session", "/")]
    assert response.headers["Set-Cookie"].startswith("session=ey")


# ── changing the interface ──────────────────────────────────────────────────────────────────────────────────


def test_another_salt_digest_or_derivation_is_honoured(app):
    """Each makes other signatures, of the kind that itsdangerous makes of it."""

    class Salted(SecureCookieSessionInterface):
        salt = "other"

    class Digested(SecureCookieSessionInterface):
        digest_method = staticmethod(hashlib.sha256)

    class Derived(SecureCookieSessionInterface):
        key_derivation = "django-concat"

    interfaces = [SecureCookieSessionInterface(), Salted(), Digested(), Derived()]
    for mine in interfaces:
        text = cookie_text(saved(mine, app, {"a": 1}))

        assert mine.get_signing_serializer(app).loads(text) == {"a": 1}
        for other in interfaces:
            assert other.open_session(app, carrying(text)) == ({"a": 1} if other is mine else {})


def test_another_serializer_is_honoured(app):
    """Anything that itsdangerous takes, and tags registered on a serializer of ours."""

    class Angle:
        degrees = 5

    class TagAngle(JSONTag):
        __slots__ = ()
        key = " a"

        def check(self, value):
            return isinstance(value, Angle)

        def to_json(self, value):
            return value.degrees

        def to_python(self, value):
            return Angle()

    class Tagged(SecureCookieSessionInterface):
        serializer = TaggedJSONSerializer()

    class Pickled(SecureCookieSessionInterface):
        serializer = pickle

    Tagged.serializer.register(TagAngle)

    tagged = cookie_text(saved(Tagged(), app, {"angle": Angle()}))
    pickled = cookie_text(saved(Pickled(), app, {"complex": 1j}))

    assert type(Tagged().open_session(app, carrying(tagged))["angle"]) is Angle
    assert Tagged().get_signing_serializer(app).loads(tagged)["angle"].degrees == 5
    assert Pickled().open_session(app, carrying(pickled)) == {"complex": 1j}


def test_the_apps_json_provider_writes_and_reads_the_cookie(interface, app):
    """An app that has taught JSON its types can keep them in sessions, as in Flask."""
    app.json.default = lambda value: f"<{value}>"

    text = cookie_text(saved(interface, app, {"a": 1j, "t": (1,)}))

    assert interface.open_session(app, carrying(text)) == {"a": "<1j>", "t": (1,)}
    assert interface.get_signing_serializer(app).loads(text) == {"a": "<1j>", "t": (1,)}


def test_kinds_that_json_knows_one_way_stay_what_json_makes_of_them(interface, app):
    """A Decimal comes back as a string."""
    text = cookie_text(saved(interface, app, {"price": Decimal("9.90")}))

    assert interface.open_session(app, carrying(text)) == {"price": "9.90"}


def test_a_session_class_of_ones_own_is_made(app):
    """Of what the cookie held."""

    class Basket(SecureCookieSession):
        pass

    class Interface(SecureCookieSessionInterface):
        session_class = Basket

    text = cookie_text(saved(Interface(), app, {"a": 1}))

    assert type(Interface().open_session(app, carrying(text))) is Basket
    assert type(Interface().open_session(app, asking())) is Basket


def test_a_bare_interface_asks_for_its_two_methods(app):
    """And is opened for every request, since nobody knows what opening does."""
    bare = SessionInterface()

    with pytest.raises(NotImplementedError, match="open_session"):
        bare.open_session(app, asking())
    with pytest.raises(NotImplementedError, match="save_session"):
        bare.save_session(app, SecureCookieSession(), Response())
    assert not bare.opens_lazily
    assert bare.needs_refresh(app, asking())


def test_a_foreign_session_counts_as_changed():
    """A mapping that cannot tell is saved."""

    class Foreign(dict, SessionMixin):
        pass

    session = Foreign(_permanent=True)

    assert session.permanent
    assert session.modified
    assert SessionInterface().should_set_cookie(App(), session)


# ── lazily ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_opening_may_wait_unless_somebody_has_replaced_it():
    """A subclass's or an instance's own opening or saving may do anything."""

    class Opens(SecureCookieSessionInterface):
        def open_session(self, app, request):
            return super().open_session(app, request)

    class Saves(SecureCookieSessionInterface):
        def save_session(self, app, session, response):
            super().save_session(app, session, response)

    replaced = SecureCookieSessionInterface()
    replaced.save_session = lambda app, session, response: None

    assert SecureCookieSessionInterface().opens_lazily
    assert ByTheBook().opens_lazily
    assert not Opens().opens_lazily
    assert not Saves().opens_lazily
    assert not replaced.opens_lazily


@pytest.mark.parametrize(
    ("cookie", "refresh", "needed"),
    [
        ("session=x", True, True),
        ("a=1; session=x", True, True),
        ("session=x", False, False),
        ("a=1", True, False),
        (None, True, False),
    ],
)
def test_an_untouched_session_is_looked_at_only_if_its_cookie_may_be_sent_again(app, cookie, refresh, needed):
    """Refreshing on, and a session cookie there."""
    app.config["SESSION_REFRESH_EACH_REQUEST"] = refresh

    assert SecureCookieSessionInterface().needs_refresh(app, asking(cookie)) == needed


def test_an_interface_with_its_own_idea_of_sending_is_asked(app):
    """`should_set_cookie` may refresh sessions that are not permanent."""

    class Eager(SecureCookieSessionInterface):
        def should_set_cookie(self, app, session):
            return True

    app.config["SESSION_REFRESH_EACH_REQUEST"] = False

    assert Eager().opens_lazily
    assert Eager().needs_refresh(app, carrying("x"))
    assert not Eager().needs_refresh(app, asking())
    assert "Set-Cookie" in saved(Eager(), app, {"a": 1}, modified=False).headers


# ── as equipment ────────────────────────────────────────────────────────────────────────────────────────────


def test_sessions_are_fitted_in_every_app(carboy_app):
    """Steps that open and save, the session as a view parameter, and two checks: all through the socket."""
    assert isinstance(carboy_app.fitted["session"], Sessions)
    assert set(carboy_app.sources) >= {SessionMixin, SecureCookieSession}
    assert carboy_app.sources[SessionMixin](SimpleNamespace(session="the session")) == "the session"
    assert dict(carboy_app.checks) | {"session.secret-key": check_secret_key, "session.cookie": check_cookie} == dict(carboy_app.checks)
    assert [step.function for step in carboy_app.fitted_after] == [save_if_touched, save]


@pytest.mark.parametrize(
    ("key", "fallbacks", "fault"),
    [
        (None, None, None),
        ("0123456789abcdef", None, None),
        ("dev", None, "has 3 characters"),
        ("0123456789abcdef", [b"old"], "has 3 characters"),
    ],
)
def test_a_secret_key_that_can_be_guessed_is_found(app, key, fallbacks, fault):
    """Fallbacks count: they open sessions too."""
    app.config.update(SECRET_KEY=key, SECRET_KEY_FALLBACKS=fallbacks)

    found = check_secret_key(app)

    assert found is None if fault is None else fault in found


@pytest.mark.parametrize(
    ("samesite", "secure", "fault"),
    [
        (None, False, None),
        ("lax", False, None),
        ("Strict", False, None),
        ("None", True, None),
        ("None", False, "SESSION_COOKIE_SECURE"),
        ("loose", False, "it can be 'Lax'"),
        (True, False, "it can be 'Lax'"),
    ],
)
def test_a_cookie_that_browsers_would_refuse_is_found(app, samesite, secure, fault):
    """Before the first request, with the remedy."""
    app.config.update(SESSION_COOKIE_SAMESITE=samesite, SESSION_COOKIE_SECURE=secure)

    found = check_cookie(app)

    assert found is None if fault is None else fault in found


# ── in an app ───────────────────────────────────────────────────────────────────────────────────────────────


class Counting(SecureCookieSession):
    """Counts how often it is made."""

    made = 0

    def __init__(self, initial=None):
        super().__init__(initial)
        type(self).made += 1


@pytest.fixture
def carboy_app():
    app = carboy.Carboy("sessions")
    app.secret_key = "0123456789abcdef"
    app.testing = True
    app.session_interface = SecureCookieSessionInterface()

    @app.get("/write")
    def write():
        carboy.session["a"] = 1
        carboy.session.permanent = "permanent" in carboy.request.args
        return "written"

    @app.get("/nothing")
    def nothing():
        return "nothing"

    return app


def test_a_session_nobody_asks_for_is_not_opened(carboy_app):
    """Not even with a cookie there, if permanent sessions are not refreshed."""
    carboy_app.config["SESSION_REFRESH_EACH_REQUEST"] = False
    carboy_app.session_interface.session_class = type("Fresh", (Counting,), {})
    client = carboy_app.test_client()
    client.get("/write")
    made = carboy_app.session_interface.session_class.made

    response = client.get("/nothing")

    assert carboy_app.session_interface.session_class.made == made
    assert "Set-Cookie" not in response.headers
    assert "Vary" not in response.headers


def test_only_a_permanent_session_is_sent_again_untouched(carboy_app):
    """Its answer varies by the cookie; that of any other session does not."""
    client = carboy_app.test_client()

    client.get("/write")
    plain = client.get("/nothing")
    client.get("/write?permanent")
    permanent = client.get("/nothing")

    assert "Set-Cookie" not in plain.headers
    assert "Vary" not in plain.headers
    assert "Expires=" in permanent.headers["Set-Cookie"]
    assert permanent.headers["Vary"] == "Cookie"


def test_the_session_is_saved_after_the_hooks(carboy_app):
    """What a hook on the response changes is saved too."""

    @carboy_app.after_request
    def count(response):
        carboy.session["n"] = carboy.session.get("n", 0) + 1
        return response

    @carboy_app.get("/n")
    def number():
        return str(carboy.session.get("n"))

    client = carboy_app.test_client()

    assert [client.get("/n").text for _ in range(3)] == ["None", "1", "2"]


def test_an_interface_of_ones_own_is_opened_for_every_request(carboy_app):
    """Nobody knows what its opening does, so it is not left out."""
    opened = []

    class Interface(SecureCookieSessionInterface):
        def open_session(self, app, request):
            opened.append(request.endpoint)
            return super().open_session(app, request)

    carboy_app.session_interface = Interface()

    carboy_app.test_client().get("/nothing")

    assert opened == ["nothing"]


def test_a_view_asks_for_the_session_by_its_type(carboy_app):
    """Once sessions are fitted as equipment."""

    @carboy_app.get("/typed")
    def typed(visitor: SecureCookieSession):
        visitor["seen"] = True
        return str(visitor is carboy.session._get_current_object())

    response = carboy_app.test_client().get("/typed")

    assert response.text == "True"
    assert "Set-Cookie" in response.headers
