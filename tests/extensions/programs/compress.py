"""Answers compressed as the browser asks for it: gzip, Brotli, Zstandard; short ones and pictures are left as they are."""

import asyncio
import gzip
import io

import brotli
from backports import zstd
from flask import Flask, Response
from flask_compress import Compress

DISTRIBUTION = "Flask-Compress"

app = Flask(__name__)
app.config["COMPRESS_ALGORITHM_STREAMING"] = ["zstd", "br", "gzip"]
Compress(app)
TEXT = "All work and no play. " * 500


@app.get("/sync/text")
def sync_text():
    return TEXT


@app.get("/async/text")
async def async_text():
    await asyncio.sleep(0)
    return TEXT


@app.get("/sync/short")
def sync_short():
    return "short"


@app.get("/async/short")
async def async_short():
    return "short"


@app.get("/sync/picture")
def sync_picture():
    return Response(TEXT, mimetype="image/png")


@app.get("/async/picture")
async def async_picture():
    return Response(TEXT, mimetype="image/png")


@app.get("/sync/stream")
def sync_stream():
    return Response((TEXT[at : at + 1000] for at in range(0, len(TEXT), 1000)), mimetype="text/plain")


@app.get("/async/stream")
async def async_stream():
    await asyncio.sleep(0)
    return Response((TEXT[at : at + 1000] for at in range(0, len(TEXT), 1000)), mimetype="text/plain")


def check(client, at):
    opened = {"gzip": gzip.decompress, "br": brotli.decompress, "zstd": lambda data: zstd.ZstdFile(io.BytesIO(data)).read()}
    for coding, read in opened.items():
        for path in ("text", "stream"):
            answer = client.get(f"{at}/{path}", headers={"Accept-Encoding": coding})
            assert answer.headers["Content-Encoding"] == coding, path
            assert "Accept-Encoding" in answer.headers["Vary"]
            assert len(answer.data) < 2000
            assert read(answer.data).decode() == TEXT
    for path in ("short", "picture"):
        assert "Content-Encoding" not in client.get(f"{at}/{path}", headers={"Accept-Encoding": "gzip"}).headers
    assert client.get(f"{at}/text").text == TEXT
