"""Facts of `carboy plan`: a request's whole way, a step a line, in the order in which it is walked."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

Run = Callable[..., Result]


def steps(output: str) -> list[str]:
    """The lines of the table, with single blanks."""
    return [" ".join(line.split()) for line in output.partition("----")[2].splitlines()[1:]]


def test_the_way_is_told_from_the_door_to_the_teardown(run: Run, shop: str) -> None:
    """Door, match with values, hooks, what the view is given, the view, the response, hooks."""
    result = run("plan", "GET", "/items/7/", "-A", shop)

    assert result.exit_code == 0, result.output
    assert result.output.startswith("GET /items/7/: answered by item\nA plan in async colour, awaited on the event loop")
    found = steps(result.output)
    assert found[0].startswith("door ASGI ")
    assert found[1:5] == [
        "match /items/<int:id>/",
        "id = 7 by IntegerConverter",
        "before load_user sync, thread little_shop.py:7",
        "bind id, request sync",
    ]
    assert found[5] == "view item async little_shop.py:27"
    assert found[6].startswith("respond make_response ")
    assert found[7] == "after stamp async little_shop.py:12"


def test_async_steps_of_a_sync_plan_go_through_the_portal(run: Run, shop: str) -> None:
    """The blueprint's hooks stand behind the application's; the colour tells how each is called."""
    found = steps(run("plan", "GET", "/admin/stock", "-A", shop).output)

    assert "before load_user sync little_shop.py:7" in found
    assert "only_staff async, portal little_shop.py:45" in found
    assert "view stock sync little_shop.py:50" in found


@pytest.mark.parametrize(
    ("method", "line"), [("GET", "Orders.get sync little_shop.py:33"), ("POST", "Orders.post async little_shop.py:36")]
)
def test_a_class_view_is_told_by_its_method(run: Run, shop: str, method: str, line: str) -> None:
    """Each method of the class has a plan of its own colour."""
    assert f"view {line}" in steps(run("plan", method, "/orders", "-A", shop).output)


def test_the_door_decides_how_the_plan_is_driven(run: Run, shop: str) -> None:
    """The same request, by way of WSGI."""
    output = run("plan", "GET", "/", "-A", shop, "-i", "wsgi").output

    assert "there is no event loop" in output
    assert steps(output)[0].startswith("door WSGI")


def test_a_replaced_door_is_shown(run: Run, write: Callable[[str, str], Path]) -> None:
    """Middleware around the application stands where the request meets it."""
    write(
        "wrapped.py",
        """
        from carboy import Carboy

        class Proxy:
            def __init__(self, app): self.app = app
            def __call__(self, environ, start_response): return self.app(environ, start_response)

        app = Carboy(__name__)
        app.wsgi_app = Proxy(app.wsgi_app)
        """,
    )

    assert steps(run("plan", "GET", "/", "-A", "wrapped", "-i", "wsgi").output)[0] == "door WSGI wrapped.Proxy"


def test_a_miss_has_a_way_too_and_is_told_with_who_answers_it(run: Run, shop: str) -> None:
    """Hooks run, the error handler answers."""
    result = run("plan", "GET", "/nowhere", "-A", shop)

    assert "no route answers; 404 Not Found" in result.output
    found = steps(result.output)
    assert "match (no rule)" in found
    assert "before load_user sync, thread little_shop.py:7" in found or "before load_user sync little_shop.py:7" in found
    assert "error raises NotFound" in found
    assert "not_there sync little_shop.py:17" in found


def test_a_wrong_method_is_told_with_the_right_ones(run: Run, shop: str) -> None:
    """405, and what the path takes."""
    assert "405, this path takes GET, HEAD, OPTIONS, POST" in run("plan", "PUT", "/orders", "-A", shop).output


def test_a_redirect_is_told_with_its_target(run: Run, shop: str) -> None:
    """The missing slash leads on."""
    output = run("plan", "GET", "/items/7", "-A", shop).output

    assert "308 redirect to http://localhost/items/7/" in output


def test_a_mounted_application_is_named(run: Run, write: Callable[[str, str], Path]) -> None:
    """Its way is its own."""
    write(
        "mounting.py",
        """\
        from carboy import Carboy
        app = Carboy(__name__)

        def old(environ, start_response):
            return []

        app.mount("/old", old)
        """,
    )

    output = run("plan", "GET", "/old/page", "-A", "mounting").output

    assert "goes to the application mounted at /old" in output
    assert "mounting.py:4" in output


def test_method_and_path_may_be_said_the_other_way_round(run: Run, shop: str) -> None:
    """It is clear what was meant; lower case too."""
    assert run("plan", "/orders", "post", "-A", shop).output == run("plan", "POST", "/orders", "-A", shop).output


def test_what_is_no_path_is_refused(run: Run, shop: str) -> None:
    """A path begins with a slash."""
    result = run("plan", "GET", "orders", "-A", shop)

    assert result.exit_code == 2
    assert "a path begins with /" in result.stderr
