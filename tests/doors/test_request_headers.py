"""The headers of a request, as a whole."""

from __future__ import annotations

import carboy


def test_names_are_written_alike_behind_every_door(app, client, coloured):
    """Whoever makes a dict of the headers finds each under the same name, however the client or the protocol wrote it."""

    @app.get("/")
    @coloured
    def view():
        return dict(carboy.request.headers)

    found = client.get("/", headers={"x-bottle": "red", "SEC-CH-UA": "Test", "Content-Type": "text/plain"}).json
    assert found["X-Bottle"] == "red"
    assert found["Sec-Ch-Ua"] == "Test"
    assert found["Content-Type"] == "text/plain"
    assert found["Host"] == "localhost"
    assert not [name for name in found if name != name.title()]
