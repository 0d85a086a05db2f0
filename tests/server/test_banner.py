"""The first lines: what, where, through which door, what another would trade, how to stop."""

import pytest

from carboy.server.banner import lines
from carboy.server.options import Options

BOARD = {"is": "ready", "app": "board", "routes": 42, "sync_views": 38, "async_views": 4}


def text(served, **options):
    return "\n".join(lines(served, "board:create_app", Options(**options), 2, "http://127.0.0.1:8000", True))


def test_what_and_where():
    """The application, its routes and colours, the address, the workers."""
    shown = text(BOARD, workers=2)

    assert "Carboy serves board (board:create_app, 42 routes, 38 def and 4 async def views)" in shown
    assert "http://127.0.0.1:8000  ·  2 workers" in shown
    assert "Ctrl-C" in shown
    assert "carboy ctl" in shown


@pytest.mark.parametrize(
    ("options", "views", "words"),
    [
        ({}, (1, 1), "--interface rsgi"),
        ({}, (5, 0), "--interface wsgi answers about 1.5 times as many"),
        ({"interface": "wsgi"}, (5, 0), "only behind a proxy that buffers"),
        ({"interface": "rsgi"}, (1, 1), "no back-pressure"),
        ({"fastcgi": "unix:/x"}, (1, 1), "FastCGI"),
    ],
)
def test_door_says_its_trade(options, views, words):
    """Each door says what it gives up, or what another would."""
    assert words in text({**BOARD, "sync_views": views[0], "async_views": views[1]}, **options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, None),
        ({"interface": "wsgi"}, "3 WebSocket routes are not served by this door, only by --interface asgi"),
        ({"interface": "rsgi"}, "3 WebSocket routes are not served by this door"),
        ({"fastcgi": "unix:/x"}, "3 WebSocket routes are not served by this door"),
        ({"websockets": False}, "3 WebSocket routes are not served by --no-websockets"),
    ],
)
def test_door_that_carries_no_sockets_says_so(options, words):
    """An application with WebSocket routes behind a door without them: a line says it at the start."""
    shown = text({**BOARD, "sockets": 3}, **options)

    assert words in shown if words else "WebSocket" not in shown


def test_no_door_without_sockets_is_praised_to_who_has_them():
    """What is faster and would refuse every handshake is no trade."""
    assert "--interface" not in text({**BOARD, "sockets": 3})
    assert "--interface rsgi" in text({**BOARD, "sockets": 3}, websockets=False)


def test_strangers_application_tells_nothing():
    """A plain callable has no routes to count; the line stays whole."""
    shown = lines({"is": "ready", "app": "x:app", "routes": None}, "x:app", Options(), 1, "http://h:1", False)

    assert shown[0] == "Carboy serves x:app"
    assert "carboy ctl" not in shown[-1]
