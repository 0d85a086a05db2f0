"""Autobahn's test suite for WebSockets against the real server: no case may fail.

The suite (`autobahntestsuite`) runs under Python 2.7 alone. Where `wstest` is on the path, or named by
CARBOY_WSTEST, it is used; elsewhere this is skipped, and `test_websocket.py` has cases of its own that always run:

    python2.7 -m pip install 'virtualenv<20.22'
    python2.7 -m virtualenv autobahn
    autobahn/bin/pip install autobahntestsuite
    CARBOY_WSTEST=autobahn/bin/wstest python -m pytest tests/resilience/test_websocket_autobahn.py

The short form takes half a minute. The long form (CARBOY_RESILIENCE=full) has compression in all sizes too, cases 12
and 13, and takes some twenty minutes, nearly all of them the suite's own.
"""

import faulthandler
import json
import os
import shutil
import subprocess
from collections import Counter

import pytest

WSTEST = os.environ.get("CARBOY_WSTEST") or shutil.which("wstest")
#: Autobahn's own words for what is well: as wanted; as wanted, though seen later than it could be; told, not judged.
WELL = {"OK", "NON-STRICT", "INFORMATIONAL"}


@pytest.mark.service
@pytest.mark.skipif(WSTEST is None, reason="needs Autobahn's wstest (Python 2.7): set CARBOY_WSTEST, see the first lines of this file")
def test_autobahn_finds_no_failure(run, folder, figure, full):
    """Framing, pings, reserved bits, opcodes, fragments, UTF-8, closes, limits; compression."""
    # Cases 9 send messages of up to 16 MB.
    served = run("--ws-max-message", "64M", ready=1, target="sockets:app")
    spec = {
        "outdir": str(folder / "reports"),
        "servers": [{"agent": "carboy", "url": f"ws://127.0.0.1:{served.port}/", "options": {"version": 18}}],
        "cases": ["*"],
        "exclude-cases": [] if full else ["9.7.*", "9.8.*", "12.*", "13.*"],
        "exclude-agent-cases": {},
    }
    (folder / "spec.json").write_text(json.dumps(spec))

    assert WSTEST is not None
    if full:
        # The suite has a time-out of its own below; a stack after 90 seconds would tell nothing.
        faulthandler.cancel_dump_traceback_later()
    command = [WSTEST, "-m", "fuzzingclient", "-s", str(folder / "spec.json")]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=3600 if full else 300)

    results = json.loads((folder / "reports" / "index.json").read_text())["carboy"]
    counts = Counter(each["behavior"] for each in results.values())
    figure("cases", ", ".join(f"{count} {name}" for name, count in counts.most_common()))
    bad = {name: each for name, each in results.items() if not {each["behavior"], each["behaviorClose"]} <= WELL}
    assert bad == {}
    assert len(results) > (500 if full else 250)
