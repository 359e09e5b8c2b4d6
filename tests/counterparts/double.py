"""What every small HTTP double here begins with: a server of its own, and answers that log nothing."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Answer(BaseHTTPRequestHandler):
    """Answers one request."""

    def respond(self, status: int, kind: str | None = None, body: bytes = b""):
        self.send_response(status)
        if kind is not None:
            self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class HttpDouble:
    """Listens on a free port of the loopback, `port`, until the end of its `with` block."""

    def __init__(self, answer: type[Answer]):
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), answer)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
