from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory
from twisted.protocols.basic import LineOnlyReceiver

from carboy import Carboy, current_app

app = Carboy(__name__)


class Counter(LineOnlyReceiver):
    """A protocol of Twisted's, as it would be written without Carboy."""

    delimiter = b"\n"

    def lineReceived(self, line: bytes) -> None:
        # Not at the top of the file: the reactor is installed when the app starts.
        from twisted.internet import reactor, task

        app_name = current_app.name
        waited: Deferred[bytes] = task.deferLater(reactor, 0.1, lambda: line.upper())
        waited.addCallback(lambda word: self.sendLine(word + f" from {app_name}".encode()))


app.listen_tcp("127.0.0.1:7001", Factory.forProtocol(Counter), name="counter")


@app.get("/")
async def index():
    import asyncio

    from twisted.internet import reactor, task

    # A Deferred is awaited as a future of the loop that both run on.
    deferred = task.deferLater(reactor, 0.1, lambda: "from a Deferred")
    return await deferred.asFuture(asyncio.get_running_loop())
