"""Behind a proxy: who is believed, and what the application then sees."""

import importlib.util
import json
import socket
from pathlib import Path

import pytest

spec = importlib.util.spec_from_file_location("wire_of_resilience", Path(__file__).parent / "wire.py")
wire = importlib.util.module_from_spec(spec)
spec.loader.exec_module(wire)

TOLD = ("X-Forwarded-For: 203.0.113.7", "X-Forwarded-Proto: https", "X-Forwarded-Host: shop.example", "X-Forwarded-Prefix: /shop")


def who(port, *headers):
    answer, _ = wire.exchange(port, wire.get("/who", *headers))
    return json.loads(answer.partition(b"\r\n\r\n")[2])


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A server that trusts its neighbours, for the tests that need no other options."""
    with wire.serving(tmp_path_factory.mktemp("served"), "--trusted-proxies", "10.0.0.0/8,127.0.0.0/8") as running:
        yield running


def test_nobody_is_believed_unless_configured(run, figure):
    """From loopback either: client, scheme, host and root are those of the connection; the log says so once."""
    served = run(ready=1, target="limits:app")

    told = [who(served.port, *TOLD), who(served.port, 'Forwarded: for=203.0.113.7;proto=https;host="shop.example"')]

    for each in told:
        assert (each["client"], each["scheme"], each["host"], each["root"]) == ("127.0.0.1", "http", "localhost", "")
    assert told[0]["forwarded"] == "203.0.113.7"
    assert served.text().count("is no trusted proxy") == 1


def test_trusted_proxy_is_believed(served):
    """X-Forwarded-* and Forwarded give the same origin; what was believed is gone from the fields."""
    one = who(served.port, *TOLD)
    other = who(served.port, 'Forwarded: for="203.0.113.7:4711";proto=https;host=shop.example, for=10.1.2.3')
    chain = who(served.port, "X-Forwarded-For: 1.1.1.1, 203.0.113.7, 10.9.9.9")

    assert (one["client"], one["scheme"], one["host"], one["root"]) == ("203.0.113.7", "https", "shop.example", "/shop")
    assert (one["path"], one["url"]) == ("/who", "https://shop.example/shop/who")
    assert one["forwarded"] is None
    assert one["route"] == ["203.0.113.7"]
    assert (other["client"], other["scheme"], other["host"]) == ("203.0.113.7", "https", "shop.example")
    assert chain["client"] == "203.0.113.7"
    assert "no trusted proxy" not in served.text()


def test_id_of_a_trusted_proxy_is_kept(served):
    """X-Request-ID of a trusted peer is the request's id."""
    answer, _ = wire.exchange(served.port, wire.get("/who", "X-Request-ID: from-the-edge"))

    assert b"x-request-id: from-the-edge\r\n" in answer
    assert b'"id":"from-the-edge"' in answer


def test_liar_behind_a_trusted_proxy(served):
    """What the client wrote itself is left of what the proxy wrote, or contradicts it, and is not believed."""
    contradicted = who(served.port, "X-Forwarded-For: 203.0.113.7", "Forwarded: for=6.6.6.6;host=evil.example")
    unknown = who(served.port, "X-Forwarded-For: 6.6.6.6, unknown")
    bad_host = who(served.port, "X-Forwarded-For: 203.0.113.7", "X-Forwarded-Host: evil/..", "X-Forwarded-Proto: javascript")
    bad_prefix = who(served.port, "X-Forwarded-Prefix: //evil.example")

    assert contradicted["client"] == "127.0.0.1"
    assert contradicted["host"] == "localhost"
    assert unknown["client"] == "127.0.0.1"
    assert (bad_host["client"], bad_host["host"], bad_host["scheme"]) == ("203.0.113.7", "localhost", "http")
    assert bad_prefix["root"] == ""


def test_only_the_headers_named_are_believed(run):
    """--proxy-headers limits what is believed to what the proxy sets itself."""
    served = run("--trusted-proxies", "127.0.0.1", "--proxy-headers", "x-forwarded-for", ready=1, target="limits:app")

    told = who(served.port, *TOLD, "Forwarded: for=6.6.6.6")

    assert (told["client"], told["scheme"], told["host"], told["root"]) == ("203.0.113.7", "http", "localhost", "")


def test_host_list_counts_for_the_host_told(run):
    """--trusted-hosts is asked about the host that the client asked the proxy for."""
    served = run("--trusted-proxies", "127.0.0.1", "--trusted-hosts", "shop.example", ready=1, target="limits:app")

    good, _ = wire.exchange(served.port, wire.get("/", "X-Forwarded-Host: shop.example"))
    evil, _ = wire.exchange(served.port, wire.get("/", "X-Forwarded-Host: evil.example"))

    assert wire.status_of(good) == 200
    assert wire.status_of(evil) == 400


def test_unix_socket_peers(run, folder, tmp_path):
    """Peers on a Unix socket are trusted as `unix`, and not otherwise."""
    path = tmp_path / "served.sock"
    served = run("--unix", str(path), "--trusted-proxies", "unix", ready=1, target="limits:app")

    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        connection.sendall(wire.get("/who", *TOLD))
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk

    assert json.loads(answer.partition(b"\r\n\r\n")[2])["client"] == "203.0.113.7"
    assert served.process.poll() is None


def test_proxy_fix_is_never_applied_twice(run, folder):
    """An application with ProxyFix: honoured alone, and without effect where the server has believed the same fields."""
    (folder / "fixed.py").write_text(
        "from werkzeug.middleware.proxy_fix import ProxyFix\n"
        "from limits import app\n"
        "app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=1, x_prefix=1)\n"
    )
    headers = ("X-Forwarded-For: 6.6.6.6, 203.0.113.7, 127.0.0.1", *TOLD[1:])

    alone = run(ready=1, target="fixed:app")
    by_fix = who(alone.port, *TOLD)
    alone.close()  # two servers would share a control socket
    both = run("--trusted-proxies", "127.0.0.1", ready=1, target="fixed:app")
    by_both = who(both.port, *headers)

    assert (by_fix["client"], by_fix["scheme"], by_fix["root"]) == ("203.0.113.7", "https", "/shop")
    assert (by_both["client"], by_both["scheme"], by_both["root"]) == ("203.0.113.7", "https", "/shop")


def test_configuration_of_the_application(run, folder):
    """TRUSTED_PROXIES in the application's configuration counts where the operator has said nothing."""
    (folder / "configured.py").write_text("from limits import app\napp.config['TRUSTED_PROXIES'] = ['127.0.0.0/8']\n")
    served = run(ready=1, target="configured:app")

    assert who(served.port, *TOLD)["client"] == "203.0.113.7"


def test_wsgi_door_sees_the_same(run):
    """Through --interface wsgi: the same origin, the same refusals, an id."""
    served = run("--interface", "wsgi", "--trusted-proxies", "127.0.0.1", "--trusted-hosts", "shop.example,localhost", ready=1, target="limits:app")

    answer, _ = wire.exchange(served.port, wire.get("/who", *TOLD))
    evil, _ = wire.exchange(served.port, wire.get("/", host="evil.example"))

    told = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert (told["client"], told["scheme"], told["host"], told["root"]) == ("203.0.113.7", "https", "shop.example", "/shop")
    assert told["url"] == "https://shop.example/shop/who"
    assert f"x-request-id: {told['id']}".encode() in answer.lower()
    assert wire.status_of(evil) == 400


def test_rsgi_door_sees_the_same_but_the_prefix(run):
    """Through --interface rsgi: client, scheme and host, and the same refusals."""
    served = run("--interface", "rsgi", "--trusted-proxies", "127.0.0.1", "--trusted-hosts", "shop.example,localhost", ready=1, target="limits:app")

    told = who(served.port, *TOLD)
    refused = [wire.exchange(served.port, sent)[0] for sent in (wire.get(host="evil.example"), wire.get(host=None), wire.get("/", "Host: shop.example"))]

    assert (told["client"], told["scheme"], told["host"]) == ("203.0.113.7", "https", "shop.example")
    assert told["forwarded"] is None
    assert [wire.status_of(each) for each in refused] == [400, 400, 400]
