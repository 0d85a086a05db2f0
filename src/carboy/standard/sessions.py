"""Sessions: a dict that a browser carries from one request to the next, in a cookie that only the app can write.

A session interface opens the session of a request and saves it into the response; the one here keeps it in a signed
cookie, readable by who has the cookie, changeable by none. Cookies are those of Flask, in both directions. The text is
`wire/tagged.py`, the signature `wire/signing.py`. When a session is opened and saved is the engine's affair; an
interface tells it with `opens_lazily` and `needs_refresh` whether it may wait until somebody asks for the session.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping, MutableMapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, NoReturn, Protocol

from itsdangerous import BadData, BadSignature, URLSafeTimedSerializer
from werkzeug.datastructures import CallbackDict, Headers
from werkzeug.http import dump_cookie, http_date
from werkzeug.wrappers import Request, Response

from ..core.ctx import Context
from ..core.respond import whole
from ..extend import Fitting
from ..wire.errors import MalformedCookie
from ..wire.request import Request as WireRequest
from ..wire.signing import TimedSigner
from ..wire.tagged import TaggedJSONSerializer

__all__ = [
    "NullSession",
    "SecureCookieSession",
    "SecureCookieSessionInterface",
    "SessionInterface",
    "SessionMixin",
    "Sessions",
    "check_cookie",
    "check_secret_key",
    "session_json_serializer",
]

# Any, in this file: what a session holds, and what guests' interfaces take and give.

_log = logging.getLogger(__name__)

_MAKE_KEY = "python -c 'import secrets; print(secrets.token_hex())'"
_NO_KEY = (
    "The session is unavailable because no secret key was set. Set one that nobody can guess, the same at every start and"
    f" on every server: app.secret_key = '...', or SECRET_KEY in the configuration. To make one: {_MAKE_KEY}"
)
# Characters: 16 hex digits are 64 bits, which nobody tries out.
_LONG_ENOUGH = 16

#: The serializer of session cookies. A tag registered here is known to every app.
session_json_serializer = TaggedJSONSerializer()


class App(Protocol):
    """What sessions need of an app."""

    @property
    def config(self) -> Mapping[str, Any]: ...
    @property
    def json(self) -> Any: ...
    @property
    def secret_key(self) -> str | bytes | None: ...
    @property
    def permanent_session_lifetime(self) -> timedelta: ...


class Configured(Protocol):
    """What the checks need of an app."""

    @property
    def config(self) -> Mapping[str, Any]: ...


class SessionMixin(MutableMapping[str, Any]):
    """What a session is besides a mapping.

    Attributes:
        new: whether the session began with this request. Kept by interfaces that know; False otherwise.
        modified: whether it has changed and must be saved. Set it by hand after changing a list or dict *inside* the
            session: only assignments to the session itself are seen. An interface that cannot tell leaves it True.
        accessed: whether the request has asked for the session, so that the response depends on the cookie.
    """

    new = False
    modified = True
    accessed = False

    @property
    def permanent(self) -> bool:
        """Whether the session outlives the browser, for the app's `permanent_session_lifetime`."""
        return bool(self.get("_permanent", False))

    @permanent.setter
    def permanent(self, value: bool) -> None:
        self["_permanent"] = bool(value)


_UNCHANGEABLE = frozenset({str, int, float, bool, type(None)})


class SecureCookieSession(CallbackDict[str, Any], SessionMixin):  # pyright: ignore[reportIncompatibleMethodOverride]  # Werkzeug's update()
    """A session whose contents travel in a signed cookie. It knows when it is changed.

    Args:
        initial: what the cookie held.

    Attributes:
        came: the cookie's text and what it held; None for a new session.
    """

    modified = False
    came: tuple[str, dict[str, Any]] | None = None

    def __init__(self, initial: Mapping[str, Any] | None = None) -> None:
        super().__init__(initial, _mark_modified)

    def __setitem__(self, key: str, value: Any) -> None:
        # PERF: one frame for Werkzeug's two.
        dict.__setitem__(self, key, value)
        on_update: Callable[[Any], None] | None = self.on_update
        if on_update is not None:
            on_update(self)


def _mark_modified(session: Any) -> None:
    session.modified = True
    # FLASK: `accessed` is not touched; the context sets it when the session is asked for (test_session_accessed).


class NullSession(SecureCookieSession):
    """The session of an app without a secret key: always empty, and explains itself when written to."""

    def _fail(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise RuntimeError(_NO_KEY)

    # The base classes' signatures do not matter: none of these ever returns.
    __setitem__ = __delitem__ = __ior__ = clear = pop = popitem = update = setdefault = _fail
    del _fail


class SessionInterface:
    """How an app opens and saves sessions; subclass it to keep them elsewhere and set `app.session_interface`.

    `open_session` is called at the start of a request (with `opens_lazily`, at the first use of the session) and
    `save_session` at its end, after the functions that work on the response, with whatever session the context then
    holds. A subclass needs these two; the rest reads the configuration.

    Attributes:
        null_session_class: what `make_null_session` makes, and how `is_null_session` knows it.
        pickle_based: whether sessions may hold anything that can be pickled. A hint for extensions.

    Example:
        >>> class InMemory(SessionInterface):
        ...     sessions = {}
        ...
        ...     def open_session(self, app, request):
        ...         return SecureCookieSession(self.sessions.get(request.remote_addr))
        ...
        ...     def save_session(self, app, session, response):
        ...         ...
        >>> app.session_interface = InMemory()
    """

    null_session_class: type[NullSession] = NullSession
    pickle_based = False

    @property
    def opens_lazily(self) -> bool:
        """Whether nobody can tell when a session was opened, so that one nobody asks for need not be.

        False for every interface but the one below: opening may look at the request, or lock, or count.
        """
        return False

    def needs_refresh(self, app: App, request: Request) -> bool:
        """Tell whether a session that nobody has touched must be opened and saved all the same."""
        return True

    def make_null_session(self, app: App) -> NullSession:
        """Make what stands for the session where `open_session` gave None: for lack of configuration, that is.

        It must let itself be read, so that views which only look work; writing must say what is missing.
        """
        return self.null_session_class()

    def is_null_session(self, obj: object) -> bool:
        """Tell whether this is a null session; those are not saved."""
        # PERF: an abstract base class answers `isinstance` in Python; this holds for a proxy too.
        return self.null_session_class in obj.__class__.__mro__

    def get_cookie_name(self, app: App) -> str:
        """`SESSION_COOKIE_NAME`."""
        return app.config["SESSION_COOKIE_NAME"]  # type: ignore[no-any-return]  # the configuration is the user's

    def get_cookie_domain(self, app: App) -> str | None:
        """`SESSION_COOKIE_DOMAIN`; None sends the cookie back to the very host it came from, and no other."""
        return app.config["SESSION_COOKIE_DOMAIN"]  # type: ignore[no-any-return]

    def get_cookie_path(self, app: App) -> str:
        """`SESSION_COOKIE_PATH`, or else `APPLICATION_ROOT`."""
        return app.config["SESSION_COOKIE_PATH"] or app.config["APPLICATION_ROOT"]  # type: ignore[no-any-return]

    def get_cookie_httponly(self, app: App) -> bool:
        """`SESSION_COOKIE_HTTPONLY`: scripts on the page do not see the cookie."""
        return app.config["SESSION_COOKIE_HTTPONLY"]  # type: ignore[no-any-return]

    def get_cookie_secure(self, app: App) -> bool:
        """`SESSION_COOKIE_SECURE`: the cookie goes over HTTPS only."""
        return app.config["SESSION_COOKIE_SECURE"]  # type: ignore[no-any-return]

    def get_cookie_samesite(self, app: App) -> str | None:
        """`SESSION_COOKIE_SAMESITE`: `Lax` or `Strict`, whether requests from other sites carry the cookie."""
        return app.config["SESSION_COOKIE_SAMESITE"]  # type: ignore[no-any-return]

    def get_cookie_partitioned(self, app: App) -> bool:
        """`SESSION_COOKIE_PARTITIONED`: a cookie set inside another site's page stays within that site."""
        return app.config["SESSION_COOKIE_PARTITIONED"]  # type: ignore[no-any-return]

    def get_expiration_time(self, app: App, session: SessionMixin) -> datetime | None:
        """Return when the browser shall forget the session; None is when it is closed."""
        if session.permanent:
            return datetime.now(UTC) + app.permanent_session_lifetime
        return None

    def should_set_cookie(self, app: App, session: SessionMixin) -> bool:
        """Tell whether the cookie must be sent: the session has changed, or is permanent and refreshed each time."""
        return session.modified or (session.permanent and bool(app.config["SESSION_REFRESH_EACH_REQUEST"]))

    def open_session(self, app: App, request: Request) -> SessionMixin | None:
        """Open the session of a request.

        Returns:
            A mapping with the attributes of `SessionMixin`, empty for a new session; None if sessions are not set up,
            and a null session then takes the place. What a client sent can be no error: bad cookies are new sessions.
        """
        raise NotImplementedError(f"{type(self).__name__} must define open_session(app, request)")

    def save_session(self, app: App, session: SessionMixin, response: Response) -> None:
        """Save a session at the end of a request, and tell the browser by the response. Not called for null sessions."""
        raise NotImplementedError(f"{type(self).__name__} must define save_session(app, session, response)")


def _sha1(data: bytes = b"") -> Any:
    # Looked up when called: a Python built for FIPS may lack it, and the app use another digest.
    return hashlib.sha1(data)


class SecureCookieSessionInterface(SessionInterface):
    """Sessions in signed cookies.

    Attributes:
        salt: keeps session cookies apart from other texts signed with the same secret key.
        digest_method: the hash of the signature.
        key_derivation: how itsdangerous makes the signing key of secret key and salt.
        serializer: makes text of a session and back.
        session_class: made of what the cookie held.
    """

    salt = "cookie-session"
    digest_method: Callable[..., Any] = staticmethod(_sha1)
    key_derivation = "hmac"
    serializer: Any = session_json_serializer
    session_class: type[SecureCookieSession] = SecureCookieSession

    def get_signing_serializer(self, app: App) -> URLSafeTimedSerializer | None:
        """Return what signs and reads the cookie, None if the app has no secret key.

        `SECRET_KEY_FALLBACKS` may hold older keys: what they signed still opens. Overriding this replaces the signing
        altogether.
        """
        keys = _keys(app)
        if keys is None:
            return None
        return URLSafeTimedSerializer(
            [key.encode() if isinstance(key, str) else key for key in keys],
            salt=self.salt,
            serializer=self._serializer(app),
            signer_kwargs={"key_derivation": self.key_derivation, "digest_method": self.digest_method},
        )

    def open_session(self, app: App, request: Request) -> SecureCookieSession | None:
        """Open the session that the request's cookie holds.

        A cookie that is missing, changed by somebody, signed with another key or older than the app's
        `permanent_session_lifetime` gives an empty session.
        """
        signer: Any
        if self._signs_as_usual:
            keys = _keys(app)
            signer = keys and _signer(keys, self.salt)
        else:
            signer = self.get_signing_serializer(app)
        if signer is None:
            return None
        name = self.get_cookie_name(app)
        # A stranger's request may be Werkzeug's own.
        text = request.cookie(name) if isinstance(request, WireRequest) else request.cookies.get(name)
        if not text:
            return self.session_class()
        max_age = int(app.permanent_session_lifetime.total_seconds())
        try:
            if type(signer) is not TimedSigner:
                return self.session_class(signer.loads(text, max_age=max_age))
            found = self._read(app, signer.open(text, max_age))
            session = self.session_class(found)
            if isinstance(session, SecureCookieSession):
                session.came = text, found
            return session
        except BadSignature:
            return self.session_class()
        except BadData:
            # Signed by us, so it is no attack: a tag is gone, or the secret serves another app under the same name.
            # Who has such a cookie would otherwise see errors until it expires.
            _log.warning(
                "a session cookie has a good signature but cannot be read; a new session begins", exc_info=True
            )
            return self.session_class()

    def save_session(self, app: App, session: SessionMixin, response: Response) -> None:
        """Send the session's cookie if it has to be sent; remove it from the browser if the session was emptied.

        A response that depends on the cookie, or sets it, says so with `Vary: Cookie`, so that no cache gives it to
        somebody else.
        """
        varies = session.accessed
        if not session:
            if session.modified:
                response.delete_cookie(self.get_cookie_name(app), **self._attributes(app))
                varies = True
        elif self.should_set_cookie(app, session):
            name, expires = self.get_cookie_name(app), self.get_expiration_time(app, session)
            attributes = self._attributes(app)
            if self._signs_as_usual:
                _set_cookie(response, name, self._seal(app, session), expires, attributes)
            else:
                response.set_cookie(name, self._dump(app, dict(session)), expires=expires, **attributes)
            varies = True
        if varies:
            _vary_by_cookie(response)

    @property
    def opens_lazily(self) -> bool:
        """Whether opening and saving are this class's own, which have no effect but on the session and the response."""
        cls = SecureCookieSessionInterface
        return _is(self.open_session, cls.open_session) and _is(self.save_session, cls.save_session)

    def needs_refresh(self, app: App, request: Request) -> bool:
        """Tell whether the cookie of a session that nobody has touched may have to be sent again.

        Cheap: it looks whether the request has such a cookie, and only then need the session be opened to see whether
        it is permanent.
        """
        one_header = getattr(request, "header", None) or request.headers.get
        cookie = one_header("cookie")
        if not cookie or f"{self.get_cookie_name(app)}=" not in cookie:
            return False
        # An interface with its own idea of when to send the cookie must be asked, but never about an empty session.
        return app.config["SESSION_REFRESH_EACH_REQUEST"] or not _is(
            self.should_set_cookie, SessionInterface.should_set_cookie
        )

    def has_null_sessions_only(self, app: App) -> bool:
        """Whether no session of this app can be saved: there is no secret key, and nothing else that would sign one."""
        cls = SessionInterface
        return (
            self._signs_as_usual
            and _keys(app) is None
            and _is(self.make_null_session, cls.make_null_session)
            and _is(self.is_null_session, cls.is_null_session)
        )

    @property
    def _signs_as_usual(self) -> bool:
        """Whether the signature is one that `TimedSigner` makes, only faster."""
        return (
            self.digest_method is _sha1
            and self.key_derivation == "hmac"
            and isinstance(self.serializer, TaggedJSONSerializer)
            # PERF: `_is`, without its frame.
            and getattr(self.get_signing_serializer, "__func__", None) is SecureCookieSessionInterface.get_signing_serializer
        )

    def _serializer(self, app: App) -> Any:
        """The serializer, going through the app's JSON provider where that writes differently."""
        serializer = self.serializer
        provider = app.json
        if isinstance(serializer, TaggedJSONSerializer) and not getattr(provider, "is_standard", False):
            return serializer.through(provider.dumps, provider.loads)
        return serializer

    def _read(self, app: App, payload: bytes) -> dict[str, Any]:
        try:
            found = self._serializer(app).loads(payload.decode())
        except Exception as error:
            raise BadData(f"the session is signed but unreadable: {error!r}") from error
        if not isinstance(found, dict):
            raise BadData(f"the session is signed but no dict: {type(found).__name__}")
        return found

    def _seal(self, app: App, session: SessionMixin) -> str:
        keys = _keys(app)
        if keys is None:
            raise RuntimeError(_NO_KEY)
        signer = _signer(keys, self.salt)
        if not session.modified:
            # PERF: a permanent session is sent again with each answer: 5 µs for 34 where zlib would be tried. In a list or dict
            # something may have changed that nobody has seen, so such a session is written anew.
            came = getattr(session, "came", None)
            if came is not None and came[1] == session and _UNCHANGEABLE.issuperset(map(type, came[1].values())):
                return signer.renew(came[0])
        return signer.seal(self._serializer(app).encode(dict(session)))

    def _dump(self, app: App, value: dict[str, Any]) -> str:
        signer = self.get_signing_serializer(app)
        if signer is None:
            raise RuntimeError(_NO_KEY)
        text = signer.dumps(value)
        return text.decode() if isinstance(text, bytes) else text

    def _attributes(self, app: App) -> dict[str, Any]:
        return {
            "domain": self.get_cookie_domain(app),
            "path": self.get_cookie_path(app),
            "secure": self.get_cookie_secure(app),
            "httponly": self.get_cookie_httponly(app),
            "samesite": self.get_cookie_samesite(app),
            "partitioned": self.get_cookie_partitioned(app),
        }


class Sessions:
    """Sessions as equipment, fitted in every app; `app.session_interface` says how they are opened and saved.

    Example:
        >>> @app.get("/basket")
        ... def basket(session: SecureCookieSession):
        ...     return session.get("basket", [])
    """

    name = "session"
    requires: tuple[str, ...] = ()

    def setup(self, fit: Fitting) -> None:
        """Declare when a session is opened and saved, the session as a view parameter, and the checks."""
        fit.before(open_at_once, first=True, when=_opens_at_once)
        fit.after(save_if_touched, blocking=False, when=_may_save)
        fit.after(save, when=_opens_at_once)
        for kind in (SessionMixin, SecureCookieSession):
            fit.source(kind, _session_of)
        fit.check("secret-key", check_secret_key)
        fit.check("cookie", check_cookie)


def _may_save(app: Any) -> bool:
    # PERF: without a secret key every session is a null session; an app that has none has no step for them.
    return bool(app.opens_sessions_lazily()) and not app.session_interface.has_null_sessions_only(app)


def _opens_at_once(app: Any) -> bool:
    return not app.opens_sessions_lazily()


def open_at_once(ctx: Context) -> None:
    """Open the session before anything else happens, for an interface that does more than read a cookie."""
    ctx._session  # noqa: B018  # opened by reading it


def save(ctx: Context) -> None:
    """Save the session that was opened; there is none where opening it failed, which the response says."""
    app: Any = ctx.app
    session = ctx.opened_session
    if session is not None and not app.session_interface.is_null_session(session):
        app.session_interface.save_session(app, session, whole(ctx))


def save_if_touched(ctx: Context) -> None:
    """Save the session if somebody asked for it, or if its cookie must be renewed with each request."""
    if ctx.opened_session is None:
        app: Any = ctx.app
        interface = app.session_interface
        if not interface.needs_refresh(app, ctx._request):
            return
        try:
            session = ctx._session
        except MalformedCookie:
            return  # there is no session in what is no cookie
        if not session or not interface.should_set_cookie(app, session):
            return  # nobody but us has looked at it: there is nothing to save, nor to say of it
    save(ctx)


# It wants a Response only to set a cookie.
save_if_touched.takes_answer = True  # type: ignore[attr-defined]


def check_secret_key(app: Configured) -> str | None:
    """Say so if a secret key can be guessed. No key at all is no fault: not every app has sessions."""
    keys = (app.config["SECRET_KEY"], *(app.config["SECRET_KEY_FALLBACKS"] or ()))
    short = min((len(key) for key in keys if key), default=_LONG_ENOUGH)
    if short < _LONG_ENOUGH:
        return (
            f"SECRET_KEY, or one of SECRET_KEY_FALLBACKS, has {short} characters, and who guesses it can write any"
            f" session; make one with: {_MAKE_KEY}"
        )
    return None


def check_cookie(app: Configured) -> str | None:
    """Say so if browsers, or Werkzeug, would refuse the cookie as it is configured."""
    samesite = app.config["SESSION_COOKIE_SAMESITE"]
    if samesite is None:
        return None
    known = isinstance(samesite, str) and samesite.title() in ("Strict", "Lax", "None")
    if not known:
        return f"SESSION_COOKIE_SAMESITE is {samesite!r}; it can be 'Lax', 'Strict', 'None' or None"
    # RFC 6265bis §5.7: a cookie that says SameSite=None without Secure is ignored.
    if samesite.title() == "None" and not (
        app.config["SESSION_COOKIE_SECURE"] or app.config["SESSION_COOKIE_PARTITIONED"]
    ):
        return "SESSION_COOKIE_SAMESITE is 'None', and browsers then want SESSION_COOKIE_SECURE = True"
    return None


def _session_of(ctx: Context) -> Any:
    return ctx.session


def _keys(app: App) -> tuple[str | bytes, ...] | None:
    """The secret keys, oldest first, as itsdangerous wants them: the last one signs. None if there is none."""
    key = app.secret_key
    if not key:
        return None
    fallbacks = app.config["SECRET_KEY_FALLBACKS"]
    return (*fallbacks, key) if fallbacks else (key,)


@lru_cache(maxsize=128)
def _signer(keys: tuple[str | bytes, ...], salt: str | bytes) -> TimedSigner:
    # PERF: deriving a key takes 2.7 µs, as long as reading a cookie with it.
    return TimedSigner(keys, salt, digest=_sha1)


def _vary_by_cookie(response: Response) -> None:
    # `response.vary` would keep only the first of several Vary headers.
    values = [value for name, value in response.headers if name.lower() == "vary"]
    if not values:
        _add(response, "Vary", "Cookie")
        return
    value = ", ".join(values)
    if not {"cookie", "*"} & {name.strip().lower() for name in value.split(",")}:
        value += ", Cookie"
    response.headers.set("Vary", value)


def _add(response: Response, name: str, value: str) -> None:
    """Add a header whose value is known to have no line break."""
    headers: Any = response.headers
    if type(headers) is Headers:
        headers._list.append((name, value))
    else:
        headers.add(name, value)


def _set_cookie(response: Response, name: str, text: str, expires: datetime | None, attributes: dict[str, Any]) -> None:
    """Set a cookie whose text needs no quotes, as `response.set_cookie` does.

    PERF: only the text and the date change from one session to the next; the rest of the header is kept. 1.4 µs for
    3.1, with a date 2.8 for 6.0.
    """
    if type(response).set_cookie is Response.set_cookie:
        before, after = _frame(name, *attributes.values())
        date = f"; Expires={_date(expires.replace(microsecond=0))}" if expires is not None else ""
        header = f"{name}={text}{before}{date}{after}"
        limit = response.max_cookie_size
        if not limit or len(header) <= limit:
            _add(response, "Set-Cookie", header)
            return
    # A response class with its own idea of cookies; or a cookie too large, about which Werkzeug has a warning.
    response.set_cookie(name, text, expires=expires, **attributes)


@lru_cache(maxsize=64)
def _frame(
    name: str,
    domain: str | None,
    path: str,
    secure: bool,
    httponly: bool,
    samesite: str | None,
    partitioned: bool,
) -> tuple[str, str]:
    """Return what stands between a cookie's text and its date, and what stands behind the date.

    Raises:
        ValueError: SESSION_COOKIE_SAMESITE has another value than Strict, Lax or None.
    """
    header = dump_cookie(
        name,
        expires="@",
        domain=domain,
        path=path,
        secure=secure,
        httponly=httponly,
        samesite=samesite,
        partitioned=partitioned,
        max_size=0,
    )
    before, _, after = header.removeprefix(f"{name}=").partition("; Expires=@")
    return before, after


_date = lru_cache(maxsize=8)(http_date)


def _is(method: Callable[..., Any], function: Callable[..., Any]) -> bool:
    """Tell whether a bound method is this function: not overridden by a subclass, nor replaced on the object."""
    return getattr(method, "__func__", None) is function
