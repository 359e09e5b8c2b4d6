"""A Kubernetes API server over TLS that knows Agones' allocations: their schema, game servers, and faults.

The schema is that of Agones' Go package `allocation/v1`; what breaks it is answered with 422, as there.
"""

import base64
import json
import re
import shutil
import ssl
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

NEEDED = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="there is no openssl to make certificates"
)

TOKEN = "eyJ.passage.token"
LABEL = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
PATH = re.compile(r"/apis/allocation\.agones\.dev/v1/namespaces/([a-z0-9-]+)/gameserverallocations")


def label(value) -> bool:
    return isinstance(value, str) and len(value) <= 63 and bool(LABEL.fullmatch(value))


def text(value) -> bool:
    return isinstance(value, str)


def count(value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def one_of(*values):
    return lambda value: value in values


# What a value has to be: a predicate, {"*": …} for any keys, [...] for lists, else exactly these keys, of
# which those with an exclamation mark have to be there.
AVAILABLE = {"minAvailable": count, "maxAvailable": count}
SCHEMA = {
    "apiVersion!": one_of("allocation.agones.dev/v1"),
    "kind!": one_of("GameServerAllocation"),
    "metadata": {"name": text, "generateName": text, "namespace": text},
    "spec!": {
        "selectors": [
            {
                "matchLabels": {"*": label},
                "matchExpressions": [
                    {
                        "key!": text,
                        "operator!": one_of("In", "NotIn", "Exists", "DoesNotExist"),
                        "values": [label],
                    }
                ],
                "gameServerState": one_of("Ready", "Allocated"),
                "players": AVAILABLE,
                "counters": {"*": {"minCount": count, "maxCount": count, **AVAILABLE}},
                "lists": {"*": {"containsValue": text, **AVAILABLE}},
            }
        ],
        "priorities": [
            {
                "type!": one_of("Counter", "List"),
                "key!": text,
                "order": one_of("Ascending", "Descending"),
            }
        ],
        "scheduling": one_of("Packed", "Distributed"),
        "metadata": {"labels": {"*": label}, "annotations": {"*": text}},
    },
}


def problems(value, schema, path: str = "") -> list[str]:
    """Everything in a value that breaks the schema."""
    if callable(schema):
        return [] if schema(value) else [f"{path}: invalid value {value!r}"]
    if isinstance(schema, list):
        if not isinstance(value, list):
            return [f"{path}: not a list"]
        return [
            wrong for at, item in enumerate(value) for wrong in problems(item, schema[0], f"{path}[{at}]")
        ]
    if not isinstance(value, dict):
        return [f"{path}: not an object"]
    if "*" in schema:
        return [wrong for key in value for wrong in problems(value[key], schema["*"], f"{path}.{key}")]
    known = {key.rstrip("!"): below for key, below in schema.items()}
    missing = [
        f"{path}.{key[:-1]}: required" for key in schema if key.endswith("!") and key[:-1] not in value
    ]
    unknown = [f"{path}.{key}: unknown field" for key in value if key not in known]
    below = (problems(value[key], known[key], f"{path}.{key}") for key in value if key in known)
    return missing + unknown + [wrong for wrongs in below for wrong in wrongs]


@dataclass
class GameServer:
    """A game server of a fleet on this machine."""

    name: str
    port: int
    labels: dict[str, str] = field(default_factory=lambda: {"agones.dev/fleet": "lobby"})
    annotations: dict[str, str] = field(default_factory=dict)
    is_allocated: bool = False

    def status(self) -> dict:
        return {
            "state": "Allocated",
            "gameServerName": self.name,
            "ports": [{"name": "query", "port": 1}, {"name": "minecraft", "port": self.port}],
            "address": "127.0.0.1",
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "nodeName": "node-1",
            "source": "local",
            "metadata": {"labels": self.labels, "annotations": self.annotations},
        }


class Kubernetes:
    """A cluster with some game servers. `fault` spoils its answers: a delay in seconds, or an HTTP status."""

    def __init__(self, *game_servers: GameServer):
        self.folder = tempfile.TemporaryDirectory(prefix="passage-")
        self.authority, self.certificate, self.key = certificates(Path(self.folder.name))
        self.game_servers = list(game_servers)
        self.allocations: list[dict] = []
        self.rejected: list[str] = []
        self.fault: float | int | None = None
        self.contentions = 0
        self.lock = threading.Lock()
        self.server: ThreadingHTTPServer | None = None
        self.port = 0
        self.start()

    def start(self):
        """Listens, on the same port as before if there was one."""
        cluster = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                status, answer = cluster.answer(self.path, self.headers.get("authorization"), body)
                raw = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, *_):
                pass

        ThreadingHTTPServer.allow_reuse_address = True
        self.server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler, bind_and_activate=False)
        self.server.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        # The handshake belongs to a connection's own thread, not to the one that accepts.
        self.server.socket = context.wrap_socket(
            self.server.socket, server_side=True, do_handshake_on_connect=False
        )
        self.server.server_bind()
        self.server.server_activate()
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self):
        """Listens no more, and answers nobody whose connection is still open."""
        if self.server:
            self.fault = self.fault or 503
            self.server.shutdown()
            self.server.server_close()
            self.server = None

    def answer(self, path: str, authorization: str | None, body: bytes) -> tuple[int, dict]:
        found = PATH.fullmatch(path)
        if authorization != f"Bearer {TOKEN}":
            return self.reject(401, "Unauthorized")
        if not found:
            return self.reject(404, "the server could not find the requested resource")
        if found[1] != "games":
            return self.reject(
                403, f'cannot create resource "gameserverallocations" in namespace "{found[1]}"'
            )
        allocation = json.loads(body)
        if wrong := problems(allocation, SCHEMA):
            return self.reject(422, "; ".join(wrong))
        with self.lock:
            self.allocations.append(allocation)
            if self.contentions:
                self.contentions -= 1
                return 201, allocation | {
                    "status": {"state": "Contention", "gameServerName": "", "source": ""}
                }
        if isinstance(self.fault, float):
            time.sleep(self.fault)
        elif self.fault:
            return self.fault, failure(self.fault, "as the test wants it")
        with self.lock:
            chosen = self.choose(allocation["spec"])
        if not chosen:
            return 201, allocation | {"status": {"state": "UnAllocated", "gameServerName": "", "source": ""}}
        return 201, allocation | {"status": chosen.status()}

    def choose(self, spec: dict) -> GameServer | None:
        for selector in spec.get("selectors") or [{}]:
            wanted = selector.get("matchLabels", {}).items()
            for server in self.game_servers:
                if not server.is_allocated and wanted <= server.labels.items():
                    server.is_allocated = True
                    server.labels = server.labels | spec["metadata"]["labels"]
                    server.annotations = server.annotations | spec["metadata"]["annotations"]
                    return server
        return None

    def reject(self, status: int, message: str) -> tuple[int, dict]:
        self.rejected.append(f"{status}: {message}")
        return status, failure(status, message)

    def kubeconfig(self, token: str = TOKEN) -> Path:
        """A kubeconfig with the context `games`, which is not its current one."""
        authority = base64.b64encode(self.authority.read_bytes()).decode()
        cluster = {"server": f"https://127.0.0.1:{self.port}", "certificate-authority-data": authority}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "elsewhere",
            "clusters": [{"name": "here", "cluster": cluster}],
            "users": [{"name": "passage", "user": {"token": token}}],
            "contexts": [
                {"name": "games", "context": {"cluster": "here", "user": "passage", "namespace": "games"}}
            ],
        }
        path = Path(self.folder.name) / "kubeconfig"
        # YAML takes JSON as it is.
        path.write_text(json.dumps(config))
        return path

    def service_account(self) -> Path:
        """The folder that Kubernetes mounts into pods."""
        folder = Path(self.folder.name) / "serviceaccount"
        folder.mkdir(exist_ok=True)
        (folder / "token").write_text(TOKEN)
        (folder / "namespace").write_text("games")
        shutil.copy(self.authority, folder / "ca.crt")
        return folder

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.stop()
        self.folder.cleanup()


def failure(status: int, message: str) -> dict:
    return {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": status, "message": message}


def certificates(folder: Path) -> tuple[Path, Path, Path]:
    """An authority, and a certificate of its for 127.0.0.1 with its key."""

    def openssl(*arguments: str):
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True, timeout=60)

    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl(
        "req", "-x509", *new, "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=kubernetes", "-days", "2"
    )
    openssl("req", *new, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=kube-apiserver")
    (folder / "extensions").write_text("subjectAltName = IP:127.0.0.1\nbasicConstraints = CA:FALSE\n")
    sign = ("-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "extensions")
    openssl("x509", "-req", "-in", "server.csr", "-out", "server.crt", *sign)
    return folder / "ca.crt", folder / "server.crt", folder / "server.key"
