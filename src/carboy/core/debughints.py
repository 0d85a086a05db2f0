"""Errors of debug mode that explain a mistake everybody makes once."""

from __future__ import annotations

from typing import Any

from werkzeug.datastructures import MultiDict
from werkzeug.routing import RequestRedirect


class UnexpectedUnicodeError(AssertionError, UnicodeError):
    """Bytes where text was wanted."""


class MissingFileError(KeyError, AssertionError):
    """`request.files` was asked for a file that a form sent as plain text.

    Source: Flask's debug behaviour.
    """

    def __init__(self, request: Any, key: str) -> None:
        matches = request.form.getlist(key)
        text = (
            f"You tried to access the file {key!r} in the request.files dictionary but it does not exist. The mimetype"
            f" for the request is {request.mimetype!r} instead of 'multipart/form-data' which means that no file"
            " contents were transmitted. To fix this error you should provide enctype=\"multipart/form-data\" in your form."
        )
        if matches:
            names = ", ".join(repr(name) for name in matches)
            text += f"\n\nThe browser instead transmitted some file names. This was submitted: {names}"
        self.text = text

    def __str__(self) -> str:
        return self.text


class RedirectLosesForm(AssertionError):
    """In debug mode, a POST to a URL that redirects: a browser would drop the form.

    Source: Flask's debug behaviour.
    """

    def __init__(self, request: Any) -> None:
        error: RequestRedirect = request.routing_exception
        lines = [
            f"A request was sent to '{request.url}', but routing issued a redirect to the canonical URL '{error.new_url}'."
        ]
        if f"{request.base_url}/" == error.new_url.partition("?")[0]:
            lines.append(
                " The URL was defined with a trailing slash. Flask will redirect to the URL with a trailing slash if it"
                " was accessed without one."
            )
        lines.append(
            " Send requests to the canonical URL, or use 307 or 308 for routing redirects. Otherwise, browsers will drop"
            " form data.\n\nThis exception is only raised in debug mode."
        )
        super().__init__("".join(lines))


def explain_missing_file(request: Any) -> None:
    """Make the missing key of `request.files` raise the error above."""

    class Explaining(type(request.files)):  # type: ignore[misc]  # the guest's own class of multi dict
        def __getitem__(self, key: str) -> Any:
            try:
                return super().__getitem__(key)
            except KeyError as error:
                if key not in request.form:
                    raise
                raise MissingFileError(request, key).with_traceback(error.__traceback__) from None

    files: MultiDict[str, Any] = request.files
    request.files = Explaining(files)
