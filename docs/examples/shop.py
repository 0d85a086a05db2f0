"""A small shop: pages, a form, JSON, a session, an error page."""

from carboy import Carboy, Request, abort, flash, redirect, render_template, url_for

app = Carboy(__name__)
app.secret_key = "a key for this example; make your own, and keep it to yourself"

GOODS = {1: {"name": "Airlock", "price": 3}, 2: {"name": "Carboy, 20 litres", "price": 29}}


@app.get("/")
def shelf():
    return render_template("shelf.html", goods=GOODS)


@app.get("/goods/<int:number>")
def one(number):
    return GOODS.get(number) or abort(404)


@app.post("/basket")
def put(request: Request, session):
    number = int(request.form["number"])
    session["basket"] = [*session.get("basket", []), number]
    flash(f"{GOODS[number]['name']} is in your basket.")
    return redirect(url_for("shelf"))


@app.errorhandler(404)
def not_here(error):
    return {"error": "there is no such thing here"}, 404
