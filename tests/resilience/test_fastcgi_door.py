"""`carboy run --fastcgi` from outside: the limits of bodies, told by a web server's side of the protocol written here."""

import re
import socket
import struct
import time

BEGIN, ABORT, END, PARAMS, STDIN, STDOUT = 1, 2, 3, 4, 5, 6


def record(kind, content=b""):
    return struct.pack("!BBHHBx", 1, kind, 1, len(content), 0) + content


def pair(name, value):
    return bytes([len(name), len(value)]) + name.encode() + value.encode()


def ask(path, url, body=b"", declared=None, *, ends=True, wait=5.0):
    """Send a POST and read to the end of the connection; return the status and the seconds it took."""
    length = len(body) if declared is None else declared
    names = {"REQUEST_METHOD": "POST", "SCRIPT_NAME": "", "PATH_INFO": url, "HTTP_HOST": "localhost", "CONTENT_LENGTH": str(length)}
    head = record(BEGIN, struct.pack("!HB5x", 1, 0)) + record(PARAMS, b"".join(pair(*each) for each in names.items())) + record(PARAMS)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(wait)
        connection.connect(path)
        begun = time.monotonic()
        pieces = [record(STDIN, body[at : at + 60_000]) for at in range(0, len(body), 60_000)]
        try:
            connection.sendall(head + b"".join(pieces) + (record(STDIN) if ends else b""))
        except OSError:
            pass  # it has been answered before all was sent
        received = b""
        try:
            while chunk := connection.recv(65536):
                received += chunk
        except OSError:
            pass
    found = re.search(rb"Status: (\d+)", received)
    return (int(found[1]) if found else None), time.monotonic() - begun


def serve(run, folder, *options):
    run("--fastcgi", f"unix:{folder}/app.sock", *options, ready=1, target="limits:app")
    return f"{folder}/app.sock"


def test_max_body_counts(run, folder):
    """--max-body is the limit where a route says nothing; one that says more takes more."""
    path = serve(run, folder, "--max-body", "1M")

    answers = [ask(path, url, b"x" * size)[0] for url, size in (("/take", 1 << 20), ("/take", (1 << 20) + 1), ("/take-much", 5 << 20))]
    much, _ = ask(path, "/take-much", declared=65 << 20, ends=False)

    assert answers == [200, 413, 200]
    assert much == 413


def test_limit_without_an_option(run, folder):
    """16 MB where nothing is said; refused before it has come only above what any route takes, 64 MB here."""
    path = serve(run, folder)

    assert ask(path, "/take", b"x" * ((16 << 20) + 1))[0] == 413
    assert ask(path, "/take", b"x" * (16 << 20))[0] == 200
    assert ask(path, "/take", declared=(64 << 20) + 1, ends=False)[0] == 413


def test_stalled_body_is_ended(run, folder, figure):
    """A body that the web server does not bring is a 408 after --body-timeout, and the view is not called."""
    path = serve(run, folder, "--body-timeout", "1s")

    status, seconds = ask(path, "/take", b"abc", declared=10, ends=False)

    figure("stalled body (limit 1 s) ended after, seconds", f"{seconds:.2f}")
    assert status == 408
    assert seconds < 3


def test_body_cut_short_is_refused(run, folder):
    """Fewer bytes than declared: 400, never partial data."""
    path = serve(run, folder)

    assert ask(path, "/take", b"abc", declared=10)[0] == 400
