"""Facts of `carboy routes`: the table, the tree, colour and place of each view."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

Run = Callable[..., Result]


def rows(output: str) -> list[list[str]]:
    """The cells of a table, without its titles."""
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in output.splitlines()[2:]]


def test_each_route_is_told_with_method_rule_endpoint_colour_and_place(run: Run, shop: str) -> None:
    """A class view has a line for each of its methods, each in its own colour."""
    found = rows(run("routes", shop).output)

    assert ["GET", "/", "index", "sync", "little_shop.py:22"] in found
    assert ["GET", "/items/<int:id>/", "item", "async", "little_shop.py:27"] in found
    assert ["GET", "/orders", "orders", "sync", "little_shop.py:33"] in found
    assert ["POST", "/orders", "orders", "async", "little_shop.py:36"] in found
    assert ["GET", "/admin/stock", "admin.stock", "sync", "little_shop.py:50"] in found


def test_head_and_options_are_shown_on_request(run: Run, shop: str) -> None:
    """They are answered for every rule, so they say nothing by default."""
    assert "HEAD" not in run("routes", shop).output
    assert "GET HEAD OPTIONS" in run("routes", shop, "--all-methods").output


@pytest.mark.parametrize(("sort", "column"), [("rule", 1), ("endpoint", 2), ("method", 0), ("colour", 3)])
def test_the_table_is_sorted_by_a_column(run: Run, shop: str, sort: str, column: int) -> None:
    """Any column may lead."""
    cells = [row[column] for row in rows(run("routes", shop, "--sort", sort).output)]

    assert cells == sorted(cells)


def test_sorting_by_place_counts_lines_as_numbers(run: Run, shop: str) -> None:
    """Line 9 comes before line 10."""
    places = [row[4] for row in rows(run("routes", shop, "-s", "where").output) if row[4].startswith("little_shop")]

    assert [int(place.rpartition(":")[2]) for place in places] == [22, 27, 33, 36, 50]


def test_the_tree_goes_from_module_to_url_to_view_to_line(run: Run, shop: str) -> None:
    """It shows the application as it is laid out on disk."""
    output = run("routes", shop, "--tree").output
    lines = [line.strip("├└─│ ") for line in output.splitlines()]

    start = lines.index("little_shop")
    assert lines[start + 1 : start + 3] == ["/", "GET   index        sync   little_shop.py:22"]
    assert "POST  Orders.post  async  little_shop.py:36" in lines


def test_the_tree_is_drawn_in_ascii_where_the_terminal_has_no_more(run: Run, shop: str) -> None:
    """A terminal without line drawing shows the same tree."""
    output = run("routes", shop, "--tree", charset="ascii").output

    output.encode("ascii")
    assert "`- " in output


def test_hosts_and_subdomains_have_a_column_where_there_are_any(run: Run, write: Callable[[str, str], Path]) -> None:
    """The column is left out where it would be empty."""
    write(
        "hosts.py",
        """
        from carboy import Carboy
        app = Carboy(__name__, static_folder=None, host_matching=True)
        app.add_url_rule("/a", "a", lambda: "", host="a.example")
        """,
    )

    output = run("routes", "hosts").output

    assert "Host" in output.splitlines()[0]
    assert "a.example" in output


def test_an_application_without_routes_says_so(run: Run, write: Callable[[str, str], Path]) -> None:
    """No empty table."""
    write("bare.py", "from carboy import Carboy\napp = Carboy(__name__, static_folder=None)")

    assert run("routes", "bare").output == "No routes were registered.\n"


def test_a_decorated_view_is_shown_where_it_is_written_in_the_colour_that_is_called(
    run: Run, write: Callable[[str, str], Path]
) -> None:
    """The decorator decides what runs; the reader looks for the view itself."""
    write(
        "decorated.py",
        """\
        import functools
        from carboy import Carboy

        app = Carboy(__name__, static_folder=None)

        def sync_around(view):
            @functools.wraps(view)
            def around(**values):
                return view(**values)
            return around

        @app.get("/")
        @sync_around
        async def index():
            return ""
        """,
    )

    assert rows(run("routes", "decorated").output) == [["GET", "/", "index", "sync", "decorated.py:12"]]
