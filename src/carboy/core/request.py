"""The request an app gives to its views: the wire's, and what it can know through its app."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from werkzeug.exceptions import BadRequest, HTTPException
from werkzeug.routing import Rule

from ..wire import json as wire_json
from ..wire.body import BodyBuffer
from ..wire.request import Request as WireRequest
from .ctx import app_var
from .debughints import explain_missing_file
from .upload import Chunks, FormParts, limits_of

if TYPE_CHECKING:
    from ..wire.multipart import FormLimits


class AppJSON:
    """`json_module` of a request: the current app's provider, plain JSON without one."""

    @staticmethod
    def loads(text: str | bytes, **kwargs: Any) -> Any:
        ctx = app_var.get(None)
        if ctx is None:
            return wire_json.loads(text)
        app: Any = ctx.app
        return app.json.loads(text, **kwargs)

    @staticmethod
    def dumps(value: Any, **kwargs: Any) -> str:
        ctx = app_var.get(None)
        if ctx is None:
            return wire_json.dumps(value)
        app: Any = ctx.app
        return app.json.dumps(value, **kwargs)  # type: ignore[no-any-return]  # a guest's provider


class Request(WireRequest):
    """The request of the current context.

    Attributes:
        url_rule: the rule that matched, None for a miss.
        view_args: the URL's values.
        routing_exception: why there is no match: NotFound, MethodNotAllowed, RequestRedirect.
    """

    json_module: Any = AppJSON
    url_rule: Rule | None = None
    view_args: dict[str, Any] | None = None
    routing_exception: HTTPException | None = None

    _max_content_length: int | None = None
    _max_form_memory_size: int | None = None
    _max_form_parts: int | None = None

    @property
    def max_content_length(self) -> int | None:
        """Most bytes of a body; the config's `MAX_CONTENT_LENGTH` unless set on this request."""
        if self._max_content_length is not None:
            return self._max_content_length
        limit: int | None = _setting("MAX_CONTENT_LENGTH", None)
        return limit

    @max_content_length.setter
    def max_content_length(self, value: int | None) -> None:
        self._max_content_length = value

    @property
    def max_form_memory_size(self) -> int | None:
        """Most bytes of a form field that is not a file; the config's `MAX_FORM_MEMORY_SIZE` unless set here."""
        if self._max_form_memory_size is not None:
            return self._max_form_memory_size
        limit: int | None = _setting("MAX_FORM_MEMORY_SIZE", 500_000)
        return limit

    @max_form_memory_size.setter
    def max_form_memory_size(self, value: int | None) -> None:
        self._max_form_memory_size = value

    @property  # type: ignore[override]  # None: no limit
    def max_form_parts(self) -> int | None:
        """Most parts of a multipart form; the config's `MAX_FORM_PARTS` unless set here."""
        if self._max_form_parts is not None:
            return self._max_form_parts
        limit: int | None = _setting("MAX_FORM_PARTS", 1_000)
        return limit

    @max_form_parts.setter
    def max_form_parts(self, value: int | None) -> None:
        self._max_form_parts = value

    @property
    def last_event_id(self) -> str | None:
        """The id of the last event that a reconnecting `EventSource` has seen; None at its first connection."""
        value = self.header("last-event-id")
        if value is None or value.isascii():
            return value
        try:
            return value.encode("latin1").decode()
        except UnicodeError:
            return value  # of a client that is no browser: it names none of our events

    @property
    def endpoint(self) -> str | None:
        """The endpoint that matched, None for a miss."""
        return self.url_rule.endpoint if self.url_rule is not None else None

    @property
    def blueprint(self) -> str | None:
        """The name of the blueprint whose view this is, with the names of those around it."""
        endpoint = self.endpoint
        if endpoint is not None and "." in endpoint:
            return str(endpoint.rpartition(".")[0])
        return None

    @property
    def blueprints(self) -> list[str]:
        """That name, and the names of those around it, innermost first."""
        name = self.blueprint
        return [] if name is None else blueprint_names(name)

    def chunks(self) -> Chunks:
        """The body's pieces as they come, on a route with `stream=True`; on others, of the body that has been read.

        Example:
            >>> @app.put("/backups/<name>", stream=True, max_body=10**12)
            ... async def put(request, name):
            ...     async for chunk in request.chunks():    # `for` in a `def` view
            ...         await storage.append(name, chunk)
            ...     return "", 201

        Raises, while iterated:
            HTTPException: 413 for a body over the limit, 400 for one that is broken or breaks off. Let it through: it is
                the answer.
        """
        return Chunks(self)

    def stream_form(self, limits: FormLimits | None = None) -> FormParts:
        """The parts of a multipart form as they come, on a route with `stream=True`.

        A part is read, saved or skipped before the next one is asked for; a file never has to fit into memory.

        Args:
            limits: `max_form_parts` and `max_form_memory_size` unless given.

        Raises:
            NotMultipart: it is another kind of body (415).
            MalformedMultipart, FormTooLarge: now or while iterated (400, 413).

        Example:
            >>> @app.post("/videos", stream=True, max_body=10**10)
            ... async def post(request):
            ...     async for part in request.stream_form():    # `for part in`, `part.save(...)` in a `def` view
            ...         if part.filename:
            ...             await part.save(folder / secure_filename(part.filename))
            ...     return "", 201
        """
        return FormParts(self, limits if limits is not None else limits_of(self))

    async def load_body(self) -> None:
        """Read the body of an `async def` view with `stream=True`, so that `get_data`, `form` and the rest have it.

        Raises:
            HTTPException: 413 or 400, as `chunks`.
        """
        incoming = self.incoming
        if incoming is None:
            return
        # The door counts; here it is only kept, in a file where it is long.
        buffer = BodyBuffer()
        try:
            while piece := await incoming.next():
                buffer.feed(piece)
        except BaseException:
            buffer.close()
            raise
        self.incoming = None
        body = self.buffered = buffer.finish()
        if self._head is not None:
            head: Any = self._head
            head.body = body  # closed with the request
        self.__dict__["stream"] = body

    def on_json_loading_failed(self, e: ValueError | None) -> Any:
        """Answer 400, or 415 for a request that does not say it is JSON; in debug mode the text says more."""
        try:
            return super().on_json_loading_failed(e)
        except BadRequest as error:
            ctx = app_var.get(None)
            app: Any = ctx.app if ctx is not None else None
            if error.code == 400 and not (app is not None and app.debug):
                raise BadRequest from error
            raise

    def _load_form_data(self) -> None:
        super()._load_form_data()
        ctx = app_var.get(None)
        app: Any = ctx.app if ctx is not None else None
        if app is not None and app.debug and self.mimetype != "multipart/form-data" and not self.files:
            explain_missing_file(self)



def _setting(name: str, default: Any) -> Any:
    ctx = app_var.get(None)
    if ctx is None:
        return default
    app: Any = ctx.app
    return app.config[name]


def blueprint_names(name: str) -> list[str]:
    """`a.b.c` → `["a.b.c", "a.b", "a"]`."""
    names = [name]
    while "." in name:
        name = name.rpartition(".")[0]
        names.append(name)
    return names
