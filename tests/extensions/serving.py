"""The real command for a test: `carboy run` on a free port, in a process of its own, and a client for it."""

from __future__ import annotations

import http.client
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PATIENCE = 60.0
GUARD = Path(__file__).resolve().parent / "guard"
#: Of the hop, not of the answer (RFC 9110, 7.6.1); a WSGI application may not give them.
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "upgrade"}


@contextmanager
def served(
    target: str,
    python: str | Path = sys.executable,
    *,
    cwd: Path,
    log: Path,
    options: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
) -> Iterator[int]:
    """Serve *target* with `carboy run`; gives the port, and stops the server at the end."""
    command = [str(python), "-m", "carboy", "run", "--port", "0", "--workers", "1", *options, target]
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, cwd=cwd, env=guarded(environ), stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        yield _port(process, log)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(40)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)  # the session is its own
                process.wait(10)
                raise RuntimeError("the server did not stop within 40 s of SIGTERM") from None


def guarded(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Give an environment in which loading the real Flask is an error, in this process's children too."""
    path = os.pathsep.join(filter(None, [str(GUARD), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": path, **(environ or {})}


def _port(process: subprocess.Popen[bytes], log: Path) -> int:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        said = log.read_text(errors="replace")
        found = re.search(r"^\s*at\s+http://127\.0\.0\.1:(\d+)", said, re.MULTILINE)
        if found and _answers(int(found[1])):
            return int(found[1])
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise RuntimeError(f"`carboy run` did not begin to serve:\n{log.read_text(errors='replace')[-1500:]}")


def _answers(port: int) -> bool:
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        connection.request("GET", "/__is_anybody_there__")
        connection.getresponse().read()
        connection.close()
    except (OSError, http.client.HTTPException):
        return False
    return True


def forwarding(port: int) -> Any:
    """Give a WSGI application that sends each request to 127.0.0.1:*port*: Werkzeug's test client then speaks HTTP."""

    def forward(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        headers = [
            (key[5:].replace("_", "-").title(), value) for key, value in environ.items() if key.startswith("HTTP_")
        ]
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        if environ.get("CONTENT_TYPE"):
            headers.append(("Content-Type", environ["CONTENT_TYPE"]))
        if body or environ["REQUEST_METHOD"] in {"POST", "PUT", "PATCH"}:
            headers.append(("Content-Length", str(len(body))))
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.putrequest(environ["REQUEST_METHOD"], environ["REQUEST_URI"], skip_host=True, skip_accept_encoding=True)
        for key, value in headers:
            connection.putheader(key, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        kept = [(key, value) for key, value in answer.getheaders() if key.lower() not in HOP_BY_HOP]
        start_response(f"{answer.status} {answer.reason}", kept)
        return [content]

    return forward
