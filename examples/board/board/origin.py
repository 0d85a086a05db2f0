"""Forms of other sites are refused: no page but ours may make a visitor's browser write here (CSRF).

Every browser says where a request comes from, and no page can forge it: Sec-Fetch-Site since 2023 in
all of them, Origin before. So no hidden token is needed in any form. A client that sends neither is no
browser, carries nobody's cookies, and passes.
"""

from urllib.parse import urlsplit

from carboy import Carboy, abort, request

READS = {"GET", "HEAD", "OPTIONS", "TRACE"}


def init_app(app: Carboy) -> None:
    """Look at every request that may change something."""
    app.before_request(refuse_foreign_writes)


def refuse_foreign_writes() -> None:
    """Answer 403 to a write that a page of another site has sent."""
    if request.method not in READS and not comes_from_here():
        abort(403, "This form was sent from another site. Please open the board itself and try again.")


def comes_from_here() -> bool:
    """Say whether this request was made by our own page, or by no page at all."""
    if request.authorization and request.authorization.type == "bearer":
        return True  # a browser never adds a token by itself, so no foreign page can borrow it

    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site in {"same-origin", "none"}  # "none": typed, bookmarked, reloaded

    origin = request.headers.get("Origin")
    return origin is None or urlsplit(origin).netloc == request.host
