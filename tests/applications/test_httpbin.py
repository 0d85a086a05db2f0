"""httpbin: requests and answers of every kind."""

from __future__ import annotations

import base64
import gzip
import io
import json

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture
def client(serve):
    return serve("httpbin", "httpbin:app").client()


def test_httpbin_answers(client):
    """What httpbin is for: it says what it was sent, and sends what it is asked for."""
    assert "httpbin" in client.get("/").text
    got = client.get("/get?a=1&a=2", headers={"X-Bottle": "red"}).json
    assert got["args"] == {"a": ["1", "2"]}
    assert got["headers"]["X-Bottle"] == "red"
    assert got["url"] == "http://localhost/get?a=1&a=2"

    posted = client.post("/post", data={"name": "anna", "photo": (io.BytesIO(b"picture"), "a.png")}).json
    assert (posted["form"], posted["files"]) == ({"name": "anna"}, {"photo": "picture"})
    assert client.put("/put", json={"litres": 0.7}).json["json"] == {"litres": 0.7}
    assert client.patch("/patch", data=b"\x00\xff").json["data"].startswith("data:application/octet-stream;base64,")
    assert client.delete("/delete").status_code == 200

    for status in (204, 304, 400, 404, 418, 500):
        assert client.get(f"/status/{status}").status_code == status
    assert client.get("/redirect/3", follow_redirects=True).json["url"].endswith("/get")
    assert [each.status_code for each in client.get("/relative-redirect/2", follow_redirects=True).history] == [302, 302]

    assert client.get("/basic-auth/anna/pass").status_code == 401
    assert client.get("/basic-auth/anna/pass", auth=("anna", "pass")).json == {"authenticated": True, "user": "anna"}
    assert client.get("/bearer", headers={"Authorization": "Bearer t"}).json["token"] == "t"

    client.get("/cookies/set?colour=red", follow_redirects=True)
    assert client.get("/cookies").json == {"cookies": {"colour": "red"}}
    client.get("/cookies/delete?colour", follow_redirects=True)
    assert client.get("/cookies").json == {"cookies": {}}

    assert json.loads(gzip.decompress(client.get("/gzip").data))["gzipped"] is True
    assert client.get("/etag/x", headers={"If-None-Match": "x"}).status_code == 304
    part = client.get("/range/1000", headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.data, part.headers["Content-Range"]) == (206, b"klmnopqrst", "bytes 10-19/1000")
    assert len(client.get("/bytes/5000?seed=1").data) == 5000
    lines = client.get("/stream/20").text.splitlines()
    assert [json.loads(line)["id"] for line in lines] == list(range(20))
    assert len(client.get("/drip?numbytes=20&duration=1&delay=0").data) == 20
    assert client.get("/delay/1").status_code == 200
    assert client.get("/image/png").data.startswith(b"\x89PNG")
    assert client.get("/base64/" + base64.urlsafe_b64encode("Grüße".encode()).decode()).text == "Grüße"
    assert client.get("/encoding/utf8").mimetype == "text/html"
    assert client.get("/response-headers?X-One=1&X-One=2").headers.getlist("X-One") == ["1", "2"]
    assert client.get("/cache", headers={"If-Modified-Since": "Fri, 01 May 2026 00:00:00 GMT"}).status_code == 304
    assert "Allow" in client.options("/get").headers
    assert client.get("/xml").mimetype == "application/xml"
    assert client.get("/anything/a/b?c=d").json["method"] == "GET"
