"""PROXY protocol: in from HAProxy, out to HAProxy and nginx, by hand, and a flood of half-open headers."""

import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from passage import Passage, eventually, free_port
from wire import (
    Target,
    exactly,
    handshake,
    login_start,
    ping,
    proxy_v1,
    proxy_v2,
    read_proxy_v1,
    read_proxy_v2,
    until_end,
)

INWARD = '[proxy_protocol]\nenabled = true\ntrusted = ["127.0.0.1/32"]\nuntrusted = "{untrusted}"\n'
HAPROXY = pytest.mark.skipif(
    not shutil.which("haproxy"), reason="the Debian package haproxy is not installed"
)
NGINX = pytest.mark.skipif(
    not shutil.which("nginx") or not Path("/usr/lib/nginx/modules/ngx_stream_module.so").exists(),
    reason="nginx with its stream module is not installed (Debian packages nginx and libnginx-mod-stream)",
)


def relay(port: int, version: str | None) -> str:
    """A configuration that relays everybody to `port`, with a PROXY header of this version."""
    header = f'send_proxy_protocol = "{version}"\n' if version else ""
    return f"""
[[routes]]
hostname = "*"
mode = "relay"
{header}
[routes.discovery]
type = "fixed"
targets = [{{ identifier = "behind", address = "127.0.0.1:{port}" }}]
"""


@contextmanager
def daemon(command: list[str], config: str, port: int):
    """Runs a proxy of others in the foreground with `config`, until the block ends."""
    with tempfile.TemporaryDirectory(prefix="passage-") as folder:
        path = Path(folder) / "proxy.conf"
        path.write_text(config.replace("FOLDER", folder))
        process = subprocess.Popen([*command, str(path)], stdin=subprocess.DEVNULL)
        try:

            def listens():
                assert process.poll() is None, f"{command[0]} ended with {process.returncode}"
                with socket.socket() as probe:
                    return probe.connect_ex(("127.0.0.1", port)) == 0

            eventually(listens, message=f"{command[0]} did not listen")
            yield
        finally:
            process.terminate()
            process.wait(10)


def haproxy(listen: str, port: int, server: str):
    """HAProxy in TCP mode; `listen` and `server` are appended to its bind and server lines."""
    return daemon(
        ["haproxy", "-db", "-q", "-f"],
        "defaults\n mode tcp\n timeout connect 5s\n timeout client 30s\n timeout server 30s\n"
        f"listen all\n bind 127.0.0.1:{port} {listen}\n server next {server}\n",
        port,
    )


class Sources:
    """A target that reads a PROXY header and remembers who it names and what followed."""

    def __init__(self, read):
        self.read = read
        self.seen: list[tuple[tuple[str, int], bytes]] = []

    def __call__(self, stream):
        source = self.read(stream)
        expected = handshake("play.example.net", 2) + login_start("Alice")
        self.seen.append((source, exactly(stream, len(expected))))
        assert self.seen[-1][1] == expected
        stream.sendall(b"seen")


def log_in(stream):
    """Sends a login and waits for the word of the target behind the relay."""
    stream.sendall(handshake("play.example.net", 2) + login_start("Alice"))
    assert exactly(stream, 4) == b"seen"


@pytest.mark.parametrize(("version", "read"), [("v1", read_proxy_v1), ("v2", read_proxy_v2)])
def test_names_the_client_to_the_target(version, read):
    sources = Sources(read)
    with Target(sources) as target, Passage(relay(target.port, version)) as passage:
        with passage.connect(source="127.0.0.9") as client:
            own = client.getsockname()
            log_in(client)
    assert sources.seen[0][0] == own


@pytest.mark.parametrize("header", [proxy_v1, proxy_v2])
@pytest.mark.parametrize(("version", "read"), [("v1", read_proxy_v1), ("v2", read_proxy_v2)])
def test_passes_the_address_of_a_trusted_header_on(header, version, read):
    sources = Sources(read)
    config = INWARD.format(untrusted="reject") + relay(0, version)
    with Target(sources) as target:
        with Passage(config.replace("127.0.0.1:0", f"127.0.0.1:{target.port}")) as passage:
            with passage.connect() as client:
                client.sendall(header(("203.0.113.7", 4321), ("198.51.100.1", 25565)))
                log_in(client)
    assert sources.seen[0][0] == ("203.0.113.7", 4321)


@pytest.mark.parametrize("header", [b"PROXY UNKNOWN\r\n", proxy_v2(None, ("127.0.0.1", 1))])
def test_a_header_without_addresses_leaves_the_sockets_own(header):
    sources = Sources(read_proxy_v1)
    with Target(sources) as target:
        with Passage(INWARD.format(untrusted="reject") + relay(target.port, "v1")) as passage:
            with passage.connect() as client:
                own = client.getsockname()
                client.sendall(header)
                log_in(client)
    assert sources.seen[0][0] == own


def test_a_header_may_come_byte_by_byte():
    with Passage(INWARD.format(untrusted="reject")) as passage, passage.connect() as client:
        for byte in proxy_v2(("203.0.113.7", 4321), ("198.51.100.1", 25565)):
            client.sendall(bytes([byte]))
        assert ping(client)["version"]


@pytest.mark.parametrize(
    "bytes_sent",
    [
        handshake("localhost", 1),
        b"PROXY TCP4 203.0.113.7 198.51.100.1 99999 25565\r\n",
        b"PROXY TCP4 " + b"1" * 200,
        b"\r\n\r\n\0\r\nQUIT\n\x11\x11\x00\x0c" + bytes(12),
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x02" + bytes(2),
    ],
)
def test_a_trusted_peer_without_a_proper_header_is_closed(bytes_sent):
    with Passage(INWARD.format(untrusted="direct")) as passage, passage.connect() as client:
        client.sendall(bytes_sent)
        assert until_end(client) == b""


def test_an_untrusted_peer_is_rejected_or_direct():
    forged = proxy_v1(("203.0.113.7", 4321), ("198.51.100.1", 25565))
    with Passage(INWARD.format(untrusted="direct")) as passage:
        with passage.connect(source="127.0.0.2") as client:
            assert ping(client)["version"]
        with passage.connect(source="127.0.0.2") as client:
            client.sendall(forged + handshake("localhost", 1))
            assert until_end(client) == b"", "a forged header was believed"
    with Passage(INWARD.format(untrusted="reject")) as passage:
        with passage.connect(source="127.0.0.2") as client:
            assert until_end(client) == b""
        with passage.connect() as client:
            client.sendall(forged)
            assert ping(client)["version"]


@HAPROXY
@pytest.mark.parametrize("send", ["send-proxy", "send-proxy-v2"])
def test_haproxy_in_front(send):
    sources = Sources(read_proxy_v1)
    with ExitStack() as stack:
        target = stack.enter_context(Target(sources))
        config = INWARD.format(untrusted="reject") + relay(target.port, "v1")
        passage = stack.enter_context(Passage(config))
        port = free_port()
        stack.enter_context(haproxy("", port, f"127.0.0.1:{passage.port} {send}"))
        with socket.create_connection(
            ("127.0.0.1", port), timeout=10, source_address=("127.0.0.44", 0)
        ) as client:
            own = client.getsockname()
            log_in(client)
    assert sources.seen[0][0] == own


@HAPROXY
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_haproxy_behind(version):
    sources = Sources(read_proxy_v2)
    with ExitStack() as stack:
        target = stack.enter_context(Target(sources))
        port = free_port()
        stack.enter_context(haproxy("accept-proxy", port, f"127.0.0.1:{target.port} send-proxy-v2"))
        passage = stack.enter_context(Passage(relay(port, version)))
        with passage.connect(source="127.0.0.45") as client:
            own = client.getsockname()
            log_in(client)
    assert sources.seen[0][0] == own


@NGINX
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_nginx_behind(version):
    port = free_port()
    config = (
        "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\n"
        "daemon off; worker_processes 1; pid FOLDER/pid; error_log stderr error; events {}\n"
        f"stream {{ server {{ listen 127.0.0.1:{port} proxy_protocol;\n"
        ' return "$proxy_protocol_addr $proxy_protocol_port"; } }\n'
    )
    with daemon(["nginx", "-c"], config, port), Passage(relay(port, version)) as passage:
        with passage.connect(source="127.0.0.46") as client:
            own = client.getsockname()
            client.sendall(handshake("play.example.net", 2) + login_start("Alice"))
            assert until_end(client).decode() == f"{own[0]} {own[1]}"


def test_half_open_headers_delay_nobody_else():
    config = INWARD.format(untrusted="reject") + "[limits]\nhandshake = 5\n"

    def seconds_for_a_ping(passage):
        began = time.monotonic()
        with passage.connect() as client:
            client.sendall(proxy_v1(("203.0.113.7", 4321), ("198.51.100.1", 25565)))
            ping(client)
        return time.monotonic() - began

    with Passage(config) as passage, ExitStack() as stack:
        seconds_for_a_ping(passage)
        flood = [stack.enter_context(passage.connect()) for _ in range(500)]
        for index, stream in enumerate(flood):
            stream.sendall(b"PROXY TCP4 203.0.113.7"[: index % 23])
        slowest = max(seconds_for_a_ping(passage) for _ in range(20))
        assert slowest < 1.0, f"a ping took {slowest:.3f} s beside the flood"
        assert until_end(flood[-1]) == b"", "a half-open header outlives the handshake's deadline"
