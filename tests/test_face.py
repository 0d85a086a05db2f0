"""The face of the package: its public names are exactly these, and it defines none of them itself."""

from __future__ import annotations

import ast
import subprocess
import sys
import types
from pathlib import Path

import carboy

NAMES = {
    "Blueprint", "Carboy", "Config", "EventStream", "Extension", "Fitting", "HTTPException", "Handler", "MethodView", "Request", "Response",
    "SessionInterface", "SetupError", "Template", "View", "WebSocket", "WebSocketDisconnect", "abort", "after_this_request", "appcontext_popped",
    "appcontext_pushed", "appcontext_tearing_down", "before_render_template", "copy_current_request_context", "current_app",
    "flash", "g", "get_flashed_messages", "get_template_attribute", "got_request_exception", "has_app_context",
    "has_request_context", "jsonify", "make_response", "message_flashed", "redirect", "render_template",
    "render_template_string", "request", "request_finished", "request_started", "request_tearing_down", "send_file",
    "send_from_directory", "session", "stream_template", "stream_template_string", "stream_with_context",
    "template_rendered", "url_for",
}  # fmt: skip

#: What a page does not need is not loaded with the face.
ROOMS_LOADED_LATER = ("cli", "server", "testing", "typed", "batteries", "observe", "generate")
#: What the face shows of the realtime room, and what that stands on; channels, tasks and the rest come when they are used.
REALTIME_LOADED = {"carboy.realtime", "carboy.realtime.leaving", "carboy.realtime.sse", "carboy.realtime.websocket"}


def test_public_names_are_exactly_these() -> None:
    """A name more or less is a decision: change this list with it."""
    found = {name for name, value in vars(carboy).items() if not name.startswith("_") and not isinstance(value, types.ModuleType)}

    assert found == NAMES


def test_each_name_is_told_to_type_checkers() -> None:
    """Every public name is imported as itself (`from .x import name as name`), which makes it public under strict typing."""
    tree = ast.parse(Path(carboy.__file__).read_text())
    told = {
        alias.asname
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname == alias.name
    }

    assert told == NAMES


def test_face_defines_nothing() -> None:
    """The file holds a docstring, imports, and the one call that lets `import flask` find this package."""
    body = ast.parse(Path(carboy.__file__).read_text()).body

    assert isinstance(body[0], ast.Expr)
    others = [node for node in body[1:] if not isinstance(node, ast.ImportFrom)]
    assert [ast.unparse(node) for node in others] == ["_install_alias()"]


def test_face_loads_only_what_an_app_needs() -> None:
    """`import carboy` loads neither the command line nor the server, nor anything for tests; nor Flask."""
    code = "import sys, carboy; print(*sorted(sys.modules))"

    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()

    rooms = {name.split(".")[1] for name in found if name.startswith("carboy.")}
    assert rooms.isdisjoint(ROOMS_LOADED_LATER)
    assert {name for name in found if name.startswith("carboy.realtime")} <= REALTIME_LOADED
    assert not {"flask", "granian", "uvloop", "pytest"} & set(found)


def test_unknown_names_of_older_flask_stay_unknown() -> None:
    """Packages probe these names to learn which Flask they run on; answering would mislead them."""
    for name in ("Markup", "Module", "escape", "_request_ctx_stack", "_app_ctx_stack", "signals_available"):
        assert not hasattr(carboy, name), name
