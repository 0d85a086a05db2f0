"""Calls to other servers: `await app.http.get(url)`, `app.http.sync.get(url)` in a `def`.

The requests and responses are httpx2's own. This battery keeps one pool a worker, sets time-outs, tries again what may
be tried again, stops asking who does not answer, and hands on the id of the request at hand. Nothing here opens a
connection by itself. Importing it needs httpx2 (`pip install 'carboy[http]'`), so nothing imports it before it is used.

Reading order: `settings`, `errors`, `breaker` (a table), `retry`, `delivery` (one call, its retries), `callers` (the verbs), `fake`.
"""

from __future__ import annotations

try:
    import httpx2 as httpx2  # the one place that tells how to get it
except ImportError as missing:
    raise ImportError("app.http needs httpx2, which is not installed: pip install 'carboy[http]'") from missing

from .callers import Caller as Caller
from .callers import SyncCaller as SyncCaller
from .errors import AddressRefused as AddressRefused
from .errors import CircuitOpen as CircuitOpen
from .errors import DeadlineExceeded as DeadlineExceeded
from .errors import ResponseTooLarge as ResponseTooLarge
from .errors import UnexpectedCall as UnexpectedCall
from .extension import HTTPClient as HTTPClient
from .extension import client_of as client_of
from .fake import Fake as Fake
from .fake import Route as Route
from .settings import Settings as Settings
