from carboy import Carboy, Request, request

app = Carboy(__name__)


@app.get("/proxy")
def by_proxy():
    return {"agent": request.headers.get("User-Agent")}


@app.get("/parameter/<int:number>")
def by_parameter(request: Request, number: int, session, g, app):
    return {"agent": request.headers.get("User-Agent"), "number": number}
