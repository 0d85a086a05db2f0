"""Blueprints: prefixes, names, nesting."""

from __future__ import annotations

from carboy import Blueprint, g, request, url_for


def test_blueprint_is_registered_under_a_prefix(app, client, coloured):
    """A blueprint's rules follow its prefix; its endpoints follow its name."""
    shop = Blueprint("shop", __name__, url_prefix="/shop")

    @shop.get("/items/<int:number>")
    @coloured
    def item(number):
        return f"{request.endpoint} {request.blueprint} {number} {url_for('.item', number=number + 1)}"

    app.register_blueprint(shop)

    assert client.get("/shop/items/7").text == "shop.item shop 7 /shop/items/8"


def test_blueprint_may_be_registered_twice(app, client, coloured):
    """One blueprint under two names and prefixes is two sets of views."""
    shop = Blueprint("shop", __name__)

    @shop.get("/")
    @coloured
    def index():
        return f"{request.blueprint} {url_for('.index')}"

    app.register_blueprint(shop, url_prefix="/a")
    app.register_blueprint(shop, url_prefix="/b", name="other")

    assert client.get("/a/").text == "shop /a/"
    assert client.get("/b/").text == "other /b/"


def test_nested_blueprints_add_up(app, client, coloured):
    """Prefixes and names of nested blueprints add up from the outside."""
    world = Blueprint("world", __name__, url_prefix="/world")
    land = Blueprint("land", __name__, url_prefix="/land")
    town = Blueprint("town", __name__)

    @town.get("/view")
    @coloured
    def view():
        return {"endpoint": request.endpoint, "blueprints": request.blueprints, "url": url_for(".view")}

    land.register_blueprint(town, url_prefix="/town")
    world.register_blueprint(land)
    app.register_blueprint(world)

    assert client.get("/world/land/town/view").json == {
        "endpoint": "world.land.town.view",
        "blueprints": ["world.land.town", "world.land", "world"],
        "url": "/world/land/town/view",
    }


def test_hooks_of_nested_blueprints_run_from_the_outside(app, client, coloured):
    """Before hooks run from the app inwards, after hooks outwards; a handler inside is nearer."""
    seen = []
    outer = Blueprint("outer", __name__, url_prefix="/outer")
    inner = Blueprint("inner", __name__, url_prefix="/inner")

    def note(word):
        @coloured
        def hook(*args):
            seen.append(word)
            return args[0] if args else None

        return hook

    for name, scaffold in (("app", app), ("outer", outer), ("inner", inner)):
        scaffold.before_request(note(f"before {name}"))
        scaffold.after_request(note(f"after {name}"))

    outer.register_error_handler(KeyError, coloured(lambda error: "outer"))
    inner.register_error_handler(KeyError, coloured(lambda error: "inner"))
    outer.register_error_handler(ValueError, coloured(lambda error: "outer"))

    @inner.get("/<error>")
    @coloured
    def fail(error):
        raise {"key": KeyError, "value": ValueError}[error]

    outer.register_blueprint(inner)
    app.register_blueprint(outer)

    assert client.get("/outer/inner/key").text == "inner"
    assert seen == ["before app", "before outer", "before inner", "after inner", "after outer", "after app"]
    assert client.get("/outer/inner/value").text == "outer"


def test_prefix_may_have_variables(app, client, coloured):
    """A prefix's variable may be taken by the blueprint's preprocessor, and given back to its URLs."""
    site = Blueprint("site", __name__, url_prefix="/<language>")

    @site.url_value_preprocessor
    def take(endpoint, values):
        g.language = values.pop("language")

    @site.url_defaults
    def give(endpoint, values):
        values.setdefault("language", g.language)

    @site.get("/<page>")
    @coloured
    def show(page):
        return f"{g.language} {page} {url_for('.show', page='b')}"

    app.register_blueprint(site)

    assert client.get("/de/a").text == "de a /de/b"
