"""Logging in, permissions, a model's pages with the menu, its REST interface with tokens, and a view of one's own."""

import asyncio
import os
import re
from uuid import uuid4

from flask import Flask
from flask_appbuilder import AppBuilder, BaseView, Model, ModelRestApi, ModelView, expose, has_access
from flask_appbuilder.models.sqla.interface import SQLAInterface
from flask_appbuilder.utils.legacy import get_sqla_class
from sqlalchemy import Column, Integer, String

DISTRIBUTION = "Flask-AppBuilder"

app = Flask(__name__)
app.config.update(
    SECRET_KEY="a key of this trial, long enough for tokens",
    SQLALCHEMY_DATABASE_URI=f"sqlite:///{os.environ['PROGRAM_DIR']}/appbuilder.db",
    FAB_PASSWORD_COMPLEXITY_ENABLED=False,
)
db = get_sqla_class()()
db.init_app(app)


class Bottle(Model):
    __tablename__ = "bottle"
    id = Column(Integer, primary_key=True)
    name = Column(String(50), nullable=False)


class BottleView(ModelView):
    datamodel = SQLAInterface(Bottle)
    list_columns = ["name"]


class BottleApi(ModelRestApi):
    resource_name = "bottle"
    datamodel = SQLAInterface(Bottle)


class Sync(BaseView):
    route_base = "/sync"
    default_view = "page"

    @expose("/page/<word>")
    @has_access
    def page(self, word):
        return self.render_template("appbuilder/baselayout.html", appbuilder=self.appbuilder).replace("</body>", f"{word}!</body>")


class Async(BaseView):
    route_base = "/async"
    default_view = "page"

    @expose("/page/<word>")
    @has_access
    async def page(self, word):
        await asyncio.sleep(0)
        return self.render_template("appbuilder/baselayout.html", appbuilder=self.appbuilder).replace("</body>", f"{word}!</body>")


with app.app_context():
    appbuilder = AppBuilder(app, db.session)
    db.create_all()
    appbuilder.add_view(BottleView, "Bottles", category="Stock")
    appbuilder.add_api(BottleApi)
    appbuilder.add_view_no_menu(Sync)
    appbuilder.add_view_no_menu(Async)
    if not appbuilder.sm.find_user("anna"):
        appbuilder.sm.add_user("anna", "Anna", "A", "anna@shop.example", appbuilder.sm.find_role("Admin"), "pass")


def token(client, path):
    return {"csrf_token": re.search(r'name="csrf_token"[^>]*value="([^"]*)"', client.get(path).text)[1]}


def check(client, at):
    assert client.get(f"{at}/page/x").status_code == 302
    assert client.post("/login/", data={"username": "anna", "password": "pass", **token(client, "/login/")}).status_code == 302
    page = client.get(f"{at}/page/word")
    assert "word!</body>" in page.text, page.text[:300]
    assert "Bottles" in page.text, "the menu"
    name = uuid4().hex
    assert client.post("/bottleview/add", data={"name": name, **token(client, "/bottleview/add")}).status_code == 302
    assert name in client.get("/bottleview/list/").text
    guest = type(client)(client.application)
    assert guest.get("/api/v1/bottle/").status_code == 401
    login = guest.post("/api/v1/security/login", json={"username": "anna", "password": "pass", "provider": "db"})
    bearer = {"Authorization": f"Bearer {login.json['access_token']}"}
    made = guest.post("/api/v1/bottle/", json={"name": name + "2"}, headers=bearer)
    assert made.status_code == 201
    assert guest.get(f"/api/v1/bottle/{made.json['id']}", headers=bearer).json["result"] == {"name": name + "2"}
