"""A project on disk for the command line to find, and a way to call the command in this process."""

import os
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from carboy.cli.carboy_group import carboy

#: A small application in every colour. Its line numbers are facts of the tests.
SHOP = """\
from carboy import Blueprint, Carboy
from carboy.standard.views import MethodView

app = Carboy(__name__)


@app.before_request
def load_user():
    return None


@app.after_request
async def stamp(response):
    return response


@app.errorhandler(404)
def not_there(error):
    return "no", 404


@app.get("/")
def index():
    return "shop"


@app.get("/items/<int:id>/")
async def item(id, request):
    return str(id)


class Orders(MethodView):
    def get(self):
        return "orders"

    async def post(self):
        return "ordered"


app.add_url_rule("/orders", view_func=Orders.as_view("orders"))

admin = Blueprint("admin", __name__, url_prefix="/admin")


@admin.before_request
async def only_staff():
    return None


@admin.get("/stock")
def stock():
    return "stock"


app.register_blueprint(admin)


@app.cli.command()
async def restock():
    "Fill the shelves."
    print("restocked", app.debug)
"""


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of the outside changes what a command does, and none that it sets stays."""
    for name in ("FLASK_RUN_FROM_CLI", "FLASK_DEBUG", "CARBOY_DEBUG", "FLASK_APP", "CARBOY_APP", "PYTHONSTARTUP"):
        monkeypatch.setenv(name, "")  # remembered, so that it is put back
        monkeypatch.delenv(name)
    for name in [name for name in os.environ if name.startswith(("FLASK_", "CARBOY_"))]:
        monkeypatch.delenv(name)


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], Path]]:
    """Write a file of a project; the project is the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = set(sys.modules)

    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        return path

    yield write
    for name in set(sys.modules) - before:
        # What lies in the project must be found anew by the next test; the house must stay as it is.
        if str(getattr(sys.modules[name], "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def shop(write: Callable[[str, str], Path]) -> str:
    """The small application as a module; gives its name."""
    write("little_shop.py", SHOP)
    return "little_shop"


@pytest.fixture
def run() -> Callable[..., Result]:
    """Call `carboy` with arguments."""

    def run(*args: str, input: str | None = None, charset: str = "utf-8") -> Result:
        return CliRunner(charset=charset).invoke(carboy, list(args), prog_name="carboy", input=input)

    return run
