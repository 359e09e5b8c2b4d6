"""Debian's dnsmasq with records of a test, and somebody in front of it who can spoil its answers."""

import shutil
import socket
import struct
import subprocess
import threading
import time

import pytest

from passage import free_port

PROGRAM = shutil.which("dnsmasq", path="/usr/sbin:/usr/bin:/sbin:/bin")
NEEDED = pytest.mark.skipif(PROGRAM is None, reason="the Debian package dnsmasq-base is not installed")
ZONE = "lobby.test"
START_SECONDS_MAX = 10
SERVFAIL = 2


class Dnsmasq:
    """A DNS server on the loopback that knows `lobby.test` alone. Its records are given as its options."""

    def __init__(self, *records: str):
        self.port = free_port()
        self.process: subprocess.Popen | None = None
        self.serve(*records)

    def serve(self, *records: str):
        """Serves these records from now on, over UDP and TCP."""
        self.stop()
        options = [
            "--conf-file=/dev/null",
            "--keep-in-foreground",
            "--pid-file=",
            "--user=root",
            "--no-resolv",
        ]
        options += ["--no-hosts", "--bind-interfaces", "--listen-address=127.0.0.1", f"--port={self.port}"]
        options += [f"--local=/{ZONE}/", "--local-ttl=1", *records]
        self.process = subprocess.Popen([PROGRAM, *options], stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + START_SECONDS_MAX
        while True:
            assert self.process.poll() is None, f"dnsmasq ended with {self.process.returncode}"
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                assert time.monotonic() < deadline, f"dnsmasq did not listen within {START_SECONDS_MAX} s"
                time.sleep(0.02)

    def stop(self):
        if self.process:
            self.process.terminate()
            self.process.wait(10)
            self.process = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class Front:
    """Passes datagrams on to a DNS server, as long as `mode` is "pass".

    In mode "slow" answers come after `delay` seconds, in "silent" never; in "servfail" they are errors.
    """

    def __init__(self, port: int, delay: float):
        self.behind = ("127.0.0.1", port)
        self.delay = delay
        self.mode = "pass"
        self.questions = 0
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                question, client = self.socket.recvfrom(4096)
            except OSError:
                return
            self.questions += 1
            threading.Thread(target=self._answer, args=(question, client, self.mode), daemon=True).start()

    def _answer(self, question: bytes, client: tuple[str, int], mode: str):
        if mode == "silent":
            return
        if mode == "slow":
            time.sleep(self.delay)
        if mode == "servfail":
            flags = struct.pack(">H", 0x8180 | SERVFAIL)
            # The question as it is, without the additional record for EDNS.
            answer = (
                question[:2]
                + flags
                + struct.pack(">4H", 1, 0, 0, 0)
                + question[12 : end_of_question(question)]
            )
        else:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as upstream:
                upstream.settimeout(5)
                upstream.sendto(question, self.behind)
                try:
                    answer = upstream.recv(65535)
                except OSError:
                    return
        try:
            self.socket.sendto(answer, client)
        except OSError:
            pass  # the test is over

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()


def end_of_question(message: bytes) -> int:
    """Where the first question of a message ends: its labels, type and class."""
    at = 12
    while message[at]:
        at += message[at] + 1
    return at + 5


def srv(port: int, priority: int = 0, weight: int = 0, host: str = "localhost") -> str:
    """The option for a record of `_minecraft._tcp.lobby.test`."""
    return f"--srv-host=_minecraft._tcp.{ZONE},{host},{port},{priority},{weight}"
