"""What a visitor sees when something goes wrong: a page of ours, or JSON for a client of the API."""

from carboy import Carboy, redirect, render_template, request, url_for
from carboy.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException

# Status: a headline, and what to do next. What a view says in abort(404, "…") replaces the second.
PAGES = {
    400: ("That did not arrive well", "Part of the request could not be read. Please go back and try again."),
    401: ("Please log in", "This needs an account, or in the API a token."),
    403: ("Not yours to change", "You can read this, but only its author can change it."),
    404: ("Nothing here", "The page may have been deleted, or the link may be wrong."),
    405: ("Not in this way", "This address exists, but it does not take this kind of request."),
    413: ("Too big for the post", "Text and picture together may have {limit} MB. Try a smaller picture."),
    500: (
        "Something broke on our side",
        "It has been written down and we will look at it. Please try again.",
    ),
}
OTHERWISE = ("That did not work", "Please go back and try again.")


def init_app(app: Carboy) -> None:
    """Answer every HTTP error ourselves; an unexpected exception arrives here as a 500."""
    app.register_error_handler(HTTPException, show_error)


def show_error(error: HTTPException) -> ResponseReturnValue:
    """Answer an error in the way its reader understands."""
    status = error.code or 500
    for_api = request.path.startswith("/api/")
    if status == 401 and not for_api:
        onward = request.full_path.rstrip("?") if request.method == "GET" else None
        return redirect(url_for("accounts.log_in", next=onward))

    headline, advice = PAGES.get(status, OTHERWISE)
    if error.description and error.description != type(error).description:
        advice = error.description
    advice = advice.replace("{limit}", str((request.max_content_length or 0) // 2**20))

    headers = [(name, value) for name, value in error.get_headers() if name in {"Allow", "Retry-After"}]
    if for_api:
        return {"error": {"status": status, "message": advice}}, status, headers
    page = render_template("error.html", status=status, headline=headline, advice=advice)
    return page, status, headers
