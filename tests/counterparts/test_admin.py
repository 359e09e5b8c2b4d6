"""The admin listener and `passage top`, against the official Prometheus parser and plain sockets."""

import socket
import subprocess
import time
import urllib.error
import urllib.request

from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics_families
from prometheus_client.parser import text_string_to_metric_families

from passage import BINARY, Passage, eventually, free_port, ping_with
from test_drain import open_relay
from test_proxy_protocol import relay
from test_start import run
from wire import Target, echo, handshake, login_start, until_end

SILENCE_SECONDS_MAX = 5


class Administered(Passage):
    """A Passage with an admin listener."""

    def __init__(self, config: str = "", environment: dict[str, str] | None = None):
        self.admin = ("127.0.0.1", free_port())
        super().__init__(f'{config}\n[admin]\naddress = "127.0.0.1:{self.admin[1]}"\n', environment)
        eventually(lambda: self.page("/readyz")[0] == 200, message="/readyz did not turn 200")

    def page(self, path: str, accept: str | None = None) -> tuple[int, str]:
        url = f"http://127.0.0.1:{self.admin[1]}{path}"
        request = urllib.request.Request(url, headers={"Accept": accept} if accept else {})
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def totals(self) -> dict[str, float]:
        status, text = self.page("/metrics")
        assert status == 200, text
        totals: dict[str, float] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                totals[sample.name] = totals.get(sample.name, 0) + sample.value
        return totals

    def top(self, *arguments: str) -> subprocess.CompletedProcess:
        address = f"127.0.0.1:{self.admin[1]}"
        command = [BINARY, "top", "--address", address, "--once", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)


def test_the_official_parser_reads_what_was_done():
    with Administered() as passage:
        for _ in range(7):
            ping_with(passage)
        # Counts are handed over once a second.
        eventually(lambda: passage.totals()["passage_status_requests_total"] == 7)
        totals = passage.totals()
        assert totals["passage_request_duration_seconds_count"] == 7
        assert totals["passage_shard_requests_total"] == 7
        assert totals["passage_connections_total"] >= 7
        assert totals["passage_version_info"] == 1
        assert totals["passage_uptime_seconds"] > 0


def test_the_official_parser_of_open_metrics_reads_the_same_and_the_traces():
    traced = '[otel]\ntraces_endpoint = "http://127.0.0.1:9/v1/traces"\n'
    with Administered(traced) as passage:
        for _ in range(7):
            ping_with(passage)
        eventually(lambda: passage.totals()["passage_status_requests_total"] == 7)
        status, text = passage.page("/metrics", "application/openmetrics-text;version=1.0.0")
        assert status == 200 and text.endswith("# EOF\n"), text
        # The parser is strict: about names, units, buckets, exemplars and the end.
        families = {family.name: family for family in open_metrics_families(text)}
        pings = families["passage_status_requests"]
        assert pings.type == "counter" and {sample.name for sample in pings.samples} == {
            "passage_status_requests_total"
        }
        assert sum(sample.value for sample in pings.samples) == 7
        assert families["passage_connections_failed"].type == "unknown"
        assert families["passage_request_duration_seconds"].unit == "seconds"
        exemplars = [
            sample.exemplar
            for name in ("passage_request_duration_seconds", "passage_status_requests")
            for sample in families[name].samples
            if sample.exemplar
        ]
        assert len(exemplars) == 2 and exemplars[0].labels == exemplars[1].labels
        assert len(exemplars[0].labels["trace_id"]) == 32


def test_every_signal_shows_what_its_receiver_does_not_take():
    closed = f"http://127.0.0.1:{free_port()}"
    config = f"""
[[routes]]
hostname = "127.0.0.1"
mode = "relay"
discovery.targets = [{{ identifier = "gone", address = "127.0.0.1:{free_port()}" }}]
[otel]
metrics_endpoint = "{closed}/v1/metrics"
metrics_interval = 1
traces_endpoint = "{closed}/v1/traces"
logs_endpoint = "{closed}/v1/logs"
[sentry]
address = "{closed.replace('//', '//key@')}/1"
"""
    with Administered(config) as passage:
        with passage.connect() as stream:
            stream.sendall(handshake("127.0.0.1", 2) + login_start("Bob"))
            assert until_end(stream), "the player was not told"

        def signals(name: str) -> dict[str, float]:
            status, text = passage.page("/metrics")
            families = {family.name: family for family in text_string_to_metric_families(text)}
            return {sample.labels["signal"]: sample.value for sample in families[name].samples}

        def all_failed() -> bool:
            failed = signals("passage_telemetry_export_failures")
            return set(failed) == {"metrics", "traces", "logs", "sentry"} and all(failed.values())

        eventually(all_failed, 20, "not every signal shows its failures")
        # Metrics lose nothing by it, and log lines wait.
        dropped = signals("passage_telemetry_dropped")
        assert dropped["sentry"] >= 1 and (dropped["metrics"], dropped["logs"]) == (0, 0), dropped


def test_every_thread_shows_that_it_lives_also_without_work():
    with Administered() as passage:
        time.sleep(SILENCE_SECONDS_MAX + 2)
        assert passage.page("/livez") == (200, "alive\n")


def test_a_draining_process_is_alive_and_not_ready():
    with Target(echo) as target, Administered(relay(target.port, None)) as passage:
        with open_relay(passage):
            assert passage.page("/readyz") == (200, "ready\n")
            passage.terminate()
            eventually(lambda: passage.page("/readyz") == (503, "draining\n"))
            assert passage.page("/livez") == (200, "alive\n")
            eventually(lambda: passage.totals()["passage_connections_active"] == 1)
        assert passage.wait() == 0


def test_a_scan_costs_nobody_a_probe():
    with Administered() as passage:
        before = passage.open_files()
        scanners = [socket.create_connection(passage.admin, timeout=10) for _ in range(300)]
        try:
            greetings = [b"", b"GET /metrics HTTP/1.1\r\n", b"\x16\x03\x01", b"\x00" * 9000]
            for number, scanner in enumerate(scanners):
                try:
                    scanner.sendall(greetings[number % 4])
                except OSError:
                    pass  # it has lost its place already
            for _ in range(20):
                began = time.monotonic()
                assert passage.page("/livez")[0] == 200
                assert time.monotonic() - began < 8
            assert passage.open_files() <= before + 40, "scanners hold more than their places"
            ping_with(passage)
        finally:
            for scanner in scanners:
                scanner.close()


def test_top_prints_a_row_a_shard():
    with Administered("[shards]\ncount = 2") as passage:
        ping_with(passage)
        done = passage.top("--interval", "1.5")
        assert done.returncode == 0, done.stderr
        rows = [line.split() for line in done.stdout.splitlines()]
        assert rows[0][0] == "Passage"
        names = [row[0] for row in rows[3:] if row]
        assert names == ["shard", "0", "1", "all"], done.stdout


def test_top_says_how_the_admin_listener_is_switched_on(tmp_path):
    done = run("", tmp_path, "top", "--once")
    assert done.returncode == 1
    assert "[admin]" in done.stderr and "PASSAGE_ADMIN_ADDRESS" in done.stderr


def test_a_taken_admin_port_is_a_start_up_error():
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        passage = Passage(f'[admin]\naddress = "127.0.0.1:{port}"\n', ready=False)
        assert passage.wait() == 75
        passage._reader.join(5)
        assert "admin.address" in passage.log() and str(port) in passage.log()
        passage.folder.cleanup()
