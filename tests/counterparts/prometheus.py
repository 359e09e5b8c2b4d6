"""Debian's Prometheus: run on the loopback only, with `config/prometheus.yml`, and ended by its handle."""

import json
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

from double import Answer, HttpDouble
from passage import free_port

REPOSITORY = Path(__file__).parents[2]
UNPACKED = REPOSITORY / ".prometheus" / "usr" / "bin"
START_SECONDS_MAX = 30


def program(name: str) -> str | None:
    """The path of `prometheus` or `promtool`: installed, or unpacked by `tests/run`."""
    return shutil.which(name) or shutil.which(name, path=str(UNPACKED))


NEEDED = pytest.mark.skipif(
    not (program("prometheus") and program("promtool")),
    reason="the Debian package prometheus is neither installed nor unpacked in .prometheus",
)


def promtool(*arguments: str) -> str:
    """Runs promtool on the repository's files; fails with what it says."""
    command = [program("promtool"), *arguments]
    run = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, f"{' '.join(arguments)}\n{run.stdout}{run.stderr}"
    return run.stdout


class Prometheus:
    """A running Prometheus that scrapes one port of the loopback every second."""

    def __init__(self, scraped: int):
        self.port = free_port()
        self.folder = tempfile.TemporaryDirectory(prefix="prometheus-")
        folder = Path(self.folder.name)
        shipped = (REPOSITORY / "config" / "prometheus.yml").read_text()
        target = ("'otel-collector:8889'", f"'127.0.0.1:{scraped}'")
        for old, new in [target, ("scrape_interval: 15s", "scrape_interval: 1s")]:
            assert shipped.count(old) == 1, f"{old} is not in config/prometheus.yml once"
            shipped = shipped.replace(old, new)
        (folder / "prometheus.yml").write_text(shipped)
        rules = (REPOSITORY / "config" / "alerting-rules.yml").read_text()
        assert "interval: 30s" in rules
        (folder / "alerting-rules.yml").write_text(rules.replace("interval: 30s", "interval: 1s"))
        self.log = (folder / "log").open("w+")
        self.process = subprocess.Popen(
            [
                program("prometheus"),
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{self.port}",
                "--enable-feature=exemplar-storage",
                "--log.level=warn",
            ],
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=subprocess.STDOUT,
            cwd=folder,
        )

    def fetch(self, path: str, **parameters: str):
        """What the API answers; fails with the reason that it gives."""
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=20) as response:
                answer = json.load(response)
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters}: {error.read().decode()}") from None
        assert answer["status"] == "success", answer
        return answer["data"]

    def query(self, query: str) -> list[tuple[dict, float]]:
        """The series that a query gives now, each with its labels and value."""
        data = self.fetch("query", query=query)
        assert data["resultType"] == "vector", data
        return [(series["metric"], float(series["value"][1])) for series in data["result"]]

    def value(self, query: str) -> float:
        """The value of the only series that a query gives."""
        series = self.query(query)
        assert len(series) == 1, f"{query}: {series}"
        return series[0][1]

    def samples(self, selector: str, seconds: int) -> list[tuple[dict, list[float]]]:
        """Every raw sample of the last seconds, by series."""
        data = self.fetch("query", query=f"{selector}[{seconds}s]")
        return [(one["metric"], [float(value) for _, value in one["values"]]) for one in data["result"]]

    def wait_until_ready(self):
        deadline = time.monotonic() + START_SECONDS_MAX
        while True:
            assert self.process.poll() is None, f"Prometheus ended:\n{self.text()}"
            try:
                self.fetch("query", query="vector(1)")
                return
            except (OSError, AssertionError):
                assert time.monotonic() < deadline, f"Prometheus did not start:\n{self.text()}"
                time.sleep(0.1)

    def text(self) -> str:
        self.log.seek(0)
        return self.log.read()

    def __enter__(self):
        try:
            self.wait_until_ready()
        except BaseException:
            self.__exit__(AssertionError, None, None)
            raise
        return self

    def __exit__(self, kind, *_):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if kind is not None:
            print(self.text()[-4000:], file=sys.stderr)
        self.log.close()
        self.folder.cleanup()


class TextOnly(HttpDouble):
    """Scrapes the admin listener for a Prometheus, without asking for OpenMetrics."""

    def __init__(self, admin: int):
        class Reply(Answer):
            def do_GET(self):
                timeout = {"X-Prometheus-Scrape-Timeout-Seconds": "1"}
                scrape = urllib.request.Request(f"http://127.0.0.1:{admin}{self.path}", headers=timeout)
                with urllib.request.urlopen(scrape, timeout=5) as answer:
                    body, kind = answer.read(), answer.headers["Content-Type"]
                self.respond(200, kind, body)

        super().__init__(Reply)
