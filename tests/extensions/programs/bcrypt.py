"""Passwords hashed and checked with the rounds of the configuration."""

import asyncio

from flask import Flask, request
from flask_bcrypt import Bcrypt

DISTRIBUTION = "Flask-Bcrypt"

app = Flask(__name__)
app.config["BCRYPT_LOG_ROUNDS"] = 4
bcrypt = Bcrypt(app)


@app.post("/sync/hash")
def sync_hash():
    return bcrypt.generate_password_hash(request.form["word"]).decode()


@app.post("/async/hash")
async def async_hash():
    return await asyncio.to_thread(lambda word: bcrypt.generate_password_hash(word).decode(), request.form["word"])


@app.post("/sync/check")
def sync_check():
    return {"right": bcrypt.check_password_hash(request.form["hash"], request.form["word"])}


@app.post("/async/check")
async def async_check():
    await asyncio.sleep(0)
    return {"right": bcrypt.check_password_hash(request.form["hash"], request.form["word"])}


def check(client, at):
    made = client.post(f"{at}/hash", data={"word": "pass"}).text
    assert made.startswith("$2b$04$"), made
    assert client.post(f"{at}/check", data={"hash": made, "word": "pass"}).json == {"right": True}
    assert client.post(f"{at}/check", data={"hash": made, "word": "Pass"}).json == {"right": False}
