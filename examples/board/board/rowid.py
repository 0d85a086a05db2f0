"""The ``<id:…>`` of our URLs: a whole number that SQLite can hold; a longer one is a 404, not a crash."""

from carboy import Carboy
from werkzeug.routing import IntegerConverter, Map


class RowId(IntegerConverter):
    """Match the id of a row."""

    def __init__(self, url_map: Map) -> None:
        super().__init__(url_map, min=1, max=2**63 - 1)


def init_app(app: Carboy) -> None:
    """Let the rules of every blueprint say ``<id:post_id>``."""
    app.url_map.converters["id"] = RowId
