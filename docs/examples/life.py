from carboy import Carboy

app = Carboy(__name__)


@app.lifespan
async def log_book(app):
    app.extensions["log"] = ["opened"]  # before the first request
    yield
    app.extensions["log"].append("closed")  # after the last


@app.get("/log")
def log(app):
    return app.extensions["log"]
