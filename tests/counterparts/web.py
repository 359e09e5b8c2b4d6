"""A plain HTTP server that gives statuses and targets: up, slow, failing, or gone and back."""

import hashlib
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Web:
    """Serves `pages` (path → any JSON) with an `ETag` each. Use it in a `with` statement."""

    def __init__(self, pages: dict):
        self.pages = pages
        self.failing: int | None = None
        self.delay = 0.0
        self.max_age: int | None = None
        self.answers: list[tuple[str, int]] = []
        self.headers: list[dict[str, str]] = []
        self.port = 0
        self.server = None
        self.start()

    def start(self):
        """Listens, on the port of before if there was one."""
        web = self

        class Answer(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                web.headers.append({name.lower(): value for name, value in self.headers.items()})
                time.sleep(web.delay)
                body = json.dumps(web.pages.get(self.path)).encode()
                tag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
                if web.failing is not None:
                    self.answer(web.failing, b"failing")
                elif self.path not in web.pages:
                    self.answer(404, b"not here")
                elif self.headers.get("If-None-Match") == tag:
                    self.answer(304, b"", tag)
                else:
                    self.answer(200, body, tag)

            def answer(self, status: int, body: bytes, tag: str | None = None):
                web.answers.append((self.path, status))
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                if tag:
                    self.send_header("ETag", tag)
                    if web.max_age is not None:
                        self.send_header("Cache-Control", f"max-age={web.max_age}")
                try:
                    self.end_headers()
                    self.wfile.write(body)
                except OSError:
                    pass  # Whoever asked has given up.

            def log_message(self, *_):
                pass

        ThreadingHTTPServer.allow_reuse_address = True
        self.server = ThreadingHTTPServer(("127.0.0.1", self.port), Answer)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        """Is gone: connections are refused."""
        self.server.shutdown()
        self.server.server_close()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def asked(self, path: str) -> int:
        return sum(1 for asked, _ in list(self.answers) if asked == path)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
