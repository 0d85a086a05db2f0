"""A mail server in this process, for the programs that send mail."""

import contextlib
import socket

from aiosmtpd.controller import Controller

received = []


class Handler:
    async def handle_DATA(self, server, session, envelope):
        received.append({"from": envelope.mail_from, "to": envelope.rcpt_tos, "content": envelope.content.decode()})
        return "250 OK"


def start():
    """Start it; give its port."""
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as probe:
        port = probe.getsockname()[1]
    Controller(Handler(), hostname="127.0.0.1", port=port).start()
    return port
