"""A real Prometheus: the guide's queries, the dashboard and the rules, over a load known to the last ping."""

import json
import re
import subprocess
import threading
import time
import urllib.request
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest
from mcstatus import JavaServer

import prometheus
from collector import Collector
from double import Answer, HttpDouble
from exporter import Exporter
from passage import Passage, eventually, free_port
from prometheus import REPOSITORY, Prometheus, TextOnly, promtool
from wire import (
    Target,
    counted,
    exactly,
    handshake,
    login_start,
    packet,
    ping,
    read_packet,
    rsa,
    until_end,
    varint,
)

pytestmark = prometheus.NEEDED

PINGS, LOGINS, HELD, UNREACHABLE, DENIED, FAULTS, FLOOD = 40, 12, 3, 5, 4, 6, 160
# With the limiter below, half of 300 may come at once.
SERVED_OF_FLOOD = 150
ANSWERED_SECONDS = 0.03
DASHBOARD = json.loads((REPOSITORY / "docs" / "grafana-dashboard.json").read_text())


def config(lobby: int, sessions: int, exported: int, admin: int) -> str:
    return f"""
[[routes]]
hostname = "127.0.0.1"
mode = "relay"
discovery.targets = [{{ identifier = "lobby", address = "127.0.0.1:{lobby}" }}]

[[routes]]
hostname = "play.example.net"
mode = "relay"
discovery.targets = [{{ identifier = "lobby", address = "127.0.0.1:{lobby}" }}]

[[routes]]
hostname = "gone.example.net"
mode = "relay"
discovery.targets = [{{ identifier = "gone", address = "127.0.0.1:{free_port()}" }}]

[[routes]]
hostname = "transfer.example.net"
mode = "transfer"
authentication = {{ type = "mojang", url = "http://127.0.0.1:{sessions}" }}
discovery.targets = [{{ identifier = "far", address = "far.example.net:25565" }}]

[otel]
metrics_endpoint = "http://127.0.0.1:{exported}/v1/metrics"
metrics_interval = 1
traces_endpoint = "http://127.0.0.1:{exported}/v1/traces"

[rate_limiter]
enabled = true
limit = 300
duration = 3600

[admin]
address = "127.0.0.1:{admin}"
"""


def greet(stream):
    """A target that says hello and waits for the end."""
    exactly(stream, 1)
    stream.sendall(b"!")
    until_end(stream)


class SessionServer(HttpDouble):
    """Takes its time and knows nobody."""

    def __init__(self):
        patience = threading.Event()

        class Reply(Answer):
            def do_GET(self):
                patience.wait(ANSWERED_SECONDS)
                self.respond(204)

        super().__init__(Reply)


@dataclass
class Load:
    """What was done to a Passage, counted by those who did it."""

    passage: Passage
    limited: int = 0
    held: list = field(default_factory=list)

    def drive(self):
        server = JavaServer("127.0.0.1", self.passage.port)
        for _ in range(PINGS):
            server.status(version=767)
        for _ in range(LOGINS):
            with self.passage.connect("127.0.2.1") as stream:
                self.log_in(stream)
        for _ in range(UNREACHABLE):
            with self.passage.connect("127.0.2.2") as stream:
                stream.sendall(handshake("gone.example.net", 2) + login_start("Bob"))
                assert until_end(stream), "the player was not told"
        for _ in range(DENIED):
            with self.passage.connect("127.0.2.3") as stream:
                claim(stream)
        for _ in range(FAULTS):
            with self.passage.connect("127.0.2.4") as stream:
                stream.sendall(b"\xff\xff\xff\xff\xff\xff")
                until_end(stream)
        for _ in range(FLOOD):
            self.limited += not self.is_served()
        for _ in range(HELD):
            self.held.append(self.passage.connect("127.0.2.5"))
            self.log_in(self.held[-1])

    def log_in(self, stream):
        stream.sendall(handshake("play.example.net", 2) + login_start("Alice"))
        assert exactly(stream, 1) == b"!"

    def is_served(self) -> bool:
        with self.passage.connect("127.0.9.9") as stream:
            try:
                ping(stream, host="play.example.net")
                return True
            except (EOFError, ConnectionError):
                return False

    @property
    def attempts(self) -> int:
        probe = 1
        return probe + PINGS + LOGINS + UNREACHABLE + DENIED + FAULTS + FLOOD + HELD


def claim(stream):
    """A login that claims to be somebody, up to the session server's answer."""
    stream.sendall(handshake("transfer.example.net", 2) + login_start("Mallory"))
    identifier, body = read_packet(stream)
    while identifier == 5:  # a cookie request: there is none
        stream.sendall(packet(4, body + b"\0"))
        identifier, body = read_packet(stream)
    assert identifier == 1 and body[0] == 0, "no encryption request"
    key, rest = counted(body[1:])
    token, _ = counted(rest)
    answer = b"".join(varint(128) + rsa(key, secret) for secret in (bytes(range(16)), token))
    stream.sendall(packet(1, answer))
    assert until_end(stream), "the player was not told"


@pytest.fixture(scope="module", params=["collector", "open metrics", "text"])
def world(request):
    """A Passage under known load, and a Prometheus that has watched it from before the first request: by a
    collector, or by itself in one of the two formats of `/metrics`."""
    with ExitStack() as stack:
        collector = stack.enter_context(Collector())
        lobby = stack.enter_context(Target(greet))
        sessions = stack.enter_context(SessionServer())
        admin = free_port()
        passage = stack.enter_context(Passage(config(lobby.port, sessions.port, collector.port, admin)))
        exporter = stack.enter_context(Exporter(collector))
        text = stack.enter_context(TextOnly(admin))
        ports = {"collector": exporter.port, "open metrics": admin, "text": text.port}
        database = stack.enter_context(Prometheus(ports[request.param]))
        scraped = "count_over_time(passage_uptime_seconds[1m]) > 2"
        eventually(lambda: database.query(scraped), 30, "no scrapes")
        eventually(lambda: database.query(IDLE), 10, "an idle Passage shows no zero")
        load = Load(passage)
        load.drive()
        yield SimpleNamespace(
            way=request.param,
            database=database,
            load=load,
            busy=settled(database, load),
            collector=collector,
            admin=admin,
        )


def settled(database, load):
    """Waits until all of the load is in the database. Says what was shown while some players were held."""

    def shows(query: str, value: float):
        return lambda: [shown for _, shown in database.query(query)] == [value]

    eventually(shows("sum(passage_connections_total)", load.attempts), 20, "attempts are missing")
    eventually(shows(ACTIVE, HELD), 15, "those who are held are not shown")
    busy = SimpleNamespace(active=database.query(ACTIVE), idle=database.query(IDLE))
    for stream in load.held:
        stream.close()
    eventually(shows(IDLE, 0), 15, "nobody is active, and no zero is shown")
    eventually(shows("passage_relay_duration_seconds_count", LOGINS + HELD), 15, "relays are missing")
    return busy


ACTIVE = "passage_connections_active"
IDLE = f"{ACTIVE} == 0"
# Every query of the published monitoring guide: examples, alerts and troubleshooting.
GUIDE = [
    "rate(passage_connections_total[5m])",
    "passage_connections_active",
    "histogram_quantile(0.95, rate(passage_request_duration_seconds_bucket[5m]))",
    "rate(passage_connections_failed[5m])",
    "histogram_quantile(0.99, rate(passage_adapter_duration_seconds_bucket[5m]))",
    "sum(passage_target_selections_total) by (target_identifier)",
    "rate(passage_connections_failed[5m]) > 0.1",
    "histogram_quantile(0.95, rate(passage_request_duration_seconds_bucket[5m])) > 0.5",
    "passage_connections_active == 0",
    "rate(passage_adapter_errors_total[5m]) > 0.05",
    'up{job="passage"} == 0',
]
# Those that have to be without an answer: nothing is slow or down, and nothing fails every few seconds.
GUIDE_WITHOUT_ANSWER = {GUIDE[6], GUIDE[7], GUIDE[9], GUIDE[10]}


def assert_rate(database, metric: str, count: int, selector: str = ""):
    """`rate()` over five minutes has seen `count` events: all births, and little more by extrapolation."""
    seen = 300 * database.value(f"sum(rate({metric}{selector}[5m]))")
    assert count * 0.999 <= seen <= count * 1.5, f"{metric}{selector}: {seen} instead of {count}"


def test_every_query_of_the_guide_is_answered(world):
    for query in GUIDE:
        answer = world.database.query(query)
        assert bool(answer) == (query not in GUIDE_WITHOUT_ANSWER), f"{query}: {answer}"


def test_the_totals_are_what_was_done(world):
    load, value = world.load, world.database.value
    assert load.limited == FLOOD - SERVED_OF_FLOOD
    logins = LOGINS + HELD + UNREACHABLE + DENIED
    for query, expected in {
        "sum(passage_connections_total)": load.attempts,
        'sum(passage_connections_total{client_ip="127.0.9.9"})': FLOOD,
        'sum(passage_connections_total{server_address="gone.example.net"})': UNREACHABLE,
        'sum(passage_connections_total{protocol_version="767"})': PINGS + SERVED_OF_FLOOD + logins,
        "sum(passage_connections_rate_limited)": load.limited,
        'sum(passage_connections_failed{client_ip="127.0.2.4"})': FAULTS,
        'sum(passage_connections_failed{client_ip="127.0.2.2"})': UNREACHABLE,
        "sum(passage_requests_total)": PINGS + SERVED_OF_FLOOD + logins,
        "sum(passage_status_requests_total)": PINGS + SERVED_OF_FLOOD,
        "sum(passage_login_requests_total)": logins,
        'sum(passage_requests_total{request_type="login", result="failure"})': UNREACHABLE + DENIED,
        'sum(passage_request_duration_seconds_count{request_type="status"})': PINGS + SERVED_OF_FLOOD,
        'sum(passage_adapter_requests_total{adapter_type="mojang"})': DENIED,
        'sum(passage_adapter_errors_total{error_type="denied"})': DENIED,
        'passage_target_selections_total{target_identifier="lobby"}': LOGINS + HELD,
        'passage_target_selections_total{target_identifier="gone"}': UNREACHABLE,
        'passage_target_connections_total{target_identifier="lobby"}': LOGINS + HELD,
        'passage_target_connection_failures_total{target_identifier="gone"}': UNREACHABLE,
        "passage_targets_discovered": 3,
        "passage_version_info": 1,
        "passage_relay_duration_seconds_count": LOGINS + HELD,
        'passage_relay_bytes_total{direction="to_client"}': LOGINS + HELD,
        "sum(passage_shard_connections)": 0,
    }.items():
        assert value(query) == expected, query


def test_rates_see_every_birth(world):
    database, load = world.database, world.load
    # The probe for readiness was counted before Prometheus looked for the first time.
    assert_rate(database, "passage_connections_total", load.attempts - 1)
    assert_rate(database, "passage_connections_total", FLOOD, '{client_ip="127.0.9.9"}')
    assert_rate(database, "passage_connections_rate_limited", load.limited)
    assert_rate(database, "passage_connections_failed", FAULTS, '{client_ip="127.0.2.4"}')
    assert_rate(database, "passage_adapter_errors_total", DENIED)
    assert_rate(database, "passage_target_connection_failures_total", UNREACHABLE)
    served = PINGS + SERVED_OF_FLOOD
    assert_rate(database, "passage_request_duration_seconds_count", served, '{request_type="status"}')


def test_every_series_that_a_client_can_bring_about_is_born_as_zero(world):
    for metric in (
        "passage_connections_total",
        "passage_connections_failed",
        "passage_connections_rate_limited",
        "passage_target_selections_total",
        "passage_target_connection_failures_total",
    ):
        series = world.database.samples(f'{metric}{{client_ip!="127.0.0.1"}}', 240)
        assert series, metric
        for labels, values in series:
            assert values[0] == 0 and values == sorted(values), f"{labels}: {values}"


def test_prometheus_knows_the_types_of_the_format_that_it_asked_for(world):
    known = world.database.fetch("metadata")
    types = {name: entries[0]["type"] for name, entries in known.items()}
    assert types["passage_request_duration_seconds"] == "histogram"
    assert types["passage_connections_active"] == "gauge"
    if world.way == "open metrics":
        assert types["passage_connections"] == "counter"
        assert types["passage_connections_failed"] == "unknown"
        assert known["passage_uptime_seconds"][0]["unit"] == "seconds"
    if world.way == "text":
        assert types["passage_connections_total"] == "counter"
        assert types["passage_connections_failed"] in ("unknown", "untyped")


def test_exemplars_lead_from_a_histogram_and_a_counter_to_a_trace(world):
    if world.way != "open metrics":
        pytest.skip("only OpenMetrics carries exemplars")
    now = time.time()
    for metric in ("passage_request_duration_seconds_bucket", "passage_status_requests_total"):
        found = world.database.fetch("query_exemplars", query=metric, start=str(now - 600), end=str(now))
        exemplars = [exemplar for series in found for exemplar in series["exemplars"]]
        assert exemplars, metric
        for exemplar in exemplars:
            assert re.fullmatch("[0-9a-f]{32}", exemplar["labels"]["trace_id"]), exemplar
            assert re.fullmatch("[0-9a-f]{16}", exemplar["labels"]["span_id"]), exemplar


def test_nobody_active_is_a_zero_and_not_a_gap(world):
    assert [value for _, value in world.busy.active] == [HELD]
    assert world.busy.idle == [], "the alert on zero fires while players are connected"
    idle = world.database.query("passage_connections_active == 0")
    assert [value for _, value in idle] == [0]
    [(_, values)] = world.database.samples("passage_connections_active", 240)
    assert values[0] in (0, 1) and max(values) >= HELD


def quantile(rank: float, buckets: list[tuple[float, float]]) -> float:
    """The quantile of cumulative buckets, linear within its bucket."""
    rank *= buckets[-1][1]
    below, floor = 0.0, 0.0
    for bound, count in buckets:
        if count >= rank:
            return floor + (bound - floor) * (rank - below) / (count - below)
        below, floor = count, bound
    raise AssertionError(buckets)


def test_latencies_are_those_of_the_buckets(world):
    selector = 'request_type="status", adapter_type="fixed", result="success"'
    series = world.database.query(f"passage_request_duration_seconds_bucket{{{selector}}}")
    buckets = sorted((float(labels["le"]), count) for labels, count in series)
    assert buckets[-1] == (float("inf"), PINGS + SERVED_OF_FLOOD)
    shown = {
        labels["request_type"] + labels["result"]: value
        for labels, value in world.database.query(GUIDE[2])
        if labels["adapter_type"] == "fixed"
    }
    assert shown["statussuccess"] == pytest.approx(quantile(0.95, buckets), rel=1e-3)
    [slow] = [
        value
        for labels, value in world.database.query(GUIDE[4])
        if labels.get("error_type") == "denied" and labels["adapter_name"] == "authentication"
    ]
    assert ANSWERED_SECONDS * 0.8 < slow < 1, "the session server takes 30 ms"


def test_the_distribution_of_targets_is_the_strategys(world):
    shares = {labels["target_identifier"]: value for labels, value in world.database.query(GUIDE[5])}
    assert shares == {"lobby": LOGINS + HELD, "gone": UNREACHABLE}


def panels():
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def filled_in(query: str) -> str:
    """A query of the dashboard as Grafana sends it."""
    variables = {"$__rate_interval": "1m", "$__range": "5m", "$job": "passage", "$instance": ".*"}
    for name, value in variables.items():
        query = query.replace(name, value)
    assert "$" not in query, query
    return query


def test_every_query_of_the_dashboard_is_answered(world):
    empty = [
        f"{panel['title']}: {target['expr']}"
        for panel in panels()
        for target in panel["targets"]
        if not world.database.query(filled_in(target["expr"]))
    ]
    assert not empty, "\n".join(empty)
    for annotation in DASHBOARD["annotations"]["list"]:
        world.database.query(filled_in(annotation["expr"]))


def test_the_variables_of_the_dashboard_find_the_instance(world):
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "datasource":
            continue
        selector, label = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"]).groups()
        values = world.database.fetch(f"label/{label}/values", **{"match[]": filled_in(selector)})
        assert len(values) == 1, f"{variable['name']}: {values}"
        if label == "job":
            assert values == ["passage"]
        elif world.way == "collector":
            assert values == [world.collector.resource()["service.instance.id"]]


def test_the_legends_name_labels_that_the_series_have(world):
    for panel in panels():
        for target in panel["targets"]:
            for labels, _ in world.database.query(filled_in(target["expr"])):
                wanted = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) - {"error_type"}
                assert wanted <= labels.keys() or not labels, f"{panel['title']}: {wanted} of {labels}"


def test_prometheus_evaluates_every_rule(world):
    def rules() -> list[dict]:
        return [rule for group in world.database.fetch("rules")["groups"] for rule in group["rules"]]

    def states() -> dict[str, str]:
        return {rule["name"]: rule["state"] for rule in rules()}

    alert = "PassageTargetUnreachable"
    eventually(lambda: states()[alert] != "inactive", 20, "the target that is gone is not seen")
    assert [rule for rule in rules() if rule["health"] != "ok"] == []
    for quiet in ("PassageDown", "PassageMissing", "PassageHighLatency", "PassageShedding"):
        assert states()[quiet] == "inactive", states()


def test_promtool_finds_nothing_to_complain_about_in_the_metrics(world):
    if world.way != "text":
        pytest.skip("promtool reads the text format only")
    with urllib.request.urlopen(f"http://127.0.0.1:{world.admin}/metrics", timeout=5) as answer:
        check = [prometheus.program("promtool"), "check", "metrics"]
        run = subprocess.run(check, input=answer.read(), capture_output=True, timeout=60)
    assert run.returncode == 0, run.stderr.decode()


def test_promtool_takes_the_configuration_and_the_rules_pass_their_tests():
    promtool("check", "config", "config/prometheus.yml")
    promtool("check", "rules", "config/alerting-rules.yml")
    promtool("test", "rules", "config/alerting-rules.test.yml")


def test_every_alert_has_a_test_in_which_it_fires():
    rules = (REPOSITORY / "config" / "alerting-rules.yml").read_text()
    tests = (REPOSITORY / "config" / "alerting-rules.test.yml").read_text()
    alerts = set(re.findall(r"- alert: (\w+)", rules))
    fired = set(re.findall(r"alertname: (\w+)\n\s+exp_alerts:\n\s+- exp_labels", tests))
    assert alerts and alerts == fired, f"never fired, or unknown: {sorted(alerts ^ fired)}"


def test_the_dashboard_can_be_imported():
    assert DASHBOARD["uid"] == "passage" and DASHBOARD["id"] is None and DASHBOARD["schemaVersion"] >= 36
    identifiers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(identifiers) == len(set(identifiers))
    assert [panel["title"] for panel in DASHBOARD["panels"] if panel["type"] == "row"] == [
        "Traffic",
        "Latency",
        "Adapters",
        "Targets",
        "Shards",
        "Relay",
        "Telemetry health",
    ]
    taken = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert place["x"] + place["w"] <= 24 and not cells & taken, f"{panel['title']} overlaps"
        taken |= cells
    for panel in panels():
        defaults = panel["fieldConfig"]["defaults"]
        assert defaults["unit"] and defaults["thresholds"]["steps"], panel["title"]
        for source in [panel, *panel["targets"]]:
            assert source["datasource"] == {"type": "prometheus", "uid": "${datasource}"}, panel["title"]
