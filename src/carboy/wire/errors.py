"""What a client can get wrong on the wire.

    werkzeug.exceptions.HTTPException
    ├── UpgradeRequired (426)         a page is asked for where a WebSocket is
    └── BadRequest (400)
        └── MalformedRequest          the bytes are not what HTTP allows; says which part
            ├── MalformedPath
            ├── MalformedQuery
            ├── MalformedCookie
            └── MalformedForm
"""

from typing import Any

from werkzeug.exceptions import BadRequest, HTTPException


class MalformedRequest(BadRequest):
    """A part of the request is not valid; the text is safe to show."""

    description = "The request is malformed."


class UpgradeRequired(HTTPException):
    """The URL is that of a WebSocket. RFC 9110 §15.5.22: the answer says to what protocol to upgrade."""

    code = 426
    description = "This URL is that of a WebSocket."

    def get_headers(self, *args: Any, **kwargs: Any) -> list[tuple[str, str]]:
        """The headers of the page, and those that name the protocol."""
        return [*super().get_headers(*args, **kwargs), ("Upgrade", "websocket"), ("Connection", "Upgrade")]


class MalformedPath(MalformedRequest):
    description = "The path of the URL is not valid UTF-8 in valid percent-escapes."


class MalformedQuery(MalformedRequest):
    description = "The query string is not valid UTF-8 in valid percent-escapes."


class MalformedCookie(MalformedRequest):
    description = "The Cookie header is not valid UTF-8."


class MalformedForm(MalformedRequest):
    description = "The form in the body is broken, or is not valid UTF-8 in valid percent-escapes."
