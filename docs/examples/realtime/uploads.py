import hashlib
import tempfile
from pathlib import Path

from werkzeug.utils import secure_filename

from carboy import Carboy

app = Carboy(__name__)
FOLDER = Path(tempfile.mkdtemp())
GIGABYTE = 2**30


@app.put("/digest", stream=True, max_body=10 * GIGABYTE)
async def digest(request):
    found = hashlib.sha256()
    async for chunk in request.chunks():
        found.update(chunk)
    return {"sha256": found.hexdigest()}


@app.post("/videos", stream=True, max_body=10 * GIGABYTE)
async def videos(request):
    saved, title = {}, ""
    async for part in request.stream_form():
        if part.filename:
            name = secure_filename(part.filename)
            saved[name] = await part.save(FOLDER / name)
        elif part.name == "title":
            title = await part.text()
    return {"title": title, "saved": saved}


@app.post("/logs", stream=True, max_body=GIGABYTE)
def logs(request):
    lines = 0
    for part in request.stream_form():
        for chunk in part:
            lines += chunk.count(b"\n")
    return {"lines": lines}
