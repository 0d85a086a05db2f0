"""What a user's editor knows of the public names; checked by mypy and pyright, never run."""

from typing import assert_type

from carboy import Blueprint, Carboy, Config, Request, Response, current_app, jsonify, request, session, url_for

app = Carboy(__name__)
assert_type(app.config, Config)
assert_type(app.testing, bool)

bp = Blueprint("bp", __name__)


@app.get("/orders/<int:id>")
def order(id: int, request: Request) -> dict[str, int]:
    """The decorator keeps the view's own type."""
    return {"id": id}


@bp.route("/later")
async def later() -> str:
    return "later"


assert_type(order(1, request), dict[str, int])
assert_type(url_for("order", id=1), str)
assert_type(jsonify(a=1), Response)
assert_type(request, Request)
assert_type(request.path, str)
assert_type(request.method, str)
assert_type(current_app, Carboy)
assert_type(current_app.debug, bool)
session["n"] = 1
