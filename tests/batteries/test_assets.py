"""Static files under names that change with their content. Every door."""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path
from typing import Any

import pytest

import carboy
from carboy.batteries.assets import FOREVER, Assets, StaticUrls, hashed_name


@pytest.fixture
def assets(app: carboy.Carboy, root: Path) -> StaticUrls:
    """The app's URLs; it has one stylesheet."""
    (root / "static" / "css").mkdir()
    (root / "static" / "css" / "app.css").write_text("body {}")
    app.fit(Assets())
    app.add_url_rule("/url/<path:name>", view_func=url, endpoint="url")
    return app.service(StaticUrls) if carboy.has_app_context() else _service(app)


def _service(app: carboy.Carboy) -> StaticUrls:
    with app.app_context():
        return app.service(StaticUrls)


def url(name: str) -> str:
    return carboy.render_template_string("{{ static_url(name) }}", name=name)


def test_url_has_the_hash_and_is_kept_for_ever(client: Any, assets: StaticUrls) -> None:
    """What it gives may be kept a year without asking; the plain URL goes on as it was."""
    hashed = client.get("/url/css/app.css").text
    response, plain = client.get(hashed), client.get("/static/css/app.css")

    assert re.fullmatch(r"/static/css/app\.[0-9a-f]{12}\.css", hashed)
    assert (response.text, response.headers["Cache-Control"]) == ("body {}", FOREVER)
    assert response.headers["Content-Type"] == "text/css; charset=utf-8"
    assert "Expires" not in response.headers
    assert plain.headers["Cache-Control"] == "no-cache"


def test_unchanged_file_is_still_answered_with_304(client: Any, assets: StaticUrls) -> None:
    """For who asks all the same; ranges work too."""
    hashed = client.get("/url/css/app.css").text
    tag = client.get(hashed).headers["ETag"]

    again, part = client.get(hashed, headers={"If-None-Match": tag}), client.get(hashed, headers={"Range": "bytes=0-3"})

    assert (again.status_code, again.headers["Cache-Control"]) == (304, FOREVER)
    assert (part.status_code, part.text) == (206, "body")


def test_hash_of_another_release_gives_the_file_and_poisons_no_cache(client: Any, assets: StaticUrls, root: Path) -> None:
    """A page of an older release still finds its stylesheet, and no cache keeps it under that name."""
    hashed = client.get("/url/css/app.css").text
    (root / "static" / "css" / "app.css").write_text("body { color: red }")

    old = client.get(hashed)

    assert old.text == "body { color: red }"
    assert old.headers["Cache-Control"] == "no-cache"


def test_changed_file_gets_a_new_url_in_debug(client: Any, app: Any, assets: StaticUrls, root: Path) -> None:
    """In debug mode files are looked at each time; in production what is known is believed."""
    path = root / "static" / "css" / "app.css"
    first = client.get("/url/css/app.css").text
    path.write_text("body { color: red }")
    believed = client.get("/url/css/app.css").text
    app.debug = True
    looked_at = client.get("/url/css/app.css").text

    assert first == believed != looked_at
    assert client.get(looked_at).headers["Cache-Control"] == FOREVER


def test_missing_file_is_an_error_in_debug_and_a_line_in_the_log_else(client: Any, app: Any, assets: Any, caplog: Any) -> None:
    """A page must not die of a missing icon."""
    assert client.get("/url/nothing.css").text == "/static/nothing.css"
    client.get("/url/nothing.css")
    assert [record.message for record in caplog.records if "nothing.css" in record.message] == [
        f"static_url: there is no file 'nothing.css' in {app.static_folder}"
    ]
    app.testing = True
    app.config["PROPAGATE_EXCEPTIONS"] = True
    with pytest.raises(FileNotFoundError, match=r"nothing\.css"):
        client.get("/url/nothing.css")


@pytest.mark.parametrize("name", ["app.0123456789ab.css", "css/nothing.0123456789ab.css", "..%2f..%2fetc/passwd.0123456789ab", "css/app.0123456789aB.css"])
def test_hashed_name_of_no_file_is_not_found(client: Any, assets: StaticUrls, name: str) -> None:
    """Nor one that leads out of the folder."""
    assert client.get(f"/static/{name}").status_code == 404


def test_file_that_is_called_so_is_served_as_what_it_is(client: Any, assets: StaticUrls, root: Path) -> None:
    """A bundler may put hashes into names too."""
    (root / "static" / "css" / "app.0123456789ab.css").write_text("bundled")

    response = client.get("/static/css/app.0123456789ab.css")

    assert (response.text, response.headers["Cache-Control"]) == ("bundled", "no-cache")


def test_blueprint_has_its_own_files(client: Any, app: Any, tmp_path: Path) -> None:
    """By its name; nested ones by their whole name."""
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "shop.js").write_text("let a")
    app.fit(Assets())
    outer = carboy.Blueprint("outer", __name__, url_prefix="/outer")
    outer.register_blueprint(carboy.Blueprint("shop", __name__, static_folder=str(folder), static_url_path="/files", url_prefix="/shop"))
    app.register_blueprint(outer)
    app.add_url_rule("/url", view_func=lambda: carboy.render_template_string("{{ static_url('shop.js', 'outer.shop') }}"), endpoint="url")

    hashed = client.get("/url").text
    response = client.get(hashed)

    assert re.fullmatch(r"/outer/shop/files/shop\.[0-9a-f]{12}\.js", hashed)
    assert (response.text, response.headers["Cache-Control"]) == ("let a", FOREVER)


def test_strange_blueprint_is_an_error(app: Any, assets: StaticUrls) -> None:
    """It names those that have files."""
    with app.test_request_context(), pytest.raises(LookupError, match="those that have one: the app"):
        assets("a.css", "shop")


def test_view_takes_the_builder_by_its_type(client: Any, app: Any, assets: StaticUrls, coloured: Any, door: str) -> None:
    """In both colours; the app's prefix is in the URL."""

    def view(static_url: StaticUrls) -> str:
        return static_url("css/app.css")

    app.add_url_rule("/view", view_func=coloured(view), endpoint="view")

    assert client.get("/view").text == client.get("/url/css/app.css").text
    if door != "rsgi":  # which knows no prefix
        assert client.get("/view", base_url="http://localhost/prefix").text.startswith("/prefix/static/css/app.")


def test_manifest_is_made_at_the_start(app: Any, assets: StaticUrls) -> None:
    """Every file of every folder, so that no request has to read one for its hash."""

    async def live() -> None:
        await app.startup()
        await app.shutdown()

    asyncio.run(live())

    assert [os.path.basename(name) for _, name in assets.known] == ["app.css"]
    assert assets.manifest() == {"static": {"css/app.css": hashed_name("css/app.css", next(iter(assets.known.values())).hash)}}


def test_setting_turns_hashes_off(app: Any, client: Any, root: Path) -> None:
    """`ASSETS_ENABLED`: plain URLs, the templates unchanged."""
    app.config["ASSETS_ENABLED"] = False
    app.fit(Assets())
    app.add_url_rule("/url/<path:name>", view_func=url, endpoint="url")

    assert client.get("/url/a.css").text == "/static/a.css"


def test_hash_stands_before_the_ending() -> None:
    """Of which the last is the one that tells the type."""
    assert [hashed_name(name, "0") for name in ("a.css", "b/LICENSE", "a.tar.gz")] == ["a.0.css", "b/LICENSE.0", "a.tar.0.gz"]
