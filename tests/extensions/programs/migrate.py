"""Migrations made, run and undone by the `db` commands in processes of their own; the schema is then used by a view."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

from flask import Flask, request
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy

DISTRIBUTION = "Flask-Migrate"
NOTE = "`carboy db …` and `python -m flask db …`."

place = Path(os.environ["PROGRAM_DIR"])
app = Flask(__name__)
app.config["SQLALCHEMY_DATABASE_URI"] = os.environ.get("PROGRAM_DATABASE", f"sqlite:///{place}/migrate.db")
db = SQLAlchemy(app)
Migrate(app, db, directory=os.environ.get("PROGRAM_MIGRATIONS", str(place / "migrations")))


class Note(db.Model):
    id = db.Column(db.Integer, primary_key=True)
    text = db.Column(db.String(99))


def command(*words, **environ):
    """Run a command line in a process of its own, as a deployment does."""
    start = [sys.executable, "-m", "carboy"]
    if os.environ.get("PROGRAM_COMMAND") == "flask":
        start = [sys.executable, "-m", "flask"]
    elif words[0] == "upgrade":
        # The `flask` command where the alias is on: the same module name, run as a program.
        start = [sys.executable, "-c", "import carboy, runpy; runpy.run_module('flask', run_name='__main__')"]
    done = subprocess.run(
        [*start, "--app", f"{__name__}:app", "db", *words], cwd=Path(__file__).parents[1],
        env={**os.environ, **environ}, capture_output=True, text=True, timeout=120, check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def migrated():
    """Take an empty database through all the commands; give what `current` said before and after."""
    key = uuid4().hex
    environ = {"PROGRAM_DATABASE": f"sqlite:///{place}/{key}.db", "PROGRAM_MIGRATIONS": str(place / key)}
    command("init", **environ)
    made = command("migrate", "-m", "notes", **environ)
    assert "Detected added table 'note'" in made, made
    before = command("current", **environ)
    command("upgrade", **environ)
    after = command("current", **environ)
    assert "(head)" not in before
    assert "(head)" in after
    command("downgrade", **environ)
    assert "(head)" not in command("current", **environ)
    return "migrated"


def use():
    from flask_migrate import init, upgrade
    from flask_migrate import migrate as make

    directory = str(place / "in-process")
    if not Path(directory).exists():
        init(directory)
        make(directory, message="notes")
        upgrade(directory)
    db.session.add(Note(text=request.form["text"]))
    db.session.commit()
    return db.session.scalars(db.select(Note.text).order_by(Note.id.desc())).first()


@app.post("/sync/commands")
def sync_commands():
    return migrated()


@app.post("/async/commands")
async def async_commands():
    return await asyncio.to_thread(migrated)


@app.post("/sync/use")
def sync_use():
    return use()


@app.post("/async/use")
async def async_use():
    await asyncio.sleep(0)
    return use()


def check(client, at):
    answer = client.post(f"{at}/commands")
    assert answer.text == "migrated", answer.text
    assert client.post(f"{at}/use", data={"text": f"from {at}"}).text == f"from {at}"
