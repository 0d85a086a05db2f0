"""Compression, and the two ways to say no."""

from carboy import Carboy, Response
from carboy.batteries.compress import Compression, uncompressed

app = Carboy(__name__)
app.config["COMPRESS_MINIMUM"] = 1000  # bytes
app.fit(Compression())


@app.get("/")
def catalogue():
    return {"items": [{"id": number, "name": f"Jar {number}"} for number in range(1000)]}


@app.get("/log")
async def log():
    async def lines():
        for number in range(100):
            yield f"line {number}: each of them can be read as soon as it was yielded, although it was compressed\n"

    return Response(lines(), mimetype="text/plain")


@app.get("/recovery-codes")
@uncompressed
def recovery_codes():
    return {"codes": [f"{number:06}" for number in range(1000)]}


@app.get("/one-answer")
def one_answer():
    response = Response("words " * 1000)
    response.compress = False
    return response
