"""The examples of "WebSockets" in docs/realtime.md are files, and do what the page says."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).parents[3]
FOLDER = PROJECT / "docs" / "examples" / "realtime"


@pytest.mark.parametrize("name", ["chat", "drawing", "blocking_chat", "test_chat"])
def test_example_is_a_file(name: str) -> None:
    """The page shows the file, letter by letter."""
    path = f"docs/examples/realtime/{name}.py"
    shown = re.search(rf"<!-- {path} -->\n```python\n(.*?)^```$", (PROJECT / "docs" / "realtime.md").read_text(), re.MULTILINE | re.DOTALL)

    assert shown is not None
    assert shown[1] == (PROJECT / path).read_text()


def load(name: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The example's module, of a fresh run of its file."""
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


def test_chat_by_its_own_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests that the page shows pass."""
    load("chat", monkeypatch).app.freeze()
    tests = [value for name, value in vars(load("test_chat", monkeypatch)).items() if name.startswith("test_")]

    assert len(tests) == 4
    for test in tests:
        test()


def test_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines are kept, and cleared."""
    app = load("drawing", monkeypatch).app

    with app.test_client().websocket("/draw") as ws:
        ws.send({"type": "Line", "x": 1, "y": 2})
        assert json.loads(ws.receive()) == {"lines": [{"type": "Line", "x": 1, "y": 2}]}
        ws.send({"type": "Clear"})
        assert json.loads(ws.receive()) == {"lines": []}


def test_blocking(monkeypatch: pytest.MonkeyPatch) -> None:
    """A subprotocol, an origin, a thread."""
    app = load("blocking_chat", monkeypatch).app

    with app.test_client().websocket("/upper", subprotocols=["upper.v1"], headers={"Origin": "https://app.example"}) as ws:
        assert ws.subprotocol == "upper.v1"
        ws.send("hello")
        assert ws.receive() == "HELLO"
