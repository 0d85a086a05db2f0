"""What is safe without a word from the developer: headers, cookies, forged writes, error pages, sessions, debug."""

import importlib.util
import re
import socket
import ssl
import subprocess
import time
from pathlib import Path

import pytest

spec = importlib.util.spec_from_file_location("wire_of_resilience", Path(__file__).parent / "wire.py")
wire = importlib.util.module_from_spec(spec)
spec.loader.exec_module(wire)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """An application with nothing fitted, as one written for Flask is."""
    with wire.serving(tmp_path_factory.mktemp("plain"), target="safe:plain") as running:
        yield running


@pytest.fixture(scope="module")
def safe(tmp_path_factory):
    """One with `app.fit(Security())`."""
    with wire.serving(tmp_path_factory.mktemp("safe"), target="safe:app") as running:
        yield running


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory):
    """The same on TLS; gives a function that asks for a path."""
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    subprocess.run([*command, "-subj", "/CN=localhost", "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True)
    with wire.serving(folder, "--tls-cert", str(cert), "--tls-key", str(key), target="safe:app") as running:

        def ask(sent):
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            with context.wrap_socket(socket.create_connection(("127.0.0.1", running.port), timeout=5)) as link:
                link.sendall(sent)
                received = b""
                while chunk := link.recv(65536):
                    received += chunk
            return received.decode("latin1")

        yield ask


def ask(running, path="/", *headers, sent=None):
    return wire.exchange(running.port, sent or wire.get(path, *headers))[0].decode("latin1")


def fields(answer):
    lines = answer.partition("\r\n\r\n")[0].split("\r\n")[1:]
    return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}


def test_headers_of_a_new_application(safe):
    """nosniff, CSP with frame-ancestors and a fresh nonce, Referrer-Policy, COOP; no HSTS without TLS."""
    pages = [ask(safe, "/page") for _ in range(2)]

    said = fields(pages[0])
    nonces = [re.search(r'nonce="([^"]+)"', page)[1] for page in pages]
    assert said["x-content-type-options"] == "nosniff"
    assert said["referrer-policy"] == "strict-origin-when-cross-origin"
    assert said["cross-origin-opener-policy"] == "same-origin"
    assert "frame-ancestors 'self'" in said["content-security-policy"]
    assert f"'nonce-{nonces[0]}'" in said["content-security-policy"]
    assert nonces[0] != nonces[1]
    assert "strict-transport-security" not in said


def test_headers_and_cookies_on_tls(encrypted):
    """HSTS, and the cookie is Secure."""
    said = fields(encrypted(wire.get("/")))

    assert "max-age=" in said["strict-transport-security"]
    assert {"HttpOnly", "SameSite=Lax", "Secure"} <= set(said["set-cookie"].split("; "))


def test_cookies_without_tls(safe, plain):
    """HttpOnly always; SameSite=Lax in a new application."""
    new, old = fields(ask(safe))["set-cookie"], fields(ask(plain))["set-cookie"]

    assert {"HttpOnly", "SameSite=Lax"} <= set(new.split("; "))
    assert "HttpOnly" in old.split("; ")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (("Sec-Fetch-Site: cross-site", "Origin: https://evil.example"), 403),
        (("Sec-Fetch-Site: same-site",), 403),
        (("Origin: https://evil.example",), 403),
        (("Origin: null",), 403),
        (("Sec-Fetch-Site: same-origin", "Origin: http://localhost"), 200),
        (("Sec-Fetch-Site: none",), 200),
        (("Origin: http://localhost",), 200),
        ((), 200),
    ],
)
def test_writes_of_other_sites_are_refused(safe, headers, status):
    """By Sec-Fetch-Site, and by Origin where a browser sends only that; programs send neither."""
    answer = ask(safe, sent=wire.post("/write", *headers, "Content-Length: 0", "Connection: close"))

    assert wire.status_of(answer.encode("latin1")) == status


@pytest.mark.parametrize("target", ["https://evil.example", "//evil.example", "/\\evil.example", "\\\\evil.example", "javascript:1", "%09//evil.example"])
def test_redirects_stay_within_the_site(safe, target):
    """safe_redirect follows no `?next=` to another site."""
    assert fields(ask(safe, f"/next?next={target}"))["location"] in ("/fallback", "http://localhost/fallback")


@pytest.mark.parametrize("path", ["/broken", "/nowhere", "/write", "/next?%ff"])
def test_error_pages_have_no_internals(plain, path):
    """No traceback, no secret, no path of a file, no version."""
    answer = ask(plain, path)

    assert not re.search(r"(?i)traceback|hunter2|\.py\b|site-packages|werkzeug|python/|carboy|granian[ /]\d", answer)


def test_debug_is_off_and_no_version_is_told(plain):
    """`carboy run` serves with debug off; Server names no version."""
    assert ask(plain, "/debug").endswith("debug False")
    assert not re.search(r"\d", fields(ask(plain)).get("server", ""))


def test_debug_is_off_whatever_the_environment_says(run, folder):
    """FLASK_DEBUG=1 left over in an environment shows nobody a debugger."""
    (folder / "start.py").write_text("import os\nos.environ['FLASK_DEBUG'] = '1'\nfrom safe import plain as app\n")
    served = run(ready=1, target="start:app")

    broken, _ = wire.exchange(served.port, wire.get("/broken"))

    assert wire.status_of(broken) == 500
    assert b"hunter2" not in broken
    assert b"Traceback" not in broken


def test_forwarding_headers_are_not_believed(plain):
    """From loopback either."""
    answer = ask(plain, "/", "X-Forwarded-For: 6.6.6.6", "X-Forwarded-Proto: https", "X-Real-IP: 6.6.6.6")

    assert answer.endswith("scheme http client 127.0.0.1")


def test_tampered_and_expired_sessions_are_ignored(plain):
    """A cookie that was changed, cut, or is too old is no session, and no error."""
    good = re.match(r"session=([^;]+)", fields(ask(plain, "/?permanent=1"))["set-cookie"])[1]
    spoilt = [good[:-1] + ("A" if good[-1] != "A" else "B"), good[: len(good) // 2], good.replace(".", "", 1), "", "a.b.c", "." * 1000]

    answers = [ask(plain, "/user", f"Cookie: session={each}") for each in spoilt]
    fresh = ask(plain, "/user", f"Cookie: session={good}")
    time.sleep(2.1)
    expired = ask(plain, "/user", f"Cookie: session={good}")

    assert fresh.endswith("user ann")
    assert [each[-9:] for each in (*answers, expired)] == ["user None"] * 7


def test_passwords_are_hashed_slowly(plain):
    """scrypt, or PBKDF2 of at least 600,000 rounds."""
    method = ask(plain, "/hash").rpartition("\r\n\r\n")[2]

    assert method.startswith("scrypt:") or int(method.rpartition(":")[2]) >= 600_000
