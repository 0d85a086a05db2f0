"""Bundles put together and made smaller at first use, with the address that changes with them; the command that builds."""

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

from flask import Flask, render_template_string
from flask_assets import Bundle, Environment

DISTRIBUTION = "Flask-Assets"

static = Path(os.environ["PROGRAM_DIR"]) / "static"
static.mkdir(exist_ok=True)
(static / "one.css").write_text("a {\n  color: red;\n}\n")
(static / "two.css").write_text("b {\n  color: blue;\n}\n")
app = Flask(__name__, static_folder=str(static), static_url_path="/static")
assets = Environment(app)
assets.register("styles", Bundle("one.css", "two.css", filters="cssmin", output="made/styles.css"))
PAGE = "{% assets 'styles' %}<link href='{{ ASSET_URL }}'>{% endassets %}"


@app.get("/sync/page")
def sync_page():
    return render_template_string(PAGE)


@app.get("/async/page")
async def async_page():
    await asyncio.sleep(0)
    return render_template_string(PAGE)


def check(client, at):
    address = re.search(r"href='([^']+)'", client.get(f"{at}/page").text)[1]
    assert re.fullmatch(r"/static/made/styles\.css\?[0-9a-f]+", address)
    answer = client.get(address)
    assert answer.text == "a{color:red}b{color:blue}"
    assert answer.mimetype == "text/css"
    (static / "made" / "styles.css").unlink(missing_ok=True)
    done = subprocess.run(
        [sys.executable, "-m", os.environ["PROGRAM_COMMAND"], "--app", f"{__name__}:app", "assets", "build"],
        cwd=Path(__file__).parents[1], capture_output=True, text=True, timeout=60, check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (static / "made" / "styles.css").read_text() == "a{color:red}b{color:blue}"
