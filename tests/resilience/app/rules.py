"""A Carboy application for what HTTP asks: bodies, files, conditions, values from a stranger in headers, every part of a request."""

import os
from pathlib import Path

from carboy import Carboy, Response, abort, make_response, redirect, request, send_file

here = Path(__file__).parent
(here / "static").mkdir(exist_ok=True)
(here / "static" / "seen.txt").write_text("0123456789" * 10)
(here / "secret.txt").write_text("the secret")

app = Carboy(__name__, static_folder=str(here / "static"))
app.secret_key = "for the tests"
seen: list[str] = []


@app.route("/", methods=["GET", "OPTIONS"])
def index() -> str:
    return "index"


@app.get("/n/<int:number>")
def numbered(number: int) -> str:
    return f"number {number}"


@app.post("/take")
def take() -> str:
    """The length of a body; noted, so that a test sees whether the view was reached."""
    seen.append(f"take {len(request.get_data())}")
    return f"took {len(request.get_data())}"


@app.post("/take-async")
async def take_async() -> str:
    seen.append(f"take {len(request.get_data())}")
    return f"took {len(request.get_data())}"


@app.get("/seen")
def what_was_seen() -> str:
    return ",".join(seen)


@app.route("/status/<int:code>", methods=["GET", "POST"])
def status(code: int) -> Response:
    return Response("a body that may have no place", code)


@app.get("/file")
def file() -> Response:
    return send_file(here / "static" / "seen.txt", conditional=True, etag="tag")


@app.get("/echo-header")
def echo_header() -> Response:
    return Response("fine", headers={"X-Value": request.args["v"]})


@app.get("/echo-redirect")
def echo_redirect() -> Response:
    return redirect(request.args["v"])


@app.get("/echo-cookie")
def echo_cookie() -> Response:
    response = make_response("fine")
    response.set_cookie("name", request.args["v"])
    return response


@app.get("/echo-name")
def echo_name() -> Response:
    return send_file(here / "static" / "seen.txt", as_attachment=True, download_name=request.args["v"])


@app.get("/echo-type")
def echo_type() -> Response:
    return Response("fine", mimetype=request.args["v"])


@app.route("/all", methods=["GET", "POST"])
def every_part() -> dict[str, object]:
    """Ask for each part of a request that the client can spoil."""
    return {
        "args": len(request.args.to_dict(flat=False)),
        "cookies": len(request.cookies),
        "form": len(request.form),
        "files": len(request.files),
        "json": request.get_json(silent=True) is not None,
        "authorization": str(request.authorization),
        "accept": str(request.accept_mimetypes.best),
        "languages": str(request.accept_languages.best),
        "range": str(request.range),
        "if_range": str(request.if_range),
        "since": str(request.if_modified_since),
        "tags": str(request.if_none_match),
        "date": str(request.date),
        "cache": str(request.cache_control),
        "mimetype": request.mimetype,
        "length": request.content_length,
        "url": request.url,
        "referrer": request.referrer,
    }


@app.post("/json")
def json() -> dict[str, object]:
    return {"type": type(request.get_json()).__name__}


@app.post("/form")
def form() -> dict[str, int]:
    return {"form": len(request.form), "files": len(request.files)}


@app.get("/memory")
def memory() -> dict[str, int]:
    """Resident memory of this worker, and the most it ever was, in KiB."""
    lines = Path(f"/proc/{os.getpid()}/status").read_text().splitlines()
    numbers = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines) if name in {"VmRSS", "VmHWM"}}
    return {"now": numbers["VmRSS"], "most": numbers["VmHWM"]}


@app.get("/broken")
def broken() -> str:
    raise RuntimeError("an internal secret: hunter2")


@app.get("/refused")
def refused() -> str:
    abort(418)
