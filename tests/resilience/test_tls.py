"""TLS: versions, client certificates, HTTP/2, and new certificates without loss."""

import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time

import pytest

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="certificates are made with the openssl command")


def certificate(folder, name, *extra):
    """Make a self-signed certificate for localhost; return the options that serve it."""
    cert, key = folder / f"{name}.pem", folder / f"{name}.key"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30"]
    command += ["-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(cert), *extra]
    subprocess.run(command, check=True, capture_output=True)
    return cert, key


def connected(port, *, version=None, alpn=(), client=None):
    """Shake hands as a client that trusts anybody; returns the TLS socket."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if version is not None:
        context.minimum_version = context.maximum_version = version
    if alpn:
        context.set_alpn_protocols(list(alpn))
    if client is not None:
        context.load_cert_chain(*client)
    return context.wrap_socket(socket.create_connection(("127.0.0.1", port), timeout=5), server_hostname="localhost")


def get(port, **how):
    with connected(port, **how) as link:
        link.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        received = b""
        while chunk := link.recv(4096):
            received += chunk
        return link.version(), received.rpartition(b"\r\n\r\n")[2].decode()


def test_both_versions_are_spoken_and_the_older_can_be_refused(run, folder):
    """TLS 1.2 and 1.3 by default; --tls-min 1.3 refuses 1.2."""
    cert, key = certificate(folder, "one")
    files = ("--tls-cert", str(cert), "--tls-key", str(key))
    served = run(*files, ready=1)
    strict = run(*files, "--tls-min", "1.3", "--control", str(folder / "strict.sock"), ready=None)

    assert get(served.port, version=ssl.TLSVersion.TLSv1_2)[0] == "TLSv1.2"
    assert get(served.port, version=ssl.TLSVersion.TLSv1_3)[0] == "TLSv1.3"
    until = time.monotonic() + 15
    while True:
        try:
            assert get(strict.port)[0] == "TLSv1.3"
            break
        except ConnectionRefusedError:
            assert time.monotonic() < until
            time.sleep(0.05)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        get(strict.port, version=ssl.TLSVersion.TLSv1_2)


def test_http2_only_when_asked(run, folder):
    """ALPN offers h2 only with --http auto or 2."""
    cert, key = certificate(folder, "one")
    files = ("--tls-cert", str(cert), "--tls-key", str(key))
    plain = run(*files, ready=1)

    with connected(plain.port, alpn=("h2", "http/1.1")) as link:
        assert link.selected_alpn_protocol() != "h2"
    plain.close()
    both = run(*files, "--http", "auto", ready=1)

    with connected(both.port, alpn=("h2", "http/1.1")) as link:
        assert link.selected_alpn_protocol() == "h2"


def test_clients_must_show_a_certificate(run, folder):
    """--tls-client-ca: who shows none, or another CA's, is refused."""
    cert, key = certificate(folder, "server")
    friend = certificate(folder, "friend", "-addext", "extendedKeyUsage=clientAuth")
    stranger = certificate(folder, "stranger")
    served = run("--tls-cert", str(cert), "--tls-key", str(key), "--tls-client-ca", str(friend[0]), ready=1)

    for shown in (None, stranger):
        with pytest.raises((ssl.SSLError, ConnectionError)):
            assert get(served.port, client=shown)[1] == "", "an answer without a certificate"
            raise ConnectionError
    # A CA's certificate that is itself the client's: accepted by OpenSSL and by rustls alike as a trust anchor only.
    ca_key = folder / "friend.key"
    client_cert, client_key = issue(folder, friend[0], ca_key)
    assert get(served.port, client=(client_cert, client_key))[1].startswith("one")


def issue(folder, ca_cert, ca_key):
    """A client certificate signed by that CA."""
    key, request, cert = folder / "c.key", folder / "c.csr", folder / "c.pem"
    new = ["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=client"]
    subprocess.run([*new, "-keyout", str(key), "-out", str(request)], check=True, capture_output=True)
    (folder / "ext").write_text("extendedKeyUsage=clientAuth\nsubjectAltName=DNS:client\n")
    sign = ["openssl", "x509", "-req", "-in", str(request), "-CA", str(ca_cert), "-CAkey", str(ca_key), "-CAcreateserial", "-days", "30"]
    subprocess.run([*sign, "-extfile", str(folder / "ext"), "-out", str(cert)], check=True, capture_output=True)
    return cert, key


def test_new_certificate_is_served_without_loss(run, folder, wait_until, figure):
    """New files and a reload: the next handshakes see the new certificate; no request is lost."""
    cert, key = certificate(folder, "one")
    other_cert, other_key = certificate(folder, "two")
    served = run("--tls-cert", str(cert), "--tls-key", str(key), ready=2)
    answered, failed, over = [], [], threading.Event()

    def ask():
        while not over.is_set():
            try:
                answered.append(get(served.port)[1])
            except OSError as error:
                failed.append(error)

    clients = [threading.Thread(target=ask) for _ in range(3)]
    for each in clients:
        each.start()
    before = peer(served.port)
    shutil.copy(other_cert, cert)
    shutil.copy(other_key, key)
    served.signal(signal.SIGHUP)
    wait_until(lambda: "release 2 serves" in served.text(), 15)
    time.sleep(1)
    after = {peer(served.port) for _ in range(10)}
    over.set()
    for each in clients:
        each.join()

    figure("answered, failed", (len(answered), len(failed)))
    assert after == {other_cert_der(other_cert)}
    assert before not in after
    assert failed == []


def test_broken_certificate_changes_nothing(run, folder, wait_until):
    """Files that do not belong together are reported at the reload; the old ones go on."""
    cert, key = certificate(folder, "one")
    _, other_key = certificate(folder, "two")
    served = run("--tls-cert", str(cert), "--tls-key", str(key), ready=1)
    before = served.ready()

    shutil.copy(other_key, key)
    served.signal(signal.SIGHUP)
    wait_until(lambda: "do not work together" in served.text(), 15)

    assert served.ready() == before
    assert get(served.port)[1].startswith("one")


def peer(port):
    with connected(port) as link:
        return link.getpeercert(binary_form=True)


def other_cert_der(path):
    return ssl.PEM_cert_to_DER_cert(path.read_text())
