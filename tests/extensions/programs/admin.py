"""The pages of a model: list, search, make, edit, delete; and a page of one's own in the menu."""

import asyncio
import os
from uuid import uuid4

from flask import Flask
from flask_admin import Admin, BaseView, expose
from flask_admin.contrib.sqla import ModelView
from flask_babel import Babel
from flask_sqlalchemy import SQLAlchemy

DISTRIBUTION = "Flask-Admin"

app = Flask(__name__)
app.config.update(SECRET_KEY="a key of this trial", SQLALCHEMY_DATABASE_URI=f"sqlite:///{os.environ['PROGRAM_DIR']}/admin.db")
db = SQLAlchemy(app)
Babel(app)


class Bottle(db.Model):
    id = db.Column(db.Integer, primary_key=True)
    name = db.Column(db.String(50))


class BottleView(ModelView):
    column_searchable_list = ("name",)


class SyncPage(BaseView):
    @expose("/<word>")
    def index(self, word):
        return self.render("admin/base.html").replace("</body>", f"{word}!</body>")

    @expose("/")
    def root(self):
        return "root"

    index_view = root


class AsyncPage(BaseView):
    @expose("/<word>")
    async def index(self, word):
        await asyncio.sleep(0)
        return self.render("admin/base.html").replace("</body>", f"{word}!</body>")

    @expose("/")
    async def root(self):
        return "root"


admin = Admin(app, name="Cellar")
admin.add_view(BottleView(Bottle, db))
admin.add_view(SyncPage(name="Sync page", url="/sync"))
admin.add_view(AsyncPage(name="Async page", url="/async"))
with app.app_context():
    db.create_all()


def check(client, at):
    page = client.get(f"{at}/word").text
    assert "word!</body>" in page, page[:300]
    assert "Cellar" in page
    assert "Async page" in page
    name = uuid4().hex
    made = client.post("/admin/bottle/new/", data={"name": name})
    assert made.status_code == 302
    found = client.get(f"/admin/bottle/?search={name}").text
    assert "Record was successfully created" in found
    assert name in found
    key = found.partition("/admin/bottle/edit/?id=")[2].partition("&")[0]
    assert client.post(f"/admin/bottle/edit/?id={key}", data={"name": name + "2"}).status_code == 302
    assert name + "2" in client.get(f"/admin/bottle/?search={name}").text
    assert client.post("/admin/bottle/delete/", data={"id": key}).status_code == 302
    assert name + "2" not in client.get("/admin/bottle/").text.partition("<table")[2]
    assert client.get("/admin/static/admin/css/bootstrap4/admin.css").status_code == 200
