"""Uploaded files kept under a safe name in their set's folder, refused by extension, and served again."""

import asyncio
import io
import os
from uuid import uuid4

from flask import Flask, request
from flask_uploads import IMAGES, UploadNotAllowed, UploadSet, configure_uploads

DISTRIBUTION = "Flask-Reuploaded"

app = Flask(__name__)
app.config.update(UPLOADED_PHOTOS_DEST=os.environ["PROGRAM_DIR"] + "/photos", UPLOADS_AUTOSERVE=True)
photos = UploadSet("photos", IMAGES)
configure_uploads(app, photos)


@app.errorhandler(UploadNotAllowed)
def refused(error):
    return "refused", 415


@app.post("/sync/photo")
def sync_photo():
    name = photos.save(request.files["photo"])
    return {"name": name, "url": photos.url(name)}


@app.post("/async/photo")
async def async_photo():
    await asyncio.sleep(0)
    name = photos.save(request.files["photo"])
    return {"name": name, "url": photos.url(name)}


def check(client, at):
    content, key = os.urandom(600_000), uuid4().hex
    send = lambda name: client.post(f"{at}/photo", data={"photo": (io.BytesIO(content), name)})  # noqa: E731
    first, second = send(f"../{key}.png").json, send(f"{key}.png").json
    assert (first["name"], second["name"]) == (f"{key}.png", f"{key}_1.png")
    answer = client.get(first["url"])
    assert answer.data == content
    assert answer.mimetype == "image/png"
    assert send("evil.exe").status_code == 415
