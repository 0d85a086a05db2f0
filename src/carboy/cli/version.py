"""`carboy version`: what runs here."""

import platform
from importlib import metadata

import click

_PACKAGES = ("carboy", "werkzeug", "jinja2", "click", "granian")


def versions() -> list[tuple[str, str]]:
    """Name and version of Python and of what Carboy stands on; a package that is not installed is left out."""
    found = [("Python", platform.python_version())]
    for package in _PACKAGES:
        try:
            found.append((package.capitalize(), metadata.version(package)))
        except metadata.PackageNotFoundError:
            continue
    return found


@click.command("version", short_help="Show the versions of Carboy and of what it stands on.")
def version_command() -> None:
    """Show the versions of Carboy, Python and the libraries under it."""
    rows = versions()
    rows.sort(key=lambda row: row[0] != "Carboy")
    width = max(len(name) for name, _ in rows)
    for name, version in rows:
        click.echo(f"{name:<{width}}  {version}")
