"""A client that reads every answer to its end: what is looked at here is often its headers alone."""

from __future__ import annotations

import functools
from typing import Any

import pytest

import carboy


@pytest.fixture
def client(make_client: Any, app: carboy.Carboy) -> Any:
    """A client of `app` through the door of this run."""
    client = make_client(app)
    client.open = functools.partial(client.open, buffered=True)
    return client
