"""The examples of "Server-sent events" and "Streaming" in docs/realtime.md are files, and do what the page says."""

from __future__ import annotations

import hashlib
import re
import runpy
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).parents[2]
EXAMPLES = ("prices", "export", "uploads")


def load(name: str) -> Any:
    return runpy.run_path(str(PROJECT / "docs" / "examples" / "realtime" / f"{name}.py"), run_name=name)["app"]


@pytest.mark.parametrize("name", EXAMPLES)
def test_fence_is_the_file(name: str) -> None:
    """The page shows the file letter by letter."""
    path = f"docs/examples/realtime/{name}.py"
    shown = re.search(rf"<!-- {path} -->\n```python\n(.*?)^```$", (PROJECT / "docs" / "realtime.md").read_text(), re.MULTILINE | re.DOTALL)

    assert shown is not None
    assert shown[1] == (PROJECT / path).read_text()


def test_prices(door: str) -> None:
    """All prices, and those after the last that was seen."""
    client = load("prices").test_client(door=door)

    assert "new EventSource" in client.get("/").text
    assert client.get("/prices").text.startswith('retry: 2000\n\nevent: price\nid: 0\ndata: {"amount": 3}\n\n')
    assert re.findall("id: (.)", client.get("/prices", headers={"Last-Event-ID": "2"}).text) == ["3", "4"]


def test_export(door: str) -> None:
    """The request is there while the lines are made."""
    client = load("export").test_client(door=door)

    assert client.get("/goods.csv?separator=,").text == "name,price\nAirlock,3\nCarboy, 20 litres,30\n"


def test_uploads(door: str) -> None:
    """A digest, files and lines, none of them in memory."""
    client = load("uploads").test_client(door=door)
    body = b"x\n" * 100_000

    form = {"title": "Brewing", "file": (BytesIO(body), "../first film.mp4")}
    assert client.put("/digest", data=body).json == {"sha256": hashlib.sha256(body).hexdigest()}
    assert client.post("/videos", data=form, content_type="multipart/form-data").json == {
        "title": "Brewing", "saved": {"first_film.mp4": len(body)},
    }  # fmt: skip
    assert client.post("/logs", data={"log": (BytesIO(body), "log")}, content_type="multipart/form-data").json == {"lines": 100_000}
