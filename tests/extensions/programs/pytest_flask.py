"""A test run of its own: the fixtures `client`, `config`, `accept_json`, the pushed context, and a live server."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

from flask import Flask, jsonify, request

DISTRIBUTION = "pytest-flask"
NOTE = "`-p carboy.testing.alias` in the test run's command line."

app = Flask(__name__)
app.config["SHELF"] = "upper"


@app.get("/sync/bottle")
def sync_bottle():
    return jsonify(shelf=app.config["SHELF"], json=request.accept_mimetypes.best == "application/json")


@app.get("/async/bottle")
async def async_bottle():
    await asyncio.sleep(0)
    return jsonify(shelf=app.config["SHELF"], json=request.accept_mimetypes.best == "application/json")


TESTS = '''
import os, urllib.request, multiprocessing
import pytest
from flask import current_app, request, url_for
from programs.pytest_flask import app as program

AT = os.environ["PROGRAM_AT"]
multiprocessing.set_start_method("fork", force=True)

@pytest.fixture(scope="session")
def app():
    return program

def test_client(client, accept_json):
    answer = client.get(f"{AT}/bottle", headers=accept_json)
    assert answer.status_code == 200
    assert answer.json == {"shelf": "upper", "json": True}

def test_status_is_compared(client):
    assert client.get("/nothing") == 404

def test_config(config):
    assert config["SHELF"] == "upper"

def test_context_is_pushed(app):
    assert current_app.name == program.name
    assert url_for(AT.strip("/") + "_bottle") == f"{AT}/bottle"

@pytest.mark.options(debug=True)
def test_options(app):
    assert app.debug

@pytest.mark.usefixtures("live_server")
def test_live_server(live_server):
    url = live_server.url() + f"{AT}/bottle" if callable(live_server.url) else live_server.url + f"{AT}/bottle"
    with urllib.request.urlopen(url, timeout=10) as answer:
        assert b"upper" in answer.read()
'''


def check(client, at):
    assert client.get(f"{at}/bottle").json == {"shelf": "upper", "json": False}
    place = Path(os.environ["PROGRAM_DIR"])
    (place / "test_bottle.py").write_text(TESTS)
    alias = ["-p", "carboy.testing.alias"] if os.environ["PROGRAM_COMMAND"] == "carboy" else []
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *alias, "test_bottle.py"],
        cwd=place,
        env={**os.environ, "PROGRAM_AT": at, "PYTHONPATH": f"{Path(__file__).parents[1]}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "6 passed" in done.stdout, done.stdout + done.stderr
