"""The application's start and end, in every way an application may answer."""

import asyncio
import logging

import pytest

from carboy.server.errors import WorkerFailed
from carboy.server.lifespan import Lifespan


def live(app):
    async def both():
        lifespan = Lifespan(app)
        await lifespan.start()
        state = dict(lifespan.state)
        await lifespan.stop()
        return state

    return asyncio.run(asyncio.wait_for(both(), 5))


def test_both_ends_are_told():
    """Startup before, shutdown after; the state is the application's to fill."""
    heard = []

    async def app(scope, receive, send):
        for _ in range(2):
            event = await receive()
            heard.append(event["type"])
            scope["state"]["pool"] = "open"
            await send({"type": event["type"] + ".complete"})

    assert live(app) == {"pool": "open"}
    assert heard == ["lifespan.startup", "lifespan.shutdown"]


def test_application_without_lifespan_is_served():
    """One that raises on the scope, and one that returns at once."""

    async def raises(scope, receive, send):
        raise KeyError("lifespan")

    async def returns(scope, receive, send):
        return

    assert live(raises) == live(returns) == {}


def test_failed_start_carries_its_reason():
    """The operator reads what the application said."""

    async def app(scope, receive, send):
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    with pytest.raises(WorkerFailed, match="no database"):
        live(app)


@pytest.mark.parametrize("way", ["says", "raises"])
def test_failed_end_is_logged(caplog, way):
    """Nobody can act on it, but it is not hidden."""

    async def app(scope, receive, send):
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        if way == "raises":
            raise ValueError("stuck")
        await send({"type": "lifespan.shutdown.failed", "message": "stuck"})

    with caplog.at_level(logging.ERROR, "carboy.server"):
        live(app)

    assert "stuck" in caplog.text
