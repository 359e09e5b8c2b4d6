"""A Passage of its own for every test: generated configuration, free port, ended by its handle."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from wire import ping

BINARY = os.environ.get("PASSAGE_BINARY") or str(Path(__file__).parents[2] / "target" / "debug" / "passage")
START_SECONDS_MAX = 20
EXIT_SECONDS_MAX = 20


def free_port() -> int:
    """A port below the kernel's own range, so that no outgoing connection takes it before its user does."""
    for _ in range(100):
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("0.0.0.0", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no free port between 20000 and 32000")


class Passage:
    """A running Passage. Use it in a `with` statement."""

    def __init__(self, config: str = "", environment: dict[str, str] | None = None, ready: bool = True):
        """Starts Passage with `config` below the address, without a rate limit unless `config` sets one."""
        self.port = free_port()
        self.address = ("127.0.0.1", self.port)
        self.folder = tempfile.TemporaryDirectory(prefix="passage-")
        path = Path(self.folder.name) / "passage.toml"
        limiter = "" if "[rate_limiter]" in config else "\n[rate_limiter]\nenabled = false\n"
        path.write_text(f'address = "127.0.0.1:{self.port}"\n{config}\n{limiter}\n')
        clean = {name: value for name, value in os.environ.items() if not name.startswith("PASSAGE_")}
        self.process = subprocess.Popen(
            [BINARY, "--config", str(path)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=clean | {"RUST_LOG": "info"} | (environment or {}),
            text=True,
            errors="replace",
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if ready:
            self.wait_until_ready()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    def wait_until_ready(self):
        """Returns once connections are accepted; fails with the log if that does not come."""
        deadline = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < deadline:
            assert self.process.poll() is None, f"Passage ended with {self.process.returncode}:\n{self.log()}"
            try:
                socket.create_connection(self.address, timeout=1).close()
                return
            except OSError:
                time.sleep(0.02)
        raise AssertionError(f"Passage did not listen within {START_SECONDS_MAX} s:\n{self.log()}")

    def log(self) -> str:
        return "\n".join(self.lines)

    def records(self) -> list[dict]:
        """The log lines as the JSON objects that they must be."""
        return [json.loads(line) for line in list(self.lines) if line.startswith("{")]

    def connect(self, source: str = "127.0.0.1", timeout: float = 10) -> socket.socket:
        """A plain connection from any address of 127.0.0.0/8."""
        return socket.create_connection(self.address, timeout=timeout, source_address=(source, 0))

    def resident_bytes(self) -> int:
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("the process has no VmRSS")

    def open_files(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def is_alive(self) -> bool:
        return self.process.poll() is None

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def wait(self, seconds: float = EXIT_SECONDS_MAX) -> int:
        """The exit code; fails if Passage does not end in time."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"Passage was still running after {seconds} s:\n{self.log()}") from None

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        """Ends Passage in order and holds it to a clean end, unless the test has failed already."""
        try:
            if self.is_alive():
                self.terminate()
                code = self.wait()
                assert kind is not None or code == 0, f"exit code {code}:\n{self.log()}"
            assert kind is not None or "panicked" not in self.log(), self.log()
        finally:
            if self.is_alive():
                self.process.kill()
                self.process.wait()
            self._reader.join(5)
            self.folder.cleanup()
            if kind is not None:
                print("\n".join(self.lines[-40:]), file=sys.stderr)


def ping_with(passage: Passage) -> dict:
    """The status that a ping over a new connection gets."""
    with passage.connect() as stream:
        return ping(stream)


def eventually(condition, seconds: float = 10, message: str = "it did not become true"):
    """Waits until `condition()` gives something true, and returns that."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"{message} within {seconds} s"
        time.sleep(0.02)
