"""An error of the application's own code, shown from the application's first line on."""

import traceback
from pathlib import Path
from types import TracebackType

import click

from ..core.errors import SetupError

_HOUSE = str(Path(__file__).parent.parent)
_CLICK = str(Path(click.__file__).parent)


def tell(error: BaseException) -> int:
    """Print an error to stderr and return the exit code: 2 for a mistake in the setup, 1 for anything else."""
    if isinstance(error, SetupError):
        click.secho(f"Error: {error}", err=True, fg="red")
        if (place := _last_foreign(error.__traceback__)) is not None:
            click.echo(f"  at {place}", err=True)
        return 2
    click.echo("".join(traceback.format_exception(type(error), error, own_part(error.__traceback__))).rstrip(), err=True)
    return 1


def own_part(tb: TracebackType | None) -> TracebackType | None:
    """The traceback without the command line's frames at its beginning; whole if nothing else is in it."""
    rest = tb
    while rest is not None and _is_ours(rest.tb_frame.f_code.co_filename):
        rest = rest.tb_next
    return rest or tb


def _last_foreign(tb: TracebackType | None) -> str | None:
    """The application's line that led to the error."""
    frames = [frame for frame in traceback.extract_tb(tb) if not _is_ours(frame.filename)]
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else None


def _is_ours(path: str) -> bool:
    return path.startswith((_HOUSE, _CLICK, "<frozen"))
