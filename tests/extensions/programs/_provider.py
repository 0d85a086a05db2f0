"""An OAuth 2 provider in this process, as small as the programs need it."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        right = form.get("code") == ["the-code"] and form.get("grant_type") == ["authorization_code"]
        self.answer(200 if right else 400, {"access_token": "the-token", "token_type": "Bearer", "scope": "profile"} if right else {"error": "invalid_grant"})

    def do_GET(self):
        known = self.headers.get("Authorization") == "Bearer the-token"
        self.answer(200 if known else 401, {"name": "anna"} if known else {})

    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


def start():
    """Start it; give its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"
