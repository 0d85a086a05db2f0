"""`carboy adopt PATH`: read an application written for Flask, and say what to expect of it under Carboy.

Nothing of the application is imported, run or changed: its files are parsed. The files:

    facts.py   what can be found in a file: values
    read.py    files → facts
    names.py   which of Flask's names the alias has
    known.py   what is known of extensions, settings, calls and names that are gone (known.json)
    judge.py   facts → findings, in three groups: runs, gains, look
    page.py    findings → text or JSON
"""

from __future__ import annotations

import json
from pathlib import Path

import click

from ..listing import show
from .judge import judge
from .page import as_json, lines
from .read import read_project


@click.command("adopt", short_help="Read a Flask application and say what to expect; changes nothing.")
@click.argument("path", type=click.Path(exists=True, path_type=Path), default=".")
@click.option("--json", "as_data", is_flag=True, help="Print everything that was found, as JSON.")
def adopt_command(path: Path, as_data: bool) -> None:
    """Read the Flask application in PATH, a file or a folder, and say what to expect of it.

    Nothing of it is imported, run or changed. Three groups: what runs as it is, what gains by Carboy, and what needs a
    look, with file:line and what to do.
    """
    project = read_project(path)
    findings = judge(project)
    if as_data:
        click.echo(json.dumps(as_json(project, findings), indent=2, ensure_ascii=False))
    else:
        show(lines(project, findings))
