"""Static files with a digest in their names, made by the `digest compile` command, and the addresses of them in pages."""

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

from flask import Flask, render_template_string
from flask_static_digest import FlaskStaticDigest

DISTRIBUTION = "Flask-Static-Digest"

static = Path(os.environ["PROGRAM_DIR"]) / "static"
made = not static.exists()
static.mkdir(exist_ok=True)
app = Flask(__name__, static_folder=str(static), static_url_path="/static")
app.config["FLASK_STATIC_DIGEST_COMPRESSION"] = ["gzip"]
digest = FlaskStaticDigest()


def compile_files():
    (static / "bottle.css").write_text("a { color: red }")
    done = subprocess.run(
        [sys.executable, "-m", os.environ["PROGRAM_COMMAND"], "--app", f"{__name__}:app", "digest", "compile"],
        cwd=Path(__file__).parents[1], capture_output=True, text=True, timeout=60, check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


if made:  # not in the command itself
    compile_files()
digest.init_app(app)
PAGE = "{{ static_url_for('static', filename='bottle.css') }}"


@app.get("/sync/page")
def sync_page():
    return render_template_string(PAGE)


@app.get("/async/page")
async def async_page():
    await asyncio.sleep(0)
    return render_template_string(PAGE)


def check(client, at):
    address = client.get(f"{at}/page").text
    assert re.fullmatch(r"/static/bottle-[0-9a-f]{32}\.css", address), address
    answer = client.get(address)
    assert answer.text == "a { color: red }"
    assert client.get(address + ".gz").status_code == 200
