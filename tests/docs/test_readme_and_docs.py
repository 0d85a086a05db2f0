"""What the README and the chapters say is so: their examples are files, the files run, and what is counted is counted again.

A fence that shows an example follows a comment with the file's path, and is that file letter by letter.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import time
import tomllib
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).parents[2]
DOCS = PROJECT / "docs"
EXAMPLES = DOCS / "examples"
#: The pages that this file answers for; others have tests of their own.
OWN = (
    "lifecycle", "layout", "dependencies", "quickstart", "colours", "extending", "coming-from-flask", "flask-differences", "testing",
    "doors", "index", "client", "services",
)  # fmt: skip
PAGES = {"README.md": PROJECT / "README.md"} | {f"docs/{name}.md": DOCS / f"{name}.md" for name in OWN}
FENCE = re.compile(r"(?:<!-- (?P<file>\S+) -->\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
#: Languages of examples; `console` and `text` show what a terminal shows.
SHOWN = {"python", "html", "nginx"}
DOORS = ("wsgi", "asgi", "rsgi", "cgi", "fastcgi")


def fences(page: Path) -> Iterator[tuple[str | None, str, str]]:
    for found in FENCE.finditer(page.read_text(encoding="utf-8")):
        yield found["file"], found["language"], found["text"]


# -- the pages --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PAGES)
def test_each_example_is_a_file(name: str) -> None:
    """Every fence with code names its file, and is that file."""
    for file, language, text in fences(PAGES[name]):
        if language in SHOWN:
            assert file is not None, f"{name}: this fence names no file:\n{text}"
            assert (PROJECT / file).read_text(encoding="utf-8") == text, f"{name}: the fence is not {file}"


def test_the_fences_are_seen() -> None:
    """The test above can fail: it looks at as many examples as there are markers."""
    markers = sum(page.read_text(encoding="utf-8").count("<!-- docs/examples/") for page in PAGES.values())

    assert markers == sum(file is not None for page in PAGES.values() for file, _, _ in fences(page)) > 10


def test_each_example_is_in_a_page() -> None:
    """A file that no page shows or names teaches nobody."""
    text = "".join(page.read_text(encoding="utf-8") for page in DOCS.glob("*.md"))

    unseen = [path.name for path in EXAMPLES.iterdir() if path.is_file() and f"examples/{path.name}" not in text]
    assert unseen == []


@pytest.mark.parametrize("page", ["README.md", "CHANGELOG.md", *(f"docs/{path.name}" for path in sorted(DOCS.glob("*.md")))])
def test_each_link_leads_somewhere(page: str) -> None:
    """Relative links are files."""
    path = PROJECT / page

    links = re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", path.read_text(encoding="utf-8"))

    assert [link for link in links if not (path.parent / link).exists()] == []


def test_the_two_commands_are_there() -> None:
    """`make run` and `make test`, as the README has them."""
    makefile = (PROJECT / "Makefile").read_text()

    assert all(f"$ make {verb}" in PAGES["README.md"].read_text() for verb in ("run", "test"))
    assert re.search(r"^run:.*## .*http://127\.0\.0\.1:8000", makefile, re.MULTILINE)
    assert re.search(r"^test:.*## ", makefile, re.MULTILINE)


def test_every_room_is_on_the_screen() -> None:
    """`layout.md` names what is below src/carboy, and nothing else."""
    house = PROJECT / "src" / "carboy"
    there = {path.name + "/" * path.is_dir() for path in house.iterdir() if not path.name.startswith("_") and path.name != "py.typed"}
    screen = next(text for _, language, text in fences(DOCS / "layout.md") if language == "text")

    named = set(re.findall(r"^[├└]── (\w[\w.]*/?) ", screen, re.MULTILINE)) - {"__init__.py"}
    assert named == there


def test_files_named_by_the_chapters_exist() -> None:
    """A path in `lifecycle.md` or `layout.md` is a file below src/carboy, or of the project."""
    for name in ("lifecycle", "layout"):
        text = (DOCS / f"{name}.md").read_text(encoding="utf-8")
        for path in re.findall(r"`([a-z_]+(?:/[a-z_]+)+\.py)`", text):
            assert any((root / path).exists() for root in (PROJECT / "src" / "carboy", PROJECT)), f"{name}.md: {path}"


# -- what is counted --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "door", "colour"),
    [
        ("WSGI, `def`", "wsgi", "sync"),
        ("ASGI, `async def`", "asgi", "async"),
        ("ASGI, `def` with `blocking=False`", "asgi", "inline"),
        ("RSGI, `async def`", "rsgi", "async"),
    ],
)
def test_the_walk_is_as_long_as_told(row: str, door: str, colour: str) -> None:
    """No more functions and frames than the table of `lifecycle.md` has; fewer are told by the recorded ceilings."""
    told = re.search(rf"^\| {re.escape(row)} \| (\d+) \| (\d+) \|$", (DOCS / "lifecycle.md").read_text(encoding="utf-8"), re.MULTILINE)
    spec = importlib.util.spec_from_file_location("corridor", PROJECT / "tests" / "test_corridor.py")
    assert told is not None and spec is not None and spec.loader is not None
    corridor: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(corridor)

    assert (int(told[1]), int(told[2])) == corridor.CEILINGS[door, colour], "docs/lifecycle.md tells another count than test_corridor.py"


def without_numbers(text: str) -> str:
    """Lines move with every edit, and columns with them: what is left is what a page says."""
    text = re.sub(r":\d+", ":0", text)
    return "\n".join(re.sub(r" {2,}", "  ", re.sub(r"-{3,}", "---", line)).rstrip() for line in text.strip().splitlines())


def test_the_printed_plans_are_what_is_printed(tmp_path: Path) -> None:
    """Each `carboy plan` of `lifecycle.md`, on a copy of the board."""
    pytest.importorskip("PIL", reason="the board wants pillow")
    board = shutil.copytree(PROJECT / "examples" / "board", tmp_path / "board", ignore=shutil.ignore_patterns("instance", "__pycache__"))
    shown = 0
    for _, language, text in fences(DOCS / "lifecycle.md"):
        if language != "console":
            continue
        command, _, output = text.removeprefix("$ cd examples/board\n").partition("\n")
        done = subprocess.run(
            [sys.executable, "-m", "carboy", *command.removeprefix("$ carboy ").split()],
            capture_output=True, text=True, cwd=board, env=plain_environment(), check=True,
        )  # fmt: skip
        assert without_numbers(output) == without_numbers(done.stdout), f"docs/lifecycle.md shows another plan; it is now:\n{done.stdout}"
        shown += 1
    assert shown == 3


def test_what_adopt_prints_is_what_is_printed() -> None:
    """The page that `coming-from-flask.md` shows, of the file that it shows."""
    (shown,) = (text for _, _, text in fences(DOCS / "coming-from-flask.md") if text.startswith("$ carboy adopt legacy.py"))

    done = subprocess.run(
        [sys.executable, "-m", "carboy", "adopt", "legacy.py"], capture_output=True, text=True, cwd=EXAMPLES, env=plain_environment(), check=True
    )

    assert shown.partition("\n")[2] == done.stdout


def test_each_dependency_has_its_reason() -> None:
    """What is required is in the table of `dependencies.md`, with why."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    text = (DOCS / "dependencies.md").read_text(encoding="utf-8").lower().replace("backports.zstd", "backports-zstd")

    for requirement in project["dependencies"]:
        name = re.match(r"[\w-]+", requirement)
        assert name is not None
        assert name[0] in text
    assert f"**{len(project['dependencies']) + 1} distributions**" in text


def test_importing_carboy_leaves_the_heavy_things_alone() -> None:
    """No server, event loop, form parser or compressor is loaded before somebody uses it."""
    text = "import sys, carboy; print([name for name in ('granian', 'uvloop', 'multipart', 'brotli', 'backports.zstd', 'sqlite3') if name in sys.modules])"

    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, env=plain_environment(), check=True)

    assert done.stdout.strip() == "[]"


def test_the_count_of_extensions_is_the_measured_one() -> None:
    """`coming-from-flask.md` says of the extensions what their own page says."""
    page = (DOCS / "extensions.md").read_text(encoding="utf-8")
    measured = re.search(r"^(\d+) of (\d+) do their main job in a `def` view, in an `async def` view, and served", page, re.MULTILINE)

    assert measured is not None
    assert measured[1] == measured[2], "coming-from-flask.md says that all work"
    assert f"[{measured[2]} extensions](extensions.md)" in (DOCS / "coming-from-flask.md").read_text(encoding="utf-8")


# -- the examples -----------------------------------------------------------------------------------


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Run an example's file and give its names; what it imports from beside it is forgotten afterwards."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    before = set(sys.modules)
    yield lambda name: runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name=name)
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(EXAMPLES)):
            del sys.modules[name]


def plain_environment() -> dict[str, str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("CARBOY_", "FLASK_"))}
    return environment | {"PYTHONPATH": str(PROJECT / "src"), "PYTHONDONTWRITEBYTECODE": "1"}


@pytest.mark.parametrize("door", DOORS)
def test_shop(load: Any, door: str) -> None:
    """Pages, a form, JSON, the session and the error page, through every door."""
    client = load("shop")["app"].test_client(door=door)

    assert "Airlock: 3 €" in client.get("/").text
    assert client.get("/goods/1").json == {"name": "Airlock", "price": 3}
    assert client.get("/goods/9").status_code == 404
    page = client.post("/basket", data={"number": "2"}, follow_redirects=True).text
    assert "<p>Carboy, 20 litres is in your basket.</p>" in page
    assert "1 in the basket" in page


@pytest.mark.parametrize("door", DOORS)
def test_explicit(load: Any, door: str) -> None:
    """By proxy and by parameter: the same."""
    client = load("explicit")["app"].test_client(door=door)

    by_proxy, by_parameter = client.get("/proxy").json, client.get("/parameter/3").json
    assert by_parameter == {**by_proxy, "number": 3}


@pytest.mark.parametrize("door", DOORS)
def test_colours(load: Any, door: str) -> None:
    """Each kind of view answers."""
    client = load("colours")["app"].test_client(door=door)

    assert client.get("/file").text == "read"
    assert client.get("/elsewhere").json == {"a": "A", "b": "B"}
    assert client.get("/ping").text == "pong"


@pytest.mark.parametrize("door", DOORS)
def test_extension(load: Any, door: str) -> None:
    """It greets in the browser's language, and says on what that depends."""
    app = load("greeted")["app"]
    client = app.test_client(door=door)

    french = client.get("/Ana", headers={"Accept-Language": "fr, en;q=0.5"})
    assert (french.text, french.headers["Vary"]) == ("Bonjour, Ana!", "Accept-Language")
    assert client.get("/Ana").text == "Hello, Ana!"
    assert [check(app) for name, check in app.checks if name.startswith("greeting.")] == [None]


def test_extension_checks_its_configuration(load: Any) -> None:
    """What the check is there for, and what the typed section refuses."""
    from carboy import Carboy, SetupError

    greeter = load("greeting")["Greeter"]
    wrong, broken = Carboy("wrong"), Carboy("broken")
    wrong.config["GREETING_FALLBACK"] = "tlh"
    broken.config["GREETING_FALLBACK"] = ["en"]

    wrong.fit(greeter())

    assert [check(wrong) for name, check in wrong.checks if name == "greeting.fallback"] == ["GREETING_FALLBACK is no language we speak"]
    with pytest.raises(SetupError, match="greeting"):
        broken.fit(greeter())


def test_talk(load: Any) -> None:
    """Two in a room hear each other, one in another room does not, and who comes late gets what was said."""
    app = load("realtime/talk")["app"]

    async def main() -> None:
        async with app.async_test_client() as client, client.websocket("/talk/tea") as ana, client.websocket("/talk/cake") as other:
            async with client.websocket("/talk/tea") as ben:
                await ana.send("hello")
                assert [await ana.receive(), await ben.receive()] == ["hello", "hello"]
            async with client.websocket("/talk/tea") as late:
                assert await late.receive() == "hello"
            await other.send("cake")
            assert await other.receive() == "cake"

    asyncio.run(main())


def test_life(load: Any) -> None:
    """The generator runs around the app's life."""
    app = load("life")["app"]

    async def live() -> Any:
        async with app.async_test_client() as client:
            return (await client.get("/log")).json

    assert asyncio.run(live()) == ["opened"]
    assert app.extensions["log"] == ["opened", "closed"]


@pytest.mark.parametrize("door", DOORS)
def test_mounted(load: Any, door: str) -> None:
    """A WSGI application, an app of ours, and a host of its own."""
    client = load("mounted")["app"].test_client(door=door)

    assert client.get("/old/x").text == "old, at /old"
    assert client.get("/hello/").text == "Hello!"
    assert client.get("/", base_url="http://hello.example").text == "Hello!"


@pytest.mark.parametrize("door", DOORS)
def test_legacy(load: Any, door: str) -> None:
    """A file that says `import flask` gets Carboy, and works."""
    import carboy

    app = load("legacy")["app"]

    assert type(app) is carboy.Carboy
    assert app.test_client(door=door).get("/sum?n=1&n=2").json == {"sum": 3, "served": 1}


def test_the_tests_of_the_testing_chapter_pass() -> None:
    """Its files are a project's tests, run as a project runs them."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(EXAMPLES), "-c", os.devnull, str(EXAMPLES / "test_shop.py")],
        capture_output=True, text=True, env=plain_environment(), cwd=EXAMPLES, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout
    assert "5 passed" in done.stdout


def test_cgi_script() -> None:
    """Called as a web server calls it."""
    asked = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "SERVER_NAME": "x", "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1"}

    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "cgi_script.py")], capture_output=True, env={**plain_environment(), **asked}, stdin=subprocess.DEVNULL, check=True
    )

    head, _, body = done.stdout.partition(b"\r\n\r\n")
    assert head.startswith(b"Status: 200")
    assert body == b"Hello!"


def test_a_file_with_an_application_in_it(load: Any) -> None:
    """What mod_wsgi does: run the file, call `application`."""
    environ = {
        "REQUEST_METHOD": "GET", "PATH_INFO": "/", "SERVER_NAME": "x", "SERVER_PORT": "80", "wsgi.url_scheme": "http",
        "wsgi.errors": sys.stderr, "wsgi.version": (1, 0),
    }  # fmt: skip
    said: list[str] = []

    body = load("hello_wsgi")["application"](environ, lambda status, headers, exc_info=None: said.append(status))

    assert (said, b"".join(body)) == (["200 OK"], b"Hello!")


# -- behind a web server ----------------------------------------------------------------------------


@contextmanager
def served(folder: Path, *options: str) -> Iterator[None]:
    """`carboy run` of an example that says what it sees of a request."""
    (folder / "seen.py").write_text(
        "from carboy import Carboy\napp = Carboy(__name__)\n@app.route('/<path:path>', methods=['GET', 'POST'])\n"
        "def see(path, request):\n    return {'path': path, 'scheme': request.scheme, 'host': request.host, 'client': request.remote_addr,"
        " 'body': len(request.get_data())}\n"
    )
    command = [sys.executable, "-m", "carboy", "run", "seen.py", "--workers", "1", "--control", "off", *options]
    with (folder / "carboy.out").open("wb") as out:
        process = subprocess.Popen(command, cwd=folder, stdout=out, stderr=out, env=plain_environment())
    try:
        yield
    finally:
        process.terminate()
        process.wait(20)


@pytest.mark.service
@pytest.mark.parametrize("kind", ["fastcgi", "http"])
def test_the_configuration_of_nginx_works(kind: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The file as it stands, but for the addresses, in a real nginx before a real `carboy run`."""
    sys.path.insert(0, str(PROJECT / "tests" / "gateways"))
    try:
        from nginx_server import find_nginx, free_port
    finally:
        sys.path.pop(0)
    folder = tmp_path_factory.mktemp("n")
    binary, public, private = find_nginx(), free_port(), free_port()
    text = (EXAMPLES / f"nginx-{kind}.conf").read_text()
    changed = (
        text.replace("listen 80;", f"listen 127.0.0.1:{public};")
        .replace("/run/shop.sock", f"{folder}/s")
        .replace("127.0.0.1:8000", f"127.0.0.1:{private}")
        .replace("include fastcgi_params;", "include /etc/nginx/fastcgi_params;")
    )
    temporary = "".join(f"{name}_temp_path {folder}/{name};\n" for name in ("client_body", "fastcgi", "proxy", "uwsgi", "scgi"))
    (folder / "nginx.conf").write_text(
        f"daemon off;\nmaster_process off;\npid {folder}/pid;\nerror_log {folder}/error.log;\nevents {{}}\nhttp {{\naccess_log off;\n{temporary}{changed}}}\n"
    )
    options = ("--fastcgi", f"unix:{folder}/s") if kind == "fastcgi" else ("--port", str(private), "--trusted-proxies", "127.0.0.1")
    with served(folder, *options), (folder / "nginx.out").open("wb") as out:
        nginx = subprocess.Popen([binary, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"], stdout=out, stderr=out)
        try:
            seen = asked(f"http://127.0.0.1:{public}/a%20b/c?q=1", folder)
        finally:
            nginx.terminate()
            nginx.wait(10)

    assert seen == {"path": "a b/c", "scheme": "http", "host": "shop.example", "client": "127.0.0.1", "body": 300_000}


def asked(url: str, folder: Path) -> Any:
    """A POST, again and again until both servers have started."""
    request = urllib.request.Request(url, data=b"x" * 300_000, headers={"Host": "shop.example", "Content-Type": "application/octet-stream"})
    end = time.monotonic() + 20
    while True:
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return json.load(answer)
        except OSError as error:
            if time.monotonic() > end:
                logs = "".join(path.read_text(errors="replace") for path in folder.glob("*.o*") if path.is_file())
                raise AssertionError(f"{error}\n{logs}") from error
            time.sleep(0.1)
