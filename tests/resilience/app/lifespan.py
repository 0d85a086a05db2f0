"""The start and the end of an ASGI application that has nothing to do at either."""


async def go_through(receive, send):
    """Answer what a server says of its lifespan, until it is over."""
    while True:
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return
