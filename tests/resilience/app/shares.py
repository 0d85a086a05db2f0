"""A view that waits, at the doors that `app.py` is not for."""

import os
import time

from carboy import Carboy

app = Carboy(__name__)


@app.get("/sleep/<float:seconds>")
def sleep(seconds: float) -> str:
    time.sleep(seconds)
    return f"one {os.getpid()}"
