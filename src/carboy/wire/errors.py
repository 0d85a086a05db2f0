"""What a client can get wrong on the wire.

    werkzeug.exceptions.HTTPException
    └── BadRequest (400)
        └── MalformedRequest          the bytes are not what HTTP allows; says which part
            ├── MalformedPath
            ├── MalformedQuery
            ├── MalformedCookie
            └── MalformedForm
"""

from werkzeug.exceptions import BadRequest


class MalformedRequest(BadRequest):
    """A part of the request is not valid; the text is safe to show."""

    description = "The request is malformed."


class MalformedPath(MalformedRequest):
    description = "The path of the URL is not valid UTF-8 in valid percent-escapes."


class MalformedQuery(MalformedRequest):
    description = "The query string is not valid UTF-8 in valid percent-escapes."


class MalformedCookie(MalformedRequest):
    description = "The Cookie header is not valid UTF-8."


class MalformedForm(MalformedRequest):
    description = "The form in the body is broken, or is not valid UTF-8 in valid percent-escapes."
