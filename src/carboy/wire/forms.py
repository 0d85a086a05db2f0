"""The parser of forms: Werkzeug's, which says what is malformed instead of giving an empty form."""

from __future__ import annotations

from typing import IO, Any

from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.formparser import FormDataParser

from .errors import MalformedForm, MalformedQuery
from .query import parse_query


class FormParser(FormDataParser):
    """Parses urlencoded and multipart bodies.

    Raises, while parsing:
        MalformedForm: a broken escape, bytes that are not UTF-8, a multipart body that breaks off.
        RequestEntityTooLarge: more than the limits allow.
    """

    def __init__(self, **options: Any) -> None:
        # Werkzeug's default gives an empty form where the body is broken: partial data would look like the whole.
        super().__init__(**{**options, "silent": False})

    def parse(self, stream: IO[bytes], mimetype: str, content_length: int | None, options: dict[str, str] | None = None) -> Any:
        try:
            return super().parse(stream, mimetype, content_length, options)
        except ValueError as error:
            raise MalformedForm from error

    def _parse_urlencoded(
        self, stream: IO[bytes], mimetype: str, content_length: int | None, options: dict[str, str]
    ) -> tuple[IO[bytes], MultiDict[str, str], MultiDict[str, Any]]:
        most = self.max_form_memory_size
        if most is not None and content_length is not None and content_length > most:
            raise RequestEntityTooLarge
        body = stream.read() if most is None else stream.read(most + 1)
        if most is not None and len(body) > most:
            raise RequestEntityTooLarge
        try:
            pairs = parse_query(body)
        except MalformedQuery:
            raise MalformedForm from None
        return stream, self.cls(pairs), self.cls()
