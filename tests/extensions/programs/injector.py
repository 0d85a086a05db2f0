"""Views, hooks and class views given what they ask for by annotation; one object a request."""

import asyncio

from flask import Flask
from flask.views import MethodView
from flask_injector import FlaskInjector, request
from injector import inject, singleton

DISTRIBUTION = "Flask-Injector"

app = Flask(__name__)


class Cellar:
    def __init__(self):
        self.asked = 0


class Visit:
    pass


@app.before_request
@inject
def count(cellar: Cellar, visit: Visit):
    cellar.asked += 1
    visit.first = True


@app.get("/sync/page/<word>")
@inject
def sync_page(word, cellar: Cellar, visit: Visit):
    return {"word": word, "asked": cellar.asked, "same": getattr(visit, "first", False)}


@app.get("/async/page/<word>")
@inject
async def async_page(word, cellar: Cellar, visit: Visit):
    await asyncio.sleep(0)
    return {"word": word, "asked": cellar.asked, "same": getattr(visit, "first", False)}


class SyncClass(MethodView):
    @inject
    def __init__(self, cellar: Cellar):
        self.cellar = cellar

    def get(self):
        return {"asked": self.cellar.asked}


class AsyncClass(MethodView):
    @inject
    def __init__(self, cellar: Cellar):
        self.cellar = cellar

    async def get(self):
        await asyncio.sleep(0)
        return {"asked": self.cellar.asked}


app.add_url_rule("/sync/class", view_func=SyncClass.as_view("sync_class"))
app.add_url_rule("/async/class", view_func=AsyncClass.as_view("async_class"))


def configure(binder):
    binder.bind(Cellar, scope=singleton)
    binder.bind(Visit, scope=request)


FlaskInjector(app, modules=[configure])


def check(client, at):
    first = client.get(f"{at}/page/red").json
    assert (first["word"], first["same"]) == ("red", True)
    assert client.get(f"{at}/page/red").json["asked"] == first["asked"] + 1
    assert client.get(f"{at}/class").json == {"asked": first["asked"] + 2}
